"""Win rates with ties half, mean differences, and their 95 % intervals over prompts.

The estimate is the mean over pairs of win 1, tie 1/2, loss 0: (wins + ties / 2) / pairs. Where every prompt
has the same number of seeds, this is also the mean over prompts of the mean over seeds.

The interval is a percentile bootstrap over prompts (`ci_method` "bootstrap"), or on request BCa ("bca", `bca.py`), which
moves its ends by the bias and skewness of the resamples. Either has two blind spots, stated and not hidden:

* **Nearly unanimous prompts.** Where all 200 prompts are won, every resample is all wins and the percentile
  interval is [1, 1]; where one is lost, it is hardly wider. Where fewer than `RARE` prompts differ from the
  commonest value (all wins, all ties, ...), the exact bound over prompts stands in (`unanimity.py`; 200 of 200:
  [0.982, 1]), marked "exact". Where prompts differ in pairs it allows for the worst, that those with the most are the ones
  that differ. Five is the usual rule for a proportion's approximation; that it serves here is our
  choice, checked by simulation in the tests.
* **One prompt.** Seeds of one prompt say nothing about other prompts: the interval is None ("none").

The p-value is the exact two-sided sign test on prompts: each prompt with more wins than losses against each
with more losses, evenly split prompts left out; 1 where no prompt is decided. It is a test of the median
prompt and not of the mean, so it can disagree with the interval. The paired permutation test beside it is one of the mean
(`permutation.py`): of votes in `WinRate`, of score differences in `MeanDifference`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from prefbench.bench.tally.bca import bca_limits
from prefbench.bench.tally.differences import effect_size, without_dust
from prefbench.bench.tally.permutation import difference_flip_p_values, vote_flip_p_values
from prefbench.bench.tally.resampling import cluster_sums, resampled_means
from prefbench.bench.tally.unanimity import TAIL, unanimity_bound
from prefbench.bench.tally.votes import Outcome
from prefbench.bench.tally.votes import votes as pair_votes

__all__ = [
    "CiMethod",
    "Interval",
    "MeanDifference",
    "WinRate",
    "counted_rate",
    "mean_difference",
    "tally",
    "win_rate",
]

CiMethod = Literal["bootstrap", "bca", "exact", "none"]

Interval = Literal["percentile", "bca"]
"""Which bootstrap interval is asked for."""


@dataclass(frozen=True)
class WinRate:
    """How often `a` beats `b`."""

    prompts: int
    """Distinct prompts: the clusters that are resampled."""
    pairs: int
    """Pairs of samples with the same prompt and seed."""
    wins: int
    ties: int
    losses: int
    win_rate: float
    """(wins + ties / 2) / pairs, in [0, 1]."""
    ci95: tuple[float, float] | None
    """95 % interval over prompts; None with one prompt."""
    ci_method: CiMethod
    """"bootstrap" (percentile), "bca", "exact" (nearly unanimous prompts) or "none" (one prompt); see the module's text."""
    p_value: float
    """Exact two-sided sign test on decided prompts; 1 where none is decided."""
    permutation_p_value: float
    """Exact paired permutation test of the mean vote, whole prompts flipped; 1 with one prompt or all ties."""


@dataclass(frozen=True)
class MeanDifference:
    """Mean over pairs of a's score minus b's, in the scorer's own units."""

    mean: float
    ci95: tuple[float, float] | None
    """Bootstrap over prompts; None with one prompt. Equal differences give zero width."""
    permutation_p_value: float
    """Paired permutation test of the mean, whole prompts flipped; 1 with one prompt or no difference."""
    effect_size: float | None
    """Cohen's d_z on prompts: the mean of the prompts' mean differences over their standard deviation (n - 1 below). None with
    one prompt or where all are equal. In units of prompts, so more seeds a prompt make it larger."""


def tally(
    ballots: npt.ArrayLike,
    differences: npt.ArrayLike | None,
    prompts: npt.ArrayLike,
    *,
    resamples: int,
    rng: np.random.Generator,
    interval: Interval = "percentile",
    scale: npt.ArrayLike | None = None,
) -> tuple[list[WinRate], list[MeanDifference]]:
    """Win rates of many columns of votes and means of many columns of differences, from the same resamples.

    Args:
        ballots: votes in {-1, 0, 1}, shape (pairs, M): a column a comparison and scorer.
        differences: score differences, shape (pairs, D), or None.
        prompts: label of each pair's prompt, shape (pairs,). Equal labels are one cluster: give the
            prompt's *text*, and a prompt listed twice does not count as two.
        resamples: bootstrap samples, at least 1; as many random flips in a permutation test that does not try all.
        rng: source of the draws.
        interval: "percentile", or "bca"; where BCa is undefined (no spread) the percentile limits stand.
        scale: largest magnitude of the scores behind each column of differences, shape (D,): a prompt whose differences add
            up to 0 but for rounding has 0 (`without_dust`). None where differences add up without rounding.

    Returns:
        One `WinRate` a column of votes, one `MeanDifference` a column of differences.

    Raises:
        ValueError: shapes that do not fit, no pairs, no resamples, or a difference that is not finite.
    """
    signs = np.asarray(ballots)
    if signs.ndim != 2 or not np.isin(signs, (-1, 0, 1)).all():
        raise ValueError(f"Votes must be -1, 0 or 1 in shape (pairs, columns), got shape {signs.shape}.")
    gaps = np.empty((len(signs), 0)) if differences is None else np.asarray(differences, dtype=np.float64)
    if not np.isfinite(gaps).all():
        raise ValueError("A score difference is not finite.")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}.")
    vote_sums, sizes = cluster_sums(signs, prompts)
    gap_sums, _ = cluster_sums(gaps, prompts)
    if scale is not None:
        gap_sums = without_dust(gap_sums, sizes, scale)
    means = np.concatenate([vote_sums.sum(axis=0), gap_sums.sum(axis=0)]) / sizes.sum()
    limits, methods = _limits(np.hstack([vote_sums, gap_sums]), sizes, resamples, rng, interval)
    m = signs.shape[1]
    vote_p = vote_flip_p_values(vote_sums)
    rates = [
        _win_rate(
            signs[:, j],
            vote_sums[:, j],
            sizes,
            None if limits is None else limits[:, j],
            methods[j],
            float(p),
        )
        for j, p in enumerate(vote_p)
    ]
    if not gap_sums.shape[1]:
        return rates, []
    gap_p = difference_flip_p_values(gap_sums, resamples=resamples, rng=rng)
    gap_results = [
        MeanDifference(
            float(means[m + j]),
            None if limits is None else (float(limits[0, m + j]), float(limits[1, m + j])),
            float(p),
            effect_size(gap_sums[:, j] / sizes),
        )
        for j, p in enumerate(gap_p)
    ]
    return rates, gap_results


