"""One label for a pair out of several scorers' scores: votes, aggregations, and what they do to the human labels.

Arrays: `scores` (S, N, 2) float64, higher is better, by scorer, pair and image; `human` (N,) int, the side (0 or 1) that
the human label prefers. A scorer that scores both images alike abstains: the sign of its difference is 0.

Published: that BalancedDPO (arXiv 2503.12575) takes the majority of several scorers, and that it compares with Random
    Score, Vanilla and Normalized Aggregation [ABS]; that Diffusion-DPO's --choice_model lets the higher score win, after
    ties were removed, whatever the human label (SalesforceAIResearch/DiffusionDPO@5233e75 [CODE]).
Ours (reconstruction): the tie rules, the three aggregations as read from their names, abstention on equal scores, and
    that a pair without a label afterwards is dropped.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.named_random import named_generator

__all__ = ["LabelOutcome", "aggregate", "higher_wins", "majority_vote"]

TieRule = Literal["drop", "human", "human_votes"]


@dataclass(frozen=True)
class LabelOutcome:
    """Labels after a vote.

    Attributes:
        winner_side: (N,) int, 0 or 1; where nothing was decided, the human label.
        kept: (N,) bool: False where no label came out.
        verdict: (N,) float64: what decided, > 0 for image 0, < 0 for image 1, 0 for neither.
        tied: (N,) bool: pairs that the scorers alone left undecided.
    """

    winner_side: np.ndarray
    kept: np.ndarray
    verdict: np.ndarray
    tied: np.ndarray


def _outcome(
    verdict: np.ndarray, human: np.ndarray, tied: np.ndarray, fallback: bool = False
) -> LabelOutcome:
    decided = verdict != 0
    winner = np.where(decided, np.where(verdict > 0, 0, 1), human)
    return LabelOutcome(winner, decided | fallback, verdict, tied)


def majority_vote(scores: np.ndarray, human: np.ndarray, tie_rule: TieRule | None) -> LabelOutcome:
    """sign(sum over scorers of sign(score_0 - score_1)).

    Args:
        scores: (S, N, 2).
        human: (N,).
        tie_rule: "drop" leaves tied pairs out; "human" takes the human label for them; "human_votes" counts the human
            label as one more vote on every pair and leaves out what ties even so; None where no pair may tie.

    Raises:
        DataError: a pair ties and there is no rule.

    >>> scores = np.array([[[2.0, 1.0]], [[1.0, 2.0]]])  # one scorer for each image
    >>> majority_vote(scores, np.array([1]), "human").winner_side
    array([1])
    """
    votes = np.sign(scores[:, :, 0] - scores[:, :, 1]).sum(axis=0)
    tied = votes == 0
    if tie_rule is None and tied.any():
        raise DataError(
            f"{int(tied.sum())} of {len(votes)} pairs are tied votes, because a scorer scores both images alike (pair "
            f"{int(np.flatnonzero(tied)[0]) + 1} is the first). Set tie_rule=drop or human."
        )
    if tie_rule == "human_votes":
        votes = votes + np.where(human == 0, 1, -1)
    return _outcome(votes, human, tied, fallback=tie_rule == "human")


def higher_wins(scores: np.ndarray, human: np.ndarray) -> LabelOutcome:
    """One scorer's verdict on each pair: the image with the higher score; equal scores leave the pair out.

    Args:
        scores: (N, 2).
        human: (N,).
    """
    verdict = scores[:, 0] - scores[:, 1]
    return _outcome(verdict, human, verdict == 0)


def aggregate(
    rule: Literal["random", "vanilla", "normalised"], scores: np.ndarray, human: np.ndarray, *, seed: int
) -> LabelOutcome:
    """BalancedDPO's internal baselines, as their names read (reconstruction).

    Args:
        rule: "random": one scorer drawn for each pair; "vanilla": sum of raw scores; "normalised": sum of scores
            z-scored over all images.
        scores: (S, N, 2).
        human: (N,).
        seed: of the draw.

    Raises:
        DataError: a scorer gives every image the same score and so has no z-score; `args[0]` names it by number.
    """
    if rule == "random":
        drawn = named_generator("random scorer", seed).integers(len(scores), size=scores.shape[1])
        return higher_wins(scores[drawn, np.arange(scores.shape[1])], human)
    if rule == "vanilla":
        return higher_wins(scores.sum(axis=0), human)
    spread = scores.std(axis=(1, 2))
    if (spread == 0).any():
        raise DataError(
            f"Scorer {int(np.flatnonzero(spread == 0)[0]) + 1} of the electorate gives every image the same score, so "
            "its scores cannot be normalised. Leave it out of the electorate."
        )
    return higher_wins((scores / spread[:, None, None]).sum(axis=0), human)
