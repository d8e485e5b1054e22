"""How alike the outcomes of one prompt's seeds are: the intra-class correlation, by analysis of variance.

    rho = (MSB - MSW) / (MSB + (n0 - 1) MSW)

MSB is the mean square between prompts, MSW within, and n0 the number of seeds a prompt, or with k prompts of unequal
n_i seeds (sum n_i - sum n_i^2 / sum n_i) / (k - 1). The estimator is the classical one (Fisher; for 0/1 outcomes see
Ridout, Demetrio and Firth 1999, Biometrics 55, "ANOVA estimator"). Ours: a tie is the outcome 1/2, and a negative
estimate is set to 0, because a plan that counted on seeds to repel one another would ask for too few prompts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prefbench.bench.tally.resampling import cluster_sums

__all__ = ["SeedCorrelation", "seed_correlation"]


@dataclass(frozen=True)
class SeedCorrelation:
    """Correlation of two outcomes of one prompt."""

    value: float
    """In [0, 1]: the estimate, or 0 where it is negative."""
    estimate: float
    """As it came out; may be negative."""

    @property
    def clipped(self) -> bool:
        """Whether `value` is not the estimate."""
        return self.value != self.estimate


def seed_correlation(outcomes: npt.ArrayLike, prompts: npt.ArrayLike) -> SeedCorrelation | None:
    """Measure the correlation of the outcomes of one prompt.

    Args:
        outcomes: win 1, tie 1/2, loss 0 of every pair, shape (pairs,).
        prompts: its prompt, shape (pairs,); equal labels are one prompt.

    Returns:
        None where it can not be measured: fewer than two prompts, no prompt with two pairs, or outcomes all alike.

    Raises:
        ValueError: shapes that do not fit, no pairs, or an outcome outside [0, 1].

    >>> found = seed_correlation([1, 1, 1, 0, 0, 0], ["p", "p", "q", "q", "r", "r"])  # MSB 1/2, MSW 1/6
    >>> round(found.value, 12)
    0.5
    """
    x = np.asarray(outcomes, dtype=np.float64)
    if x.ndim != 1 or not ((x >= 0) & (x <= 1)).all():
        raise ValueError(f"Outcomes must lie in [0, 1] in shape (pairs,), got shape {x.shape}.")
    columns, sizes = cluster_sums(np.column_stack([x, x * x]), prompts)
    sums, squares = columns.T
    pairs, k = len(x), len(sizes)
    if k < 2 or pairs == k:
        return None
    within = float((squares - sums**2 / sizes).sum()) / (pairs - k)
    between = float((sums**2 / sizes).sum() - x.sum() ** 2 / pairs) / (k - 1)
    seeds = (pairs - float((sizes**2).sum()) / pairs) / (k - 1)
    total = between + (seeds - 1) * within
    if total <= 1e-12:  # outcomes are multiples of 1/2: what is below this is rounding
        return None
    estimate = (between - within) / total
    return SeedCorrelation(min(1.0, max(0.0, estimate)), estimate)