def _limits(
    sums: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
    interval: Interval,
) -> tuple[npt.NDArray[np.float64] | None, list[CiMethod]]:
    """Bootstrap limits of every column's mean, shape (2, columns), and how each was made; none with one prompt."""
    columns = sums.shape[1]
    if len(sizes) < 2:
        return None, ["none"] * columns
    boot = resampled_means(sums, sizes, resamples=resamples, rng=rng)
    if interval == "percentile":
        return np.quantile(boot, [TAIL, 1 - TAIL], axis=0), ["bootstrap"] * columns
    limits, defined = bca_limits(boot, sums, sizes, tail=TAIL)
    return limits, ["bca" if found else "bootstrap" for found in defined]


def win_rate(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    prompts: npt.ArrayLike | Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int = 10_000,
    higher_is_better: bool = True,
) -> WinRate:
    """Win rate of `a` over `b` by one scorer.

    Args:
        a: scores of one checkpoint, shape (pairs,).
        b: scores of the other on the same prompts and seeds, same shape.
        prompts: prompt of each pair, shape (pairs,); equal entries are one cluster.
        rng: source of the bootstrap draws.
        resamples: bootstrap samples.
        higher_is_better: False for a scorer whose lower value is the better one.

    Raises:
        ValueError: shapes that do not fit, no pairs, a score that is not finite.

    >>> r = win_rate([3, 2, 1, 5], [1, 2, 3, 4], ["p", "q", "r", "s"], rng=np.random.default_rng(0))
    >>> r.wins, r.ties, r.losses, r.win_rate
    (2, 1, 1, 0.625)
    """
    signs = pair_votes(a, b, higher_is_better=higher_is_better)
    return tally(signs[:, None], None, np.asarray(prompts), resamples=resamples, rng=rng)[0][0]


def counted_rate(
    outcome: Outcome,
    prompts: npt.ArrayLike,
    *,
    resamples: int,
    rng: np.random.Generator,
    interval: Interval = "percentile",
) -> WinRate | None:
    """Win rate of a vote over the pairs that its tie rule counts; None where it counts none.

    Args:
        outcome: of the vote.
        prompts: each pair's prompt. Only those with a pair that is counted are resampled.
        resamples: bootstrap samples.
        rng: source of the draws.
        interval: as `tally` takes it.
    """
    kept = outcome.counted
    if not kept.any():
        return None
    signs = outcome.signs[kept][:, None]
    return tally(signs, None, np.asarray(prompts)[kept], resamples=resamples, rng=rng, interval=interval)[0][
        0
    ]


def mean_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    prompts: npt.ArrayLike | Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int = 10_000,
) -> MeanDifference:
    """Mean paired difference a - b with its interval over prompts; arguments and errors as in `win_rate`."""
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    no_votes = np.empty((len(left), 0), dtype=np.int8)
    gaps, scale = (left - right)[:, None], [max(np.abs(left).max(initial=0), np.abs(right).max(initial=0))]
    return tally(no_votes, gaps, np.asarray(prompts), resamples=resamples, rng=rng, scale=scale)[1][0]


def _win_rate(
    signs: npt.NDArray[np.int8],
    vote_sums: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.int64],
    limits: npt.NDArray[np.float64] | None,
    method: CiMethod,
    permutation_p: float,
) -> WinRate:
    """Assemble one column's result; `limits` are the bootstrap limits of the mean vote, in [-1, 1]."""
    pairs = len(signs)
    wins, losses = int((signs > 0).sum()), int((signs < 0).sum())
    ties = pairs - wins - losses
    rate = (wins + ties / 2) / pairs
    ci95: tuple[float, float] | None = None
    if limits is not None:
        ci95 = (1 + float(limits[0])) / 2, (1 + float(limits[1])) / 2
        bound = unanimity_bound((1 + vote_sums / sizes) / 2, sizes=sizes)
        if bound is not None:
            ci95, method = bound, "exact"
    ahead, behind = int((vote_sums > 0).sum()), int((vote_sums < 0).sum())
    # Twice the binomial tail: for a fair coin what scipy.stats.binomtest gives, and far faster.
    p_value = min(1.0, 2 * float(special.bdtr(min(ahead, behind), ahead + behind, 0.5)))
    return WinRate(len(sizes), pairs, wins, ties, losses, rate, ci95, method, p_value, permutation_p)
