"""P-values of many tests, adjusted for how many there are: Holm, and Benjamini-Hochberg.

An adjusted p-value is below alpha where the procedure at level alpha rejects. Holm keeps the probability of *any* false
rejection at alpha at most, whatever the dependence of the tests: for what was named in advance and what gates hang on.
Benjamini-Hochberg keeps the expected *share* of false ones among the rejected at alpha: for exploration, where a few false
leads do no harm. It is proven for independent tests and for positively dependent ones, which scorers and nested slices
of one benchmark are likely to be; that is an assumption.

Source: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979);
Y. Benjamini and Y. Hochberg, "Controlling the False Discovery Rate", JRSS B 57 (1995).
"""

import numpy as np
import numpy.typing as npt

__all__ = ["benjamini_hochberg", "holm"]

Floats = npt.NDArray[np.float64]


def holm(p_values: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values: the k-th smallest of n times n - k + 1, never below a smaller one's, 1 at most.

    Args:
        p_values: of one family, in [0, 1], shape (tests,); may be empty.

    Returns:
        In the order given.

    Raises:
        ValueError: not one-dimensional, or a value outside [0, 1] (NaN included).

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()  # 3 x .01, 2 x .03, and .04 not below .06
    [0.03, 0.06, 0.06]
    """
    p, order = _sorted(p_values)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _in_place(np.minimum(adjusted, 1.0), order)


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """Benjamini-Hochberg's: the k-th smallest of n times n / k, never above a larger one's, 1 at most.

    Arguments, order and errors as in `holm`.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(2).tolist()  # 3 x .01, and 3/2 x .03 is .045: .04 bounds it
    [0.03, 0.04, 0.04]
    """
    p, order = _sorted(p_values)
    n = len(p)
    scaled = p[order] * n / np.arange(1, n + 1)
    return _in_place(np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0), order)


def _sorted(p_values: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie in [0, 1] in shape (tests,), got shape {p.shape}.")
    return p, np.argsort(p, kind="stable")


def _in_place(adjusted: Floats, order: npt.NDArray[np.int64]) -> Floats:
    found = np.empty_like(adjusted)
    found[order] = adjusted
    return found
