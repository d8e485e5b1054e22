"""Shares of prompts won as papers define them: so that a published number can be recomputed its own way.

Papers print "win rates" that are not the same quantity. Each function of `DEFINITIONS` is one of them, by name:

* `single_seed`: one image a prompt and checkpoint, of the lowest seed; the share of prompts where a's scores higher, ties
  half. Diffusion-SDPO's released evaluation (AIDC-AI/Diffusion-SDPO@1c83c65 utils/pickscore_vs_utils.py: seed 0, first image of
  a prompt, ties half unless its flag says otherwise).
* `single_seed_strict`: the same, a tie not won. Diffusion-DPO (Wallace et al. 2024) says "higher" and nothing of
  ties; the flag --ties_as_loss_for_a of the file above.
* `same_seed_share`: every image against the one of the same seed, a tie not won. "Rethinking DPO" (five seeds, 2,500 pairs).
* `median_of_seeds`: a's median-scoring image against b's. Diffusion-KTO (Li et al. 2024), five images a prompt. The paper
  says nothing of ties; half is ours, and so is the mean of the two middle scores where their number is even.
* `mean_over_seeds`: a's mean score over its images against b's, ties half. ImageReward's benchmark averages ten images and LPO
  four, and both print mean scores; the share of prompts made of such means is ours.
* `best_of_n`: a's best image of the prompt's n against b's best, ties half. No paper at hand prints this share; it answers how
  a user fares who draws n images and keeps the best by this very scorer.

Means and medians tie where they differ by rounding alone: the means of (.1, .2) and of (.0, .3) are equal.

All but `same_seed_share` count prompts, so a prompt with more seeds does not weigh more. A prompt is a *listed* one (its
id): papers count a prompt that stands twice in HPDv2 twice. None of them has an interval; the win rate with its interval
stands in "comparisons".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prefbench.bench.tally.votes import DUST

__all__ = ["DEFINITIONS", "OF_VOTES", "Share", "published_share"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """How often `a` is ahead by one definition."""

    value: float
    """In [0, 1]."""
    prompts: int
    """Listed prompts."""
    decided: int
    """Verdicts: prompts, or pairs of images where every pair is one."""
    ties: int
    """Of these, equal."""
    unused: int
    """Pairs of images whose scores have no part in it."""


def published_share(
    definition: str, a: npt.ArrayLike, b: npt.ArrayLike, prompts: npt.ArrayLike, seeds: npt.ArrayLike
) -> Share:
    """One scorer's share of prompts that `a` wins, by a definition of `DEFINITIONS`.

    Args:
        definition: its name.
        a: scores of one checkpoint, higher is better, shape (pairs,).
        b: scores of the other on the same prompts and seeds. For a vote, give the votes as `a` and zeros as `b`; only the
            same-seed definitions make sense of it (`OF_VOTES`).
        prompts: id of each pair's listed prompt, shape (pairs,).
        seeds: its seed, shape (pairs,).

    Raises:
        ValueError: an unknown definition, shapes that do not fit, no pairs, or a score that is not finite.

    >>> published_share("median_of_seeds", [1, 2, 9], [3, 3, 3], ["p"] * 3, [0, 1, 2]).value  # 2 against 3
    0.0
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    labels, order = np.asarray(prompts), np.asarray(seeds)
    if definition not in DEFINITIONS:
        raise ValueError(f"There is no definition {definition!r}; there are {', '.join(DEFINITIONS)}.")
    if left.ndim != 1 or not len(left) or not left.shape == right.shape == labels.shape == order.shape:
        raise ValueError(f"Scores, prompts and seeds must have one shape (pairs,), got {left.shape}.")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("A score is not finite.")
    _, number = np.unique(labels, return_inverse=True)
    by_prompt = np.lexsort((order, number))
    starts = np.flatnonzero(np.diff(number[by_prompt], prepend=-1))
    ours, theirs = left[by_prompt], right[by_prompt]
    reduce, ties_count, unused = DEFINITIONS[definition]
    x, y = reduce(ours, starts), reduce(theirs, starts)
    slack: Floats | float = 0.0
    if definition in AVERAGES:
        slack = DUST * np.maximum(_best(np.abs(ours), starts), _best(np.abs(theirs), starts))
    ties = int((np.abs(x - y) <= slack).sum())
    value = (float((x - y > slack).sum()) + ties_count * ties) / len(x)
    return Share(value, len(starts), len(x), ties, len(left) - len(starts) if unused else 0)


def _first(scores: Floats, starts: npt.NDArray[np.int64]) -> Floats:
    return scores[starts]


def _every(scores: Floats, starts: npt.NDArray[np.int64]) -> Floats:
    return scores


def _mean(scores: Floats, starts: npt.NDArray[np.int64]) -> Floats:
    # In ascending order: the same scores in another order of seeds have the same sum to the last bit, and tie.
    ordered, sizes = _ascending(scores, starts)
    return np.asarray(np.add.reduceat(ordered, starts) / sizes)


def _best(scores: Floats, starts: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(np.maximum.reduceat(scores, starts))


def _median(scores: Floats, starts: npt.NDArray[np.int64]) -> Floats:
    ordered, sizes = _ascending(scores, starts)
    return np.asarray((ordered[starts + (sizes - 1) // 2] + ordered[starts + sizes // 2]) / 2)


def _ascending(scores: Floats, starts: npt.NDArray[np.int64]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Scores in ascending order within each prompt, and how many each prompt has."""
    sizes = np.diff(starts, append=len(scores))
    return scores[np.lexsort((scores, np.repeat(np.arange(len(starts)), sizes)))], sizes


DEFINITIONS: dict[str, tuple[Callable[[Floats, npt.NDArray[np.int64]], Floats], float, bool]] = {
    "single_seed": (_first, 0.5, True),
    "single_seed_strict": (_first, 0.0, True),
    "same_seed_share": (_every, 0.0, False),
    "median_of_seeds": (_median, 0.5, False),
    "mean_over_seeds": (_mean, 0.5, False),
    "best_of_n": (_best, 0.5, False),
}
"""Name -> scores compared of a prompt's images, what a tie counts, whether images are left unused."""

AVERAGES = ("median_of_seeds", "mean_over_seeds")
"""Definitions that add scores, and so round."""

OF_VOTES = ("single_seed", "single_seed_strict", "same_seed_share")
"""Definitions that a vote has: it judges two images of one seed, and no image is every voter's median or best."""
