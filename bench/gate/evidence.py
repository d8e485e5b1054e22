"""What prompts say about a mean: the estimate, limits at any level, and how strongly they speak for either side of a threshold.

The limits are those of `tally.win_rate`, from the same draws: at level 95 % they are the numbers of results.json. That is a
bootstrap over prompts, percentile or BCa as in the results; for values in [0, 1] of which fewer than `RARE` prompts differ from
the commonest, the exact bound. The gate needs three things more:

* other levels, and p-values that say the same as the limits: `above(c)` is the tail at which the lower limit would sink to c,
so that it is below alpha / 2 exactly where the limit is above c.
* a minimum: a percentile bootstrap of fewer than `ENOUGH_PROMPTS` prompts is too narrow. Simulated at the margin (docs/gate.md),
it passes or fails wrongly up to twice as often as it says with 8 to 12 prompts. So such limits are shown and decide nothing. The
exact bound errs on the safe side at any number, and decides.
* no limits at all with one prompt.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from prefbench.bench.tally.bca import bca_points, bca_tail, bca_terms
from prefbench.bench.tally.resampling import ENOUGH_PROMPTS, cluster_sums, resampled_means
from prefbench.bench.tally.unanimity import tail_below, unanimity_bound
from prefbench.bench.tally.win_rate import TAIL, Interval

__all__ = ["Evidence", "Floats", "weigh"]

Floats = npt.NDArray[np.float64]

ROUNDING = 1e-9
"""0.5 - 0.03 is meant to be 0.47: what differs from a threshold by less than this, in shares of it, is on it."""

Method = Literal["bootstrap", "bca", "exact", "none"]


@dataclass(frozen=True)
class Evidence:
    """A mean over pairs and what its prompts say about it."""

    estimate: float
    prompts: int
    """Distinct prompt texts: what is resampled."""
    pairs: int
    per_prompt: Floats
    """Mean of each prompt, shape (prompts,)."""
    resampled: Floats | None
    """Bootstrap means in ascending order; None with one prompt."""
    bounded: bool
    """Whether values lie in [0, 1], so that the exact bound applies."""
    sizes: npt.NDArray[np.int64]
    """Pairs of each prompt, shape (prompts,)."""
    bca: Floats | None = None
    """Bias correction and acceleration, shape (2,), where the limits are BCa's; else None, and they are percentiles."""

    @cached_property
    def method(self) -> Method:
        """How limits are made: as `ci_method` of results.json."""
        if self.resampled is None:
            return "none"
        if self.bounded and unanimity_bound(self.per_prompt) is not None:
            return "exact"
        return "bootstrap" if self.bca is None else "bca"

    @property
    def decides(self) -> bool:
        """Whether limits may be acted on."""
        return self.method == "exact" or (self.method != "none" and self.prompts >= ENOUGH_PROMPTS)

    def limits(self, alpha: float) -> tuple[float, float] | None:
        """Lower and upper limit at level 1 - alpha; None with one prompt."""
        if self.resampled is None:
            return None
        if self.method == "exact":
            return unanimity_bound(self.per_prompt, alpha / 2, sizes=self.sizes)
        points = np.array([alpha / 2, 1 - alpha / 2])
        if self.bca is not None:
            shifted = bca_points(self.bca[:, None], alpha / 2)[:, 0]
            points = shifted if np.isfinite(shifted).all() else points
        low, high = map(float, np.quantile(self.resampled, points))
        return low, high

    def above(self, threshold: float) -> float | None:
        """One-sided p-value of "the true mean is at most the threshold"; small where it is above. None with one prompt."""
        if self.resampled is None:
            return None
        if self.method == "exact":
            return tail_below(self.per_prompt, threshold, sizes=self.sizes)
        return _tail(self.resampled, threshold, self.bca)

    def below(self, threshold: float) -> float | None:
        """One-sided p-value of "the true mean is at least the threshold"; small where it is below. None with one prompt."""
        if self.resampled is None:
            return None
        if self.method == "exact":
            return tail_below(1 - self.per_prompt, 1 - threshold, sizes=self.sizes)
        return _tail(-self.resampled[::-1], -threshold, None if self.bca is None else -self.bca)


def weigh(
    columns: Floats,
    prompts: npt.ArrayLike,
    *,
    bounded: bool,
    resamples: int,
    rng: np.random.Generator,
    interval: Interval = "percentile",
) -> list[Evidence]:
    """Evidence on the mean of each column, from the same draws.

    Args:
        columns: shape (pairs, columns), finite; in [0, 1] where `bounded`.
        prompts: label of each pair's prompt, shape (pairs,).
        bounded: whether the exact bound applies.
        resamples: bootstrap samples.
        rng: source of the draws; `resamples.stream` of a slice gives those of results.json.
        interval: which bootstrap limits; where BCa is undefined the percentiles stand, as in `tally`.

    Raises:
        ValueError: no pairs, or shapes that do not fit.

    >>> one, = weigh(np.array([[1.0], [1.0]]), ["p", "q"], bounded=True, resamples=10, rng=np.random.default_rng(0))
    >>> one.estimate, one.method, one.limits(0.05)  # two wins of two: 1 - (.025)^(1/2) is the limit of the share of losses
    (1.0, 'exact', (0.158..., 1.0))
    >>> one.above(0.5)  # half would have to lose: (1 - .5)^2
    0.25
    """
    sums, sizes = cluster_sums(columns, prompts)
    resampled = None
    terms = np.full((2, columns.shape[1]), np.nan)
    if len(sizes) > 1:
        drawn = resampled_means(sums, sizes, resamples=resamples, rng=rng)
        resampled = np.sort(drawn.T, axis=1)
        if interval == "bca":
            terms = bca_terms(drawn, sums, sizes)
    with_bca = np.isfinite(bca_points(terms, TAIL)[0])
    return [
        Evidence(
            estimate=float(sums[:, j].sum() / sizes.sum()),
            prompts=len(sizes),
            pairs=len(columns),
            per_prompt=sums[:, j] / sizes,
            resampled=None if resampled is None else resampled[j],
            bounded=bounded,
            sizes=sizes,
            bca=terms[:, j] if with_bca[j] else None,
        )
        for j in range(columns.shape[1])
    ]


def _tail(ordered: Floats, threshold: float, bca: Floats | None) -> float:
    """The tail at which the lower limit is the threshold: the inverse of `np.quantile`, linear between draws, and of BCa."""
    edge = threshold + ROUNDING * abs(threshold)
    below = int(np.searchsorted(ordered, edge, side="right"))
    smallest = 1 / (len(ordered) + 1)  # where no draw is that low: so many draws tell no smaller tail
    last = len(ordered) - 1
    if below == 0:
        return smallest
    if below > last:
        return 1.0
    step = float((edge - ordered[below - 1]) / (ordered[below] - ordered[below - 1]))
    tail = (below - 1 + step) / last
    return max(tail if bca is None else bca_tail(tail, *map(float, bca)), smallest)
