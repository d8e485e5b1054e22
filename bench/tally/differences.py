"""Differences of scores: what is left of equal ones after adding floats, and Cohen's effect size."""

import numpy as np
import numpy.typing as npt

from prefbench.bench.tally.votes import DUST

__all__ = ["effect_size", "without_dust"]

SAME = 1e-9
"""A spread of differences below this share of the largest one is rounding, and counts as none."""

Floats = npt.NDArray[np.float64]


def without_dust(sums: Floats, sizes: npt.NDArray[np.int64], scale: npt.ArrayLike) -> Floats:
    """Sums of differences, with 0 for those that are 0 but for rounding.

    .1 - .0 and .2 - .3 add up to 2.8e-17 and not to 0, and what looks the same on every prompt has an interval without width
    beside 0, however small it is. Scorers give float32 or less, whose steps are a hundred million times as coarse: no
    difference that a scorer can tell is lost.

    Args:
        sums: of each prompt's differences, shape (prompts, columns).
        sizes: differences in each sum, shape (prompts,).
        scale: largest magnitude of the scores that were subtracted, shape (columns,).

    Raises:
        ValueError: a scale that is negative or not finite, or another number of them than of columns.

    >>> without_dust(np.array([[2.8e-17], [1e-9]]), np.array([2, 2]), [0.3]).tolist()
    [[0.0], [1e-09]]
    """
    largest = np.asarray(scale, dtype=np.float64)
    if largest.shape != sums.shape[1:] or not (np.isfinite(largest) & (largest >= 0)).all():
        raise ValueError(
            f"Scales must be finite, 0 or more, one a column of differences; got {largest.shape}."
        )
    return np.where(np.abs(sums) <= DUST * sizes[:, None] * largest, 0.0, sums)


def effect_size(values: npt.ArrayLike) -> float | None:
    """Cohen's d_z: the mean of paired differences over their standard deviation; None where there is no spread.

    Args:
        values: one mean difference a prompt, shape (prompts,).

    Raises:
        ValueError: a difference that is not finite.

    >>> effect_size([1.0, 2.0, 3.0])
    2.0
    """
    x = np.asarray(values, dtype=np.float64)
    if not np.isfinite(x).all():
        raise ValueError("A difference is not finite.")
    largest = float(np.abs(x).max(initial=0))
    if len(x) < 2 or largest == 0:
        return None
    # By a power of two, which rounds nothing: squares of scores near 1e100 would overflow, and the ratio has no unit.
    x = np.ldexp(x, -int(np.frexp(largest)[1]))
    spread = float(x.std(ddof=1))
    return None if spread <= SAME else float(x.mean()) / spread
