"""Bias-corrected and accelerated (BCa) bootstrap limits, clusters and all columns at once.

The percentile interval takes the 2.5 % and 97.5 % points of the resampled means. BCa takes other points:

    q = Phi(z0 + (z0 + z) / (1 - a (z0 + z))),  z = -1.96 and 1.96

z0, the bias correction, is the normal quantile of the share of resamples below the estimate (half of those equal to it);
a, the acceleration, is the skewness of the estimate's influence values over 6, by leaving out one cluster at a time:

    U_i = mean of the leave-one-out means - leave-one-out mean i,  a = sum U_i^3 / (6 (sum U_i^2)^1.5)

* The paper's (B. Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987; Efron and Tibshirani, An Introduction to
  the Bootstrap, 1993, chapter 14): the formulas. From the general literature; scipy.stats.bootstrap(method="BCa") is
  the oracle of the tests.
* Ours: a cluster is left out whole, and its leave-one-out mean is (S - s_i) / (N - m_i) with S, N the sums over all
  pairs and s_i, m_i the cluster's: exact, so the jackknife costs one division a cluster and column.
"""

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = ["bca_limits", "bca_points", "bca_tail", "bca_terms"]

ROUNDING = 1e-12
"""Resampled means nearer to the estimate than this share of the mean magnitude are equal to it: the same differences in
another order. Coarse scores have many such, and told apart by their last bits they moved the limits with the unit."""

Floats = npt.NDArray[np.float64]


def bca_limits(
    drawn: Floats, sums: Floats, sizes: npt.NDArray[np.int64], *, tail: float
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Lower and upper BCa limit of every column.

    Args:
        drawn: resampled means, shape (resamples, columns), from `resampled_means`.
        sums: the clusters' sums that they were drawn from, shape (clusters, columns), two clusters at least.
        sizes: pairs of each cluster, shape (clusters,).
        tail: probability left out at each end.

    Returns:
        Limits, shape (2, columns); and whether they are defined, shape (columns,). They are not where no cluster moves the
        mean (no spread, so a is 0/0), where no resample lies on one side of the estimate (z0 is infinite), or where
        a (z0 + z) reaches 1. There the limits are the percentile ones.

    Raises:
        ValueError: fewer than two clusters.
    """
    points = bca_points(bca_terms(drawn, sums, sizes), tail)
    defined = np.isfinite(points[0])
    return _quantiles(drawn, np.where(defined, points, np.array([[tail], [1 - tail]]))), defined


def bca_terms(drawn: Floats, sums: Floats, sizes: npt.NDArray[np.int64]) -> Floats:
    """Bias correction z0 and acceleration a of every column, shape (2, columns); NaN where one is undefined.

    Arguments and errors as in `bca_limits`.
    """
    if len(sizes) < 2:
        raise ValueError("BCa limits need at least two clusters.")
    estimate = sums.sum(axis=0) / sizes.sum()
    slack = ROUNDING * np.abs(sums).sum(axis=0) / sizes.sum()
    below = ((drawn < estimate - slack).mean(axis=0) + (drawn <= estimate + slack).mean(axis=0)) / 2
    left_out = (sums.sum(axis=0) - sums) / (sizes.sum() - sizes)[:, None]
    influence = left_out.mean(axis=0) - left_out
    # Over the largest, or the cubes of scores near 1e100 overflow; the ratio does not change.
    largest = np.abs(influence).max(axis=0)
    influence = influence / np.where(largest > 0, largest, 1.0)
    squares = (influence**2).sum(axis=0)
    moved = squares > 0
    acceleration = (influence**3).sum(axis=0) / (6 * np.where(moved, squares, 1.0) ** 1.5)
    bias = special.ndtri(below)
    return np.where(moved & np.isfinite(bias), np.stack([bias, acceleration]), np.nan)


def bca_points(terms: Floats, tail: float) -> Floats:
    """The points of the draws that are the limits, shape (2, columns); NaN where they are undefined.

    Args:
        terms: from `bca_terms`.
        tail: probability left out at each end.
    """
    bias, acceleration = terms
    shifted = bias + special.ndtri(np.array([tail, 1 - tail]))[:, None]
    slope = 1 - acceleration * shifted
    points = special.ndtr(bias + shifted / np.where(slope > 0, slope, 1.0))
    return np.where((slope > 0).all(axis=0), points, np.nan)


def bca_tail(point: float, bias: float, acceleration: float) -> float:
    """The tail whose lower limit is at this point of the draws: the inverse of `bca_points`.

    >>> points = bca_points(np.array([[0.1], [0.05]]), 0.025)
    >>> round(bca_tail(points[0, 0], 0.1, 0.05), 12)
    0.025
    """
    w = special.ndtri(point) - bias
    slope = 1 + acceleration * w
    if slope <= 0:
        return float(w > 0)
    return float(special.ndtr(w / slope - bias))


def _quantiles(drawn: Floats, points: Floats) -> Floats:
    """Each column's own quantiles, linear between neighbours as np.quantile: (2, columns)."""
    ordered = np.sort(drawn, axis=0)
    place = points * (len(drawn) - 1)
    left = np.minimum(np.floor(place).astype(np.int64), len(drawn) - 1)
    right = np.minimum(left + 1, len(drawn) - 1)
    low, high = (np.take_along_axis(ordered, rows, axis=0) for rows in (left, right))
    return np.asarray(low + (place - left) * (high - low))
