"""Several checkpoints ranked: every two compared on the same pairs of samples, intervals over prompts.

**What is ranked** is the win rate against the average opponent: the mean over all others of the win rate, ties half. As
every two are compared on the same prompts and seeds, a checkpoint's Davidson strength rises with exactly this number (the
fitted scores are the observed ones; `davidson.py`), so both rank alike and the ranks rest on no model. They do depend on
the field: who is added is an opponent.

**Intervals of win rates** are percentile bootstrap over prompts, all comparisons of a prompt drawn together; with fewer than
`RARE` prompts off the commonest value the exact bound of `unanimity.py` takes over.

**Rank intervals** are marginal 95 % confidence sets after M. Mogstad, J. P. Romano, A. M. Shaikh and D. Wilhelm, "Inference
for Ranks with Applications to Mobility across Neighbourhoods and Academic Achievement across Countries", Review of Economic
Studies 91 (2024), single-step form. For each checkpoint the differences of its rate to all others' get simultaneous
intervals (bootstrap of the largest studentised difference); the best possible rank is 1 + how many are so shown to be
better, the worst C - how many are shown to be worse. Not the range of ranks over resamples: among equals each resample
draws a winner, and the range then leaves out ranks that hold as well. docs/statistics.md has both side by side. The bound
for rare outcomes is ours: by Bonferroni over the other checkpoints, and the hull of both.

**Strengths** are null where the data have no finite estimate. Resamples without one count as lying beyond either end of
every strength's interval: an end is finite as long as they are fewer than 2.5 %, and the interval can only be too wide. A
prior would make them all finite and pull near-unanimous checkpoints together, by an amount of our choosing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prefbench.bench.tally.davidson import Davidson, fit_davidson, has_estimate, outcome_odds
from prefbench.bench.tally.resampling import cluster_sums, resampled_means
from prefbench.bench.tally.unanimity import TAIL, unanimity_bound
from prefbench.bench.tally.win_rate import CiMethod

__all__ = ["Ranking", "Strengths", "rank_checkpoints", "rank_intervals"]

ROUNDING = 1e-9
"""A difference of rates whose interval ends this near to 0 includes it: with few prompts ends fall on 0 exactly."""

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

BLOCK = 1000
"""Resamples whose strengths are fitted at once: with 30 checkpoints some 50 MB."""


@dataclass(frozen=True)
class Strengths:
    """Davidson's model of the round robin."""

    log_strengths: Floats
    """Sum 0, shape (checkpoints,)."""
    ci95: list[tuple[float | None, float | None]] | None
    """An end is None where too many resamples have no finite estimate; all None with one prompt."""
    tie_parameter: float
    """nu: the odds of a tie against a win between equals."""
    fitted: Floats
    """Win rate of row over column by the model, ties half; diagonal 1/2."""
    resamples_without: int
    """Resamples that have no finite estimate."""


@dataclass(frozen=True)
class Ranking:
    """A round robin of C checkpoints; arrays in the order of the checkpoints given."""

    prompts: int
    pairs: int
    """Pairs of samples in each comparison."""
    wins: npt.NDArray[np.int64]
    """Pairs that the row won against the column, shape (C, C)."""
    ties: npt.NDArray[np.int64]
    win_rate: Floats
    """Against the average opponent."""
    ci95: list[Interval] | None
    ci_method: list[CiMethod]
    rank: npt.NDArray[np.int64]
    """1 + how many have a higher win rate; equals share a rank."""
    rank_ci95: list[tuple[int, int]] | None
    strengths: Strengths | None
    """None where the likelihood has no finite maximum."""


