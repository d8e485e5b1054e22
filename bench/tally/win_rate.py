"""Win rates with ties half, mean differences, and their 95 % intervals over prompts.

The estimate is the mean over pairs of win 1, tie 1/2, loss 0: (wins + ties / 2) / pairs. Where every prompt
has the same number of seeds, this is also the mean over prompts of the mean over seeds.

The interval is a percentile bootstrap over prompts (`ci_method` "bootstrap"). It has two blind spots,
stated and not hidden:

* **Nearly unanimous prompts.** Where all 200 prompts are won, every resample is all wins and the percentile
  interval is [1, 1]; where one is lost, it is hardly wider. Where fewer than `RARE` prompts differ from the
  commonest value v (all wins, all ties, ...), we bound what the bootstrap can not see: the share of prompts
  that differ is at most u, the exact 97.5 % Clopper-Pearson limit, and a differing prompt may lie anywhere
  in [0, 1], so the win rate lies in [v(1 - u), v(1 - u) + u]. With v = 1 or 0 this is the Clopper-Pearson
  bound over prompts (200 of 200: [0.982, 1]). The result is never narrower than the bootstrap's and is
  marked "exact". It is conservative. Five is the usual rule for a proportion's approximation; that it
  serves here is our choice, checked by simulation in the tests.
* **One prompt.** Seeds of one prompt say nothing about other prompts: the interval is None ("none").

The p-value is the exact two-sided sign test on prompts: each prompt with more wins than losses against each
with more losses, evenly split prompts left out; 1 where no prompt is decided. It is a test of the median
prompt and not of the mean, so it can disagree with the interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from prefbench.bench.tally.resampling import cluster_sums, resampled_means
from prefbench.bench.tally.votes import votes as pair_votes

__all__ = [
    "RARE",
    "TAIL",
    "CiMethod",
    "MeanDifference",
    "WinRate",
    "mean_difference",
    "tally",
    "unanimity_bound",
    "win_rate",
]

RARE = 5
"""With fewer prompts than this off the commonest value, the bootstrap gives way to the exact bound."""

TAIL = 0.025
"""Probability left out at each end of an interval."""

CiMethod = Literal["bootstrap", "exact", "none"]


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
    """"bootstrap", "exact" (nearly unanimous prompts) or "none" (one prompt); see the module's text."""
    p_value: float
    """Exact two-sided sign test on decided prompts; 1 where none is decided."""


@dataclass(frozen=True)
class MeanDifference:
    """Mean over pairs of a's score minus b's, in the scorer's own units."""

    mean: float
    ci95: tuple[float, float] | None
    """Percentile bootstrap over prompts; None with one prompt. Equal differences give zero width."""


def tally(
    ballots: npt.ArrayLike,
    differences: npt.ArrayLike | None,
    prompts: npt.ArrayLike,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[list[WinRate], list[MeanDifference]]:
    """Win rates of many columns of votes and means of many columns of differences, from the same resamples.

    Args:
        ballots: votes in {-1, 0, 1}, shape (pairs, M): a column a comparison and scorer.
        differences: score differences, shape (pairs, D), or None.
        prompts: label of each pair's prompt, shape (pairs,). Equal labels are one cluster: give the
            prompt's *text*, and a prompt listed twice does not count as two.
        resamples: bootstrap samples, at least 1.
        rng: source of the draws.

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
    means = np.concatenate([vote_sums.sum(axis=0), gap_sums.sum(axis=0)]) / sizes.sum()
    limits = None
    if len(sizes) > 1:
        boot = resampled_means(np.hstack([vote_sums, gap_sums]), sizes, resamples=resamples, rng=rng)
        limits = np.quantile(boot, [TAIL, 1 - TAIL], axis=0)
    m = signs.shape[1]
    rates = [
        _win_rate(signs[:, j], vote_sums[:, j], sizes, None if limits is None else limits[:, j])
        for j in range(m)
    ]
    gap_results = [
        MeanDifference(
            float(mean), None if limits is None else (float(limits[0, m + j]), float(limits[1, m + j]))
        )
        for j, mean in enumerate(means[m:])
    ]
    return rates, gap_results


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


def mean_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    prompts: npt.ArrayLike | Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int = 10_000,
) -> MeanDifference:
    """Mean paired difference a - b with its interval over prompts; arguments and errors as in `win_rate`."""
    gaps = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    no_votes = np.empty((len(gaps), 0), dtype=np.int8)
    return tally(no_votes, gaps[:, None], np.asarray(prompts), resamples=resamples, rng=rng)[1][0]


def _win_rate(
    signs: npt.NDArray[np.int8],
    vote_sums: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.int64],
    limits: npt.NDArray[np.float64] | None,
) -> WinRate:
    """Assemble one column's result; `limits` are the bootstrap limits of the mean vote, in [-1, 1]."""
    pairs = len(signs)
    wins, losses = int((signs > 0).sum()), int((signs < 0).sum())
    ties = pairs - wins - losses
    rate = (wins + ties / 2) / pairs
    ci95: tuple[float, float] | None = None
    method: CiMethod = "none"
    if limits is not None:
        ci95, method = ((1 + float(limits[0])) / 2, (1 + float(limits[1])) / 2), "bootstrap"
        bound = unanimity_bound((1 + vote_sums / sizes) / 2)
        if bound is not None:
            # Hull with bootstrap and estimate: with unequal seeds one deviating prompt may weigh a lot.
            ci95, method = (min(bound[0], ci95[0], rate), max(bound[1], ci95[1], rate)), "exact"
    ahead, behind = int((vote_sums > 0).sum()), int((vote_sums < 0).sum())
    # Twice the binomial tail: for a fair coin what scipy.stats.binomtest gives, and far faster.
    p_value = min(1.0, 2 * float(special.bdtr(min(ahead, behind), ahead + behind, 0.5)))
    return WinRate(len(sizes), pairs, wins, ties, losses, rate, ci95, method, p_value)


def unanimity_bound(values: npt.NDArray[np.float64], tail: float = TAIL) -> tuple[float, float] | None:
    """Bound on the mean where fewer than `RARE` per-prompt values in [0, 1] differ from the commonest; else None.

    Args:
        values: win rates of the prompts, or anything else between 0 and 1, shape (prompts,).
        tail: probability left out at each end.
    """
    found, counts = np.unique(values, return_counts=True)
    n, differing = len(values), len(values) - int(counts.max())
    if differing >= RARE:
        return None
    # Upper Clopper-Pearson limit of a proportion with `differing` successes in n trials.
    u = float(special.betaincinv(differing + 1, n - differing, 1 - tail))
    modes = found[
        counts == counts.max()
    ]  # several equally common values: the hull over them keeps the bound symmetric
    return float(modes.min() * (1 - u)), float(modes.max() * (1 - u) + u)
