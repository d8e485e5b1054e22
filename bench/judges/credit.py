"""What a scorer gets for its verdict on a pair, where people may say "tie": three rules, each named.

* `left_out`: pairs that people tied do not count. As THUDM/ImageReward@6d863e1 test.py and most papers; there a
  scorer's own exact tie is wrong, here it is half (ours).
* `half`: a pair that people tied gives half a point whatever the scorer says; a scorer's own exact tie gives half.
* `pickscore`: a scorer may say "tie" too, where its two scores are nearly equal. 1 point for the same answer of three,
  half where exactly one of the two says tie, 0 for the opposite. This is calc_score of
  yuvalkirstain/PickScore@11584a5 trainer/scripts/eval_preference_predictor.py.

There a tie is |p0 - p1| <= t with (p0, p1) the softmax of the two scores, and t is that of 0, 0.1, ... 1 with the most
points on the validation split. Since |p0 - p1| = tanh(|difference| / 2), this is a threshold on the difference of the scores,
which is how it is kept here. That grid means something for logits only. For a score on another scale (a raw
cosine's differences are all of 0.01) every difference that occurs is tried instead: ours.

Where there is no validation split the threshold of a pair is chosen on the other prompts (`cross_fitted`): ours.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["FOLDS", "LOGIT_GRID", "TieRule", "best_threshold", "cross_fitted", "points", "probability_gap"]

Floats = npt.NDArray[np.float64]
Votes = npt.NDArray[np.int8]
TieRule = Literal["left_out", "half", "pickscore"]

LOGIT_GRID: Floats = np.append(2 * np.arctanh(np.arange(10) / 10), np.inf)
"""Differences of two logits whose softmax differs by 0, 0.1, ... 0.9 and 1 [CODE, as above]."""

FOLDS = 5
"""Parts of the prompts, each judged with the threshold that is best for the others: ours."""


def points(people: npt.ArrayLike, gap: npt.ArrayLike, threshold: npt.ArrayLike | None = None) -> Votes:
    """1 for a full point, 0 for half, -1 for none: what `tally` takes as votes, so that its win rate is the accuracy.

    Args:
        people: (N,) in {-1, 0, 1}.
        gap: (N,) the scorer's score of the first image less that of the second, higher is better.
        threshold: None for the rules `left_out` and `half`; else the rule `pickscore`, and |gap| <= threshold is the
            scorer's tie. One number or (N,).

    >>> people, gap = [1, 1, 1, 0, 0], [2.0, 0.1, -2.0, 2.0, 0.1]
    >>> points(people, gap).tolist(), points(people, gap, 0.5).tolist()
    ([1, 1, -1, 0, 0], [1, 0, -1, 0, 1])
    """
    chosen, difference = np.asarray(people, dtype=np.int8), np.asarray(gap, dtype=np.float64)
    if threshold is None:
        return chosen * np.sign(difference).astype(np.int8)
    answer = np.where(np.abs(difference) <= threshold, 0, np.sign(difference)).astype(np.int8)
    return (1 - np.abs(chosen - answer)).astype(np.int8)


def best_threshold(people: npt.ArrayLike, gap: npt.ArrayLike, grid: npt.ArrayLike | None = None) -> float:
    """The threshold with the most points by the rule `pickscore`; of several the smallest.

    Args:
        people: (N,) in {-1, 0, 1}, N at least 1.
        gap: (N,) as in `points`.
        grid: thresholds to try, ascending; None for 0 and every |gap| that occurs.

    >>> best_threshold([0, 0, 1, -1], [0.1, -0.2, 0.5, -0.9])
    0.2
    """
    chosen = np.asarray(people, dtype=np.int64)
    difference = np.asarray(gap, dtype=np.float64)
    size = np.abs(difference)
    tried = np.unique(np.append(size, 0.0)) if grid is None else np.asarray(grid, dtype=np.float64)
    order = np.argsort(size, kind="stable")
    as_tie = np.concatenate([[0], np.cumsum(1 - np.abs(chosen[order]))])
    as_choice = np.concatenate([[0], np.cumsum(1 - np.abs(chosen - np.sign(difference))[order].astype(int))])
    below = np.searchsorted(size[order], tried, side="right")
    total = as_tie[below] + as_choice[-1] - as_choice[below]
    return float(tried[int(np.argmax(total))])


def cross_fitted(
    people: npt.ArrayLike, gap: npt.ArrayLike, prompts: Sequence[str], grid: npt.ArrayLike | None = None
) -> tuple[Floats, list[float]]:
    """A threshold for each pair, chosen without the pairs of its prompt.

    The distinct prompts, in the order of their sha256, are dealt to `FOLDS` parts (as many as prompts, if fewer); each
    part has the threshold that is best for the pairs of all others. Nothing is drawn, and the order of the data does
    not matter.

    Args:
        people: (N,) as in `points`.
        gap: (N,) as in `points`.
        prompts: text of each pair's prompt, N.
        grid: as in `best_threshold`.

    Returns:
        (N,) thresholds; the one of each part.

    Raises:
        ValueError: one prompt: nothing is left to choose by.
    """
    distinct = sorted(set(prompts), key=lambda text: hashlib.sha256(text.encode()).digest())
    if len(distinct) < 2:
        raise ValueError("A threshold cannot be chosen on other prompts where there is one.")
    parts = min(FOLDS, len(distinct))
    part_of = {text: place % parts for place, text in enumerate(distinct)}
    part = np.array([part_of[text] for text in prompts])
    chosen, difference = np.asarray(people), np.asarray(gap, dtype=np.float64)
    found = [best_threshold(chosen[part != k], difference[part != k], grid) for k in range(parts)]
    return np.array(found)[part], found


def probability_gap(threshold: float) -> float:
    """|p0 - p1| of two logits that differ by `threshold`.

    >>> round(probability_gap(LOGIT_GRID[3]), 6), probability_gap(float("inf"))
    (0.3, 1.0)
    """
    return float(np.tanh(threshold / 2))
