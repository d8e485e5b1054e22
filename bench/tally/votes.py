"""One scorer's verdict on a pair of samples, and what several such verdicts make together.

The plain majority decides verdicts. Beside it stand the unanimous vote and the vote weighted by how often each voter
agrees with people: where they say something else, the majority rests on who happened to be asked.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = [
    "DUST",
    "TIE_RULE",
    "TIE_RULES",
    "Outcome",
    "TieRule",
    "accuracy_weights",
    "decide",
    "majority",
    "unanimous",
    "votes",
]

TieRule = Literal["tie", "abstain", "first"]
"""What becomes of a pair on which as many voters are for one side as for the other."""

TIE_RULES: dict[TieRule, str] = {
    "tie": "an even split of the voters is a tie, and a tie counts half",
    "abstain": "a pair on which the voters split evenly, or all tie, is left out of the vote",
    "first": "where the voters split evenly, the first of them that does not tie decides; where all tie, it counts half",
}
"""The rules in the words that results.json prints."""

TIE_RULE = TIE_RULES["tie"]
"""The rule that holds where none is chosen."""

DUST = 4 * float(np.finfo(np.float64).eps)
"""What rounding makes of equal numbers: so small a share of the larger one. .8 - .7 is .1 + 8e-17."""

ROUNDING = 1e-12
"""Weighted sums below this share of all weights are an even split: what is left of one after adding floats."""


@dataclass(frozen=True)
class Outcome:
    """What a vote says of each pair."""

    signs: npt.NDArray[np.int8]
    """Win 1, tie 0, loss -1, shape (pairs,); 0 where the pair is not counted."""
    counted: npt.NDArray[np.bool_]
    """False where the tie rule leaves the pair out, shape (pairs,)."""


def votes(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    higher_is_better: bool = True,
    tolerance: npt.ArrayLike = 0.0,
) -> npt.NDArray[np.int8]:
    """Win 1, tie 0, loss -1 of `a` against `b`, elementwise.

    A tie is exact equality in float64 unless a tolerance is given: then |a - b| <= tolerance, up to rounding
    (`DUST`): a tolerance of .1 ties .3 and .2, and .8 and .7. Scores rounded to fp16 on the way tie more often than they should.

    Args:
        a: scores of one checkpoint, finite.
        b: scores of the other on the same prompts and seeds, same shape.
        higher_is_better: False for a scorer whose lower value is the better one.
        tolerance: in the scorer's units, finite, 0 or more; one number, or any shape that broadcasts to that of `a`.

    Returns:
        int8, the shape of `a`.

    Raises:
        ValueError: unequal shapes, a score that is not finite, or a tolerance that is negative or not finite.

    >>> votes([0.3, 0.2, 0.1], [0.1, 0.2, 0.3]).tolist()
    [1, 0, -1]
    >>> votes([3.0, 2.0, 1.0], [1.0, 1.5, 1.5], tolerance=0.5).tolist()
    [1, 0, 0]
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"Scores to compare differ in shape: {left.shape} and {right.shape}.")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("A score is not finite, so the pair has no winner.")
    limit = np.asarray(tolerance, dtype=np.float64)
    if not (np.isfinite(limit).all() and (limit >= 0).all()):
        raise ValueError("A tie tolerance is a finite number of 0 or more.")
    verdict = (left > right).astype(np.int8) - (left < right).astype(np.int8)
    if limit.any():
        slack = np.where(limit > 0, DUST * np.maximum(np.abs(left), np.abs(right)), 0.0)
        verdict[np.abs(left - right) <= limit + slack] = 0
    return verdict if higher_is_better else -verdict


