"""Win rate of a method over another, or over a checkpoint, from several trainings of it.

An interval over prompts is about the checkpoints at hand. Another training seed gives another checkpoint, so a claim
about the *method* has two sources of chance, trainings and prompts. Each of them gives limits of its own, and the
distances of these limits from the win rate are added as squares:

    half-width^2 = (distance of the limit over prompts)^2 + sum over sides with n > 1 trainings of t(n - 1)^2 V / n

V is the variance (n - 1) of the mean win rates of that side's trainings, and t the 97.5 % point of Student's distribution.
A side with one training adds nothing: the claim is then about that checkpoint.

Why not the two-level bootstrap, which draws trainings and then prompts? With n trainings its spread over trainings is
too small by sqrt((n - 1) / n), and percentiles know nothing of Student's t. From two trainings it covers far less than 95 %
(docs/statistics.md has the simulation, `tests/bench/tally/test_two_level.py` repeats it).

* Squares of *t-scaled* standard errors: Banerjee (1960, Sankhya 22, 357), who shows for normal data that the coverage is never
  below the level, whatever the variances are; see also Ruben (2002, Sankhya A 64, 139). Limits in place of standard errors, so
  that an interval may be lopsided: Zou and Donner (2008, Statistics in Medicine 27, 1693). Neither text was at hand.
* Ours: to put the two together. What a training does on single prompts is counted on both levels, so that coverage is above
  95 % where trainings are alike as a whole; that errs on the safe side. Limits outside [0, 1] are cut off.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from prefbench.bench.tally.unanimity import TAIL
from prefbench.bench.tally.win_rate import Interval, tally

__all__ = ["MethodWinRate", "method_win_rates"]


@dataclass(frozen=True)
class MethodWinRate:
    """How often a training of one side beats a training of the other."""

    prompts: int
    """Distinct prompts."""
    win_rate: float
    """Mean over the pairs of all trainings of win 1, tie 1/2, loss 0."""
    ci95: tuple[float, float] | None
    """Over trainings and prompts; over prompts alone where each side has one training; None with one prompt."""
    ci_method: str
    """How the limits over prompts were got (`WinRate.ci_method`), with "+t" where trainings widen them."""
    per_training: npt.NDArray[np.float64]
    """Win rate of each training of a over each of b, shape (n_a, n_b); of each pair of trainings, shape (n, 1)."""
    seed_spread: float | None
    """Standard deviation (n - 1) of the rate of one training against one other, over the trainings of every side that has
    several; None where neither has."""


def method_win_rates(
    ballots: npt.ArrayLike,
    prompts: npt.ArrayLike,
    *,
    resamples: int,
    rng: np.random.Generator,
    counted: npt.ArrayLike | None = None,
    interval: Interval = "percentile",
) -> list[MethodWinRate]:
    """Win rates over trainings and prompts, one for every column of votes, from the same resamples of prompts.

    Args:
        ballots: votes in {-1, 0, 1} of every training of a against every one of b, shape (n_a, n_b, pairs, columns). Where
            trainings are paired, seed against seed, the n comparisons are the sample, whatever two trainings of one seed have
            in common: shape (n, 1, pairs, columns).
        prompts: each pair's prompt, shape (pairs,); equal labels are one cluster.
        resamples: bootstrap samples of prompts.
        rng: source of the draws.
        counted: False where a pair is left out, shape (n_a, n_b, pairs); None for none.
        interval: over prompts, as in `tally`.

    Raises:
        ValueError: shapes that do not fit, no training, a comparison without a pair, no resamples, or what is no vote.

    >>> two = [[[[1], [1], [1], [0]]], [[[1], [0], [0], [-1]]]]  # trainings won 7/8 and 1/2: mean 11/16, spread 3/8 / sqrt(2)
    >>> found = method_win_rates(two, list("pqrs"), resamples=100, rng=np.random.default_rng(0))[0]
    >>> found.win_rate, round(found.seed_spread, 4), found.ci95  # t(1) is 12.7: two trainings say next to nothing
    (0.6875, 0.2652, (0.0, 1.0))
    """
    signs, labels = np.asarray(ballots), np.asarray(prompts)
    kept = np.ones(signs.shape[:3], dtype=bool) if counted is None else np.asarray(counted, dtype=bool)
    if signs.ndim != 4 or kept.shape != signs.shape[:3] or labels.shape != signs.shape[2:3] or not kept.size:
        raise ValueError(f"Votes of shape {signs.shape} do not fit {labels.shape} prompts.")
    if not kept.any(axis=2).all():
        raise ValueError("Two trainings have no pair that counts.")
    over_prompts, _ = tally(
        signs[kept],
        None,
        np.broadcast_to(labels, kept.shape)[kept],
        resamples=resamples,
        rng=rng,
        interval=interval,
    )
    rates = (1 + signs.mean(axis=2, where=kept[..., None])) / 2
    sides = [rates.mean(axis=1 - side) for side in (0, 1) if rates.shape[side] > 1]
    variances = [side.var(axis=0, ddof=1) for side in sides]
    squares = [special.stdtrit(len(side) - 1, 1 - TAIL) ** 2 / len(side) for side in sides]
    found = []
    for j, rate in enumerate(over_prompts):
        ci95, method = rate.ci95, str(rate.ci_method)
        if ci95 is not None and sides:
            added = sum(square * variance[j] for square, variance in zip(squares, variances, strict=True))
            low, high = (float(np.hypot(end - rate.win_rate, np.sqrt(added))) for end in ci95)
            ci95, method = (max(0.0, rate.win_rate - low), min(1.0, rate.win_rate + high)), f"{method}+t"
        spread = float(np.sqrt(sum(variance[j] for variance in variances))) if sides else None
        found.append(MethodWinRate(rate.prompts, rate.win_rate, ci95, method, rates[..., j], spread))
    return found