def rank_checkpoints(
    ballots: npt.ArrayLike,
    pairs: npt.ArrayLike,
    prompts: npt.ArrayLike,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Ranking:
    """Rank the checkpoints of a round robin.

    Args:
        ballots: votes in {-1, 0, 1}, shape (comparisons, samples), 1 where the first of the two wins.
        pairs: which two checkpoints, numbers from 0, shape (comparisons, 2); every two once.
        prompts: label of each sample's prompt, shape (samples,); equal labels are one cluster.
        resamples: bootstrap samples.
        rng: source of the draws.

    Raises:
        ValueError: shapes that do not fit, a vote of another value, or not every two checkpoints once.
    """
    votes, both = np.asarray(ballots), np.asarray(pairs, dtype=np.int64)
    n = _checked(votes, both)
    outcomes = np.stack([votes > 0, votes == 0, votes < 0], axis=-1)  # (comparisons, samples, 3)
    columns = outcomes.transpose(1, 0, 2).reshape(votes.shape[1], -1)
    sums, sizes = cluster_sums(columns, prompts)
    counts = sums.sum(axis=0).reshape(-1, 3)
    a, b = both.T
    wins, ties = np.zeros((n, n), dtype=np.int64), np.zeros((n, n), dtype=np.int64)
    wins[a, b], wins[b, a], ties[a, b], ties[b, a] = counts[:, 0], counts[:, 2], counts[:, 1], counts[:, 1]
    # Twice the points: whole numbers, so that equal rates are equal.
    points = (2 * wins + ties).sum(axis=1)
    rank = 1 + (points[None, :] > points[:, None]).sum(axis=1)
    rates = points / (2 * votes.shape[1] * (n - 1))
    boot = None
    if len(sizes) > 1:
        boot = resampled_means(sums, sizes, resamples=resamples, rng=rng).reshape(resamples, -1, 3)
    intervals: list[Interval] | None = None
    methods: list[CiMethod] = ["none"] * n
    ranks: list[tuple[int, int]] | None = None
    if boot is not None:
        # A cluster's signed score of each checkpoint, in [-1, 1]: wins less losses, per opponent and sample.
        signed = _signed(sums.reshape(len(sizes), -1, 3), both, n) / (sizes[:, None] * (n - 1.0))
        drawn = (1 + _signed(boot, both, n) / (n - 1)) / 2
        intervals, methods = _rate_intervals(drawn, signed, sizes)
        ranks = rank_intervals(rates, drawn, signed, sizes)
    return Ranking(
        prompts=len(sizes),
        pairs=votes.shape[1],
        wins=wins,
        ties=ties,
        win_rate=rates,
        ci95=intervals,
        ci_method=methods,
        rank=rank,
        rank_ci95=ranks,
        strengths=_strengths(counts, boot, both, n),
    )


def rank_intervals(
    rates: Floats, drawn: Floats, signed: Floats, sizes: npt.NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Marginal 95 % confidence sets of ranks (see the module's text).

    Args:
        rates: win rates against the average opponent, shape (C,).
        drawn: the same of each resample, shape (resamples, C).
        signed: mean vote of each prompt for each checkpoint, in [-1, 1], shape (prompts, C).
        sizes: pairs of each prompt, shape (prompts,).

    Returns:
        (best, worst) rank of each checkpoint, 1 to C.
    """
    n, found = len(rates), []
    for i in range(n):
        others = np.arange(n) != i
        gaps = rates[i] - rates[others]
        error = drawn[:, [i]] - drawn[:, others] - gaps
        spread = error.std(axis=0)
        # A difference that never changes has no say in the critical value.
        moved = np.abs(error) / np.where(spread > 0, spread, np.inf)
        reach = np.quantile(moved.max(axis=1), 1 - 2 * TAIL) * spread
        low, high = gaps - reach, gaps + reach
        for k, j in enumerate(np.flatnonzero(others)):
            # Rounded: differences of equal fractions must be equal to be counted as one value.
            share = np.round((2 + signed[:, i] - signed[:, j]) / 4, 12)
            bound = unanimity_bound(share, tail=TAIL / (n - 1), sizes=sizes)
            if bound is not None:
                low[k], high[k] = min(low[k], 2 * bound[0] - 1), max(high[k], 2 * bound[1] - 1)
        found.append((1 + int((high < -ROUNDING).sum()), n - int((low > ROUNDING).sum())))
    return found


def _checked(votes: npt.NDArray[np.generic], pairs: npt.NDArray[np.int64]) -> int:
    """The number of checkpoints."""
    if votes.ndim != 2 or pairs.shape != (len(votes), 2) or not np.isin(votes, (-1, 0, 1)).all():
        raise ValueError(
            f"Votes must be -1, 0 or 1 in shape (comparisons, samples) and pairs (comparisons, 2); got {votes.shape}, "
            f"{pairs.shape}."
        )
    n = int(pairs.max(initial=0)) + 1
    every = {(i, j) for j in range(n) for i in range(j)}
    if {(min(p), max(p)) for p in pairs.tolist()} != every or len(pairs) != len(every):
        raise ValueError("A ranking needs every two checkpoints compared, each two once.")
    return n


def _signed(outcomes: Floats, pairs: npt.NDArray[np.int64], n: int) -> Floats:
    """Wins less losses of each checkpoint, summed over its opponents: (..., comparisons, 3) -> (..., n)."""
    sign = np.zeros((len(pairs), n))
    sign[np.arange(len(pairs)), pairs[:, 0]] = 1.0
    sign[np.arange(len(pairs)), pairs[:, 1]] = -1.0
    return np.asarray((outcomes[..., 0] - outcomes[..., 2]) @ sign)


def _rate_intervals(
    drawn: Floats, signed: Floats, sizes: npt.NDArray[np.int64]
) -> tuple[list[Interval], list[CiMethod]]:
    limits = np.quantile(drawn, [TAIL, 1 - TAIL], axis=0)
    found: list[Interval] = []
    methods: list[CiMethod] = []
    for i in range(signed.shape[1]):
        bound = unanimity_bound((1 + signed[:, i]) / 2, sizes=sizes)
        found.append((float(limits[0, i]), float(limits[1, i])) if bound is None else bound)
        methods.append("bootstrap" if bound is None else "exact")
    return found, methods


def _strengths(counts: Floats, boot: Floats | None, pairs: npt.NDArray[np.int64], n: int) -> Strengths | None:
    if not has_estimate(counts, pairs, n):
        return None
    whole = fit_davidson(counts, pairs, n)
    odds = outcome_odds(whole.strengths, whole.tie_parameter, pairs)
    fitted = np.full((n, n), 0.5)
    fitted[pairs[:, 0], pairs[:, 1]] = odds[:, 0] + odds[:, 1] / 2
    fitted[pairs[:, 1], pairs[:, 0]] = odds[:, 2] + odds[:, 1] / 2
    limits, without = (None, 0) if boot is None else _strength_intervals(boot, pairs, n, whole)
    return Strengths(whole.strengths, limits, float(whole.tie_parameter), fitted, without)


def _strength_intervals(
    boot: Floats, pairs: npt.NDArray[np.int64], n: int, start: Davidson
) -> tuple[list[tuple[float | None, float | None]], int]:
    fits = [_finite_strengths(boot[k : k + BLOCK], pairs, n, start) for k in range(0, len(boot), BLOCK)]
    finite = np.concatenate(fits)
    without = len(boot) - len(finite)
    beyond = np.full((without, n), np.inf)
    # "lower" and "higher": between a finite and an infinite neighbour there is nothing to interpolate.
    low = np.quantile(np.concatenate([finite, -beyond]), TAIL, axis=0, method="lower")
    high = np.quantile(np.concatenate([finite, beyond]), 1 - TAIL, axis=0, method="higher")
    ends = [[float(x) if np.isfinite(x) else None for x in end] for end in (low, high)]
    return list(zip(*ends, strict=True)), without


def _finite_strengths(boot: Floats, pairs: npt.NDArray[np.int64], n: int, start: Davidson) -> Floats:
    usable = boot[has_estimate(boot, pairs, n)]
    return fit_davidson(usable, pairs, n, start=start).strengths if len(usable) else np.empty((0, n))