def decide(
    ballots: npt.ArrayLike, *, weights: npt.ArrayLike | None = None, tie_rule: TieRule = "tie"
) -> Outcome:
    """Majority vote: the sign of the (weighted) sum of the voters' votes on each pair.

    A voter that ties abstains: two ties and one win make a win. What becomes of an even split says `tie_rule`,
    in the words of `TIE_RULES`.

    Args:
        ballots: votes in {-1, 0, 1}, shape (voters, pairs), at least one voter; for the rule "first" in the order
            of the electorate.
        weights: of each voter, finite, 0 or more, at least one above 0, shape (voters,); None for one vote each.
        tie_rule: what becomes of an even split.

    Raises:
        ValueError: ballots of another shape or with another value, weights that do not fit, an unknown rule.

    >>> split = decide([[1, 1, -1, 0], [-1, 0, 1, 0]], tie_rule="abstain")
    >>> split.signs.tolist(), split.counted.tolist()
    ([0, 1, 0, 0], [False, True, False, False])
    >>> decide([[1, 1, -1, 0], [-1, 0, 1, 0]], tie_rule="first").signs.tolist()
    [1, 1, -1, 0]
    """
    array = _checked(ballots)
    if tie_rule not in get_args(TieRule):
        raise ValueError(f"The tie rule is {tie_rule!r}; it is one of {', '.join(get_args(TieRule))}.")
    if weights is None:
        total = array.sum(axis=0).astype(np.float64)
    else:
        weight = np.asarray(weights, dtype=np.float64)
        if weight.shape != array.shape[:1] or not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError(f"Weights must be finite, 0 or more, one a voter; got shape {weight.shape}.")
        if not weight.any():
            raise ValueError("Every weight is 0: nobody votes.")
        total = weight @ array
        total[np.abs(total) <= ROUNDING * weight.sum()] = 0
    signs = np.sign(total).astype(np.int8)
    counted = np.ones(len(signs), dtype=bool)
    if tie_rule == "abstain":
        counted = signs != 0
    elif tie_rule == "first":
        heard = array if weights is None else array[np.asarray(weights, dtype=np.float64) > 0]
        first = np.take_along_axis(heard, (heard != 0).argmax(axis=0)[None, :], axis=0)[0]
        signs = np.where(signs == 0, first, signs).astype(np.int8)
    return Outcome(signs, counted)


def majority(ballots: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """The plain majority with the rule "tie": `decide(ballots).signs`.

    >>> majority([[1, 1, -1], [1, -1, 0], [-1, 0, 0]]).tolist()  # 2:1, 1:1, 0:1
    [1, 0, -1]
    """
    return decide(ballots).signs


def unanimous(ballots: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """Win or loss where all voters that do not tie agree, else a tie.

    Args:
        ballots: votes in {-1, 0, 1}, shape (voters, pairs), at least one voter.

    Returns:
        int8, shape (pairs,).

    Raises:
        ValueError: as `decide`.

    >>> unanimous([[1, 1, -1, 0], [1, -1, 0, 0]]).tolist()
    [1, 0, -1, 0]
    """
    array = _checked(ballots)
    ahead, behind = (array > 0).any(axis=0), (array < 0).any(axis=0)
    agreed = np.zeros(array.shape[1], dtype=np.int8)
    agreed[ahead & ~behind] = 1
    agreed[behind & ~ahead] = -1
    return agreed


def accuracy_weights(accuracies: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """log(p / (1 - p)) of a voter that is right with probability p; 0 where p is 1/2 or less.

    With these weights the vote of independent voters is right most often (Nitzan and Paroush, "Optimal decision rules in
    uncertain dichotomous choice situations", International Economic Review 1982). Scorers are not independent, so here it
    is a second opinion and no optimum. The formula's weight is negative below 1/2, as if one should believe the
    opposite of what such a voter says; 0 is ours.

    Args:
        accuracies: share of right votes of each voter, in [0, 1).

    Raises:
        ValueError: a number outside: a voter that is always right would outvote all others together.

    >>> accuracy_weights([0.5, 0.75, 0.4, 0.9]).round(3).tolist()  # log 1, log 3, below 1/2, log 9
    [0.0, 1.099, 0.0, 2.197]
    """
    p = np.asarray(accuracies, dtype=np.float64)
    if not ((p >= 0) & (p < 1)).all():
        raise ValueError("An accuracy lies in [0, 1).")
    above = np.maximum(p, 0.5)
    weights: npt.NDArray[np.float64] = np.log(above / (1 - above))
    return weights


def _checked(ballots: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(ballots)
    if array.ndim != 2 or array.shape[0] == 0:
        raise ValueError(f"Votes must have shape (voters, pairs) with at least one voter, not {array.shape}.")
    if not np.isin(array, (-1, 0, 1)).all():
        raise ValueError("A vote is -1, 0 or 1.")
    return array.astype(np.int64)
