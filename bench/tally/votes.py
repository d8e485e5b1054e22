"""One scorer's verdict on a pair of samples, and the majority of several such verdicts."""

import numpy as np
import numpy.typing as npt

__all__ = ["TIE_RULE", "majority", "votes"]

TIE_RULE = "an even split of the voters is a tie, and a tie counts half"
"""What becomes of an even split and of a tie, in the words that results.json prints."""


def votes(a: npt.ArrayLike, b: npt.ArrayLike, *, higher_is_better: bool = True) -> npt.NDArray[np.int8]:
    """Win 1, tie 0, loss -1 of `a` against `b`, elementwise.

    A tie is exact equality in float64: no tolerance. Scores rounded to fp16 on the way tie more often than
    they should.

    Args:
        a: scores of one checkpoint, finite.
        b: scores of the other on the same prompts and seeds, same shape.
        higher_is_better: False for a scorer whose lower value is the better one.

    Returns:
        int8, the shape of `a`.

    Raises:
        ValueError: unequal shapes, or a score that is not finite.

    >>> votes([0.3, 0.2, 0.1], [0.1, 0.2, 0.3]).tolist()
    [1, 0, -1]
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"Scores to compare differ in shape: {left.shape} and {right.shape}.")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("A score is not finite, so the pair has no winner.")
    verdict = (left > right).astype(np.int8) - (left < right).astype(np.int8)
    return verdict if higher_is_better else -verdict


def majority(ballots: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """Majority vote: the sign of the sum of the voters' votes on each pair.

    An even split is a tie and counts half (`TIE_RULE`). A voter that ties abstains: two ties and one win
    make a win.

    Args:
        ballots: votes in {-1, 0, 1}, shape (voters, pairs), at least one voter.

    Returns:
        int8, shape (pairs,).

    Raises:
        ValueError: not two-dimensional, no voter, or a value other than -1, 0, 1.

    >>> majority([[1, 1, -1], [1, -1, 0], [-1, 0, 0]]).tolist()  # 2:1, 1:1, 0:1
    [1, 0, -1]
    """
    array = np.asarray(ballots)
    if array.ndim != 2 or array.shape[0] == 0:
        raise ValueError(f"Votes must have shape (voters, pairs) with at least one voter, not {array.shape}.")
    if not np.isin(array, (-1, 0, 1)).all():
        raise ValueError("A vote is -1, 0 or 1.")
    return np.sign(array.astype(np.int64).sum(axis=0)).astype(np.int8)
