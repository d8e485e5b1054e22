"""Terms, scores, ranks and the top K: numpy in, numpy out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.named_random import named_generator

__all__ = ["Selection", "keep_best", "keep_random", "z_scores"]


@dataclass(frozen=True)
class Selection:
    """Which of N pairs stay, and why.

    Attributes:
        kept: (N,) bool.
        score: (N,) float64, what pairs are ranked by; NaN where a pair has none.
        rank: (N,) int64, 1 for the best, 0 where a pair has no score.
        reason: (N,) text: why a pair has no score, "" where it has one.
        terms: name -> (N,) float64: every term of the score, raw and normalised.
    """

    kept: np.ndarray
    score: np.ndarray
    rank: np.ndarray
    reason: np.ndarray
    terms: Mapping[str, np.ndarray] = field(default_factory=dict)


def z_scores(values: np.ndarray) -> np.ndarray:
    """(x - mean) / standard deviation over the finite values; NaN stays NaN.

    Values that are all the same decide nothing: their z-scores are 0.

    >>> z_scores(np.array([1.0, 3.0, np.nan])).tolist()
    [-1.0, 1.0, nan]
    """
    known = values[np.isfinite(values)]
    if known.size == 0:
        return values.copy()
    spread = known.std()
    centred = values - known.mean()
    # The spread of equal numbers is rounding, not 0.
    if spread <= 1e-12 * max(1.0, float(np.abs(known).max())):
        return np.where(np.isfinite(values), 0.0, values)
    return centred / spread


def _check(count: int, available: int, total: int, what: str) -> None:
    if count < 1:
        raise DataError(f"{what} keeps none of {total} pairs. Give more data, or a larger keep.")
    if count > available:
        without = f" ({total - available} of {total} have no score)" if available < total else ""
        raise DataError(
            f"{what} is to keep {count} pairs, and there are {available}{without}. Give a smaller keep."
        )


def keep_best(
    score: np.ndarray,
    count: int,
    *,
    what: str,
    reason: np.ndarray | None = None,
    terms: Mapping[str, np.ndarray] | None = None,
) -> Selection:
    """The `count` pairs of the highest score; of equal scores the earlier pair.

    Args:
        score: (N,), NaN where a pair has none.
        count: pairs to keep.
        what: the selection, for errors.
        reason: (N,) text, why a pair has no score.
        terms: what the score is made of.

    Raises:
        DataError: fewer pairs with a score than `count`, or none to keep.
    """
    has = np.isfinite(score)
    _check(count, int(has.sum()), len(score), what)
    order = np.argsort(np.where(has, -score, np.inf), kind="stable")[: int(has.sum())]
    rank = np.zeros(len(score), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return Selection(
        kept=(rank > 0) & (rank <= count),
        score=score,
        rank=rank,
        reason=np.full(len(score), "", dtype=object) if reason is None else reason,
        terms=dict(terms or {}),
    )


def keep_random(total: int, count: int, *, seed: int, what: str) -> Selection:
    """`count` of `total` pairs drawn without replacement; the score is 1 / place in the draw."""
    _check(count, total, total, what)
    place = np.empty(total, dtype=np.int64)
    place[named_generator("random subset", seed).permutation(total)] = np.arange(1, total + 1)
    return keep_best(1.0 / place, count, what=what)
