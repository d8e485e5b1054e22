"""The "definitions" of results.json: the same comparisons by the definitions that papers use.

On request: they answer whether a published number is met, and no verdict goes by them.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from prefbench.bench.paired_samples import Ballots, PairedSamples
from prefbench.bench.tally.published import DEFINITIONS, OF_VOTES, Share, published_share
from prefbench.bench.verdict import MAJORITY
from prefbench.bench.wording import count

__all__ = ["definitions_block", "of_the_vote"]

SOURCES = {
    "single_seed": "Diffusion-SDPO, released code: one image a prompt of the same seed, ties half",
    "single_seed_strict": "Diffusion-DPO, paper: one image a prompt of the same seed scores higher; a tie is not won",
    "same_seed_share": "Rethinking DPO, paper: share of same-seed pairs in which the image scores higher",
    "median_of_seeds": "Diffusion-KTO, paper: the median-scoring image of five; ties half (ours)",
    "mean_over_seeds": "mean score of a prompt's images, as ImageReward (ten) and LPO (four) average; the share is ours",
    "best_of_n": "the best-scoring of a prompt's n images; no paper at hand prints it",
}
"""Where a definition is from; in full in tally/published.py."""


def definitions_block(
    samples: PairedSamples, ballots: Ballots, lower: Collection[str]
) -> list[dict[str, Any]]:
    """Every comparison by every definition, by the vote where it has one and by each scorer, on all prompts.

    Where single images of one seed are compared, tie tolerances hold for scorers as for the vote; medians, means and best
    images tie where they are equal.

    Args:
        samples: the scores.
        ballots: what every scorer votes.
        lower: scorers whose lower value is the better one.

    Returns:
        Entries {"definition", "a", "b", "scorer", "value", "prompts", "decided", "ties", "images": [fewest, most of a
        prompt], "source", "ignores"}; `value` is a's share over b.
    """
    about = samples.about
    prompts, seeds = about["prompt_id"].to_numpy(dtype=object), about["seed"].to_numpy()
    _, numbers, counts = np.unique(prompts, return_inverse=True, return_counts=True)
    place = {checkpoint: i for i, checkpoint in enumerate(samples.checkpoints)}
    found = []
    for i, (a, b) in enumerate(ballots.pairs):
        for definition in DEFINITIONS:
            who = (MAJORITY, *samples.scorers) if definition in OF_VOTES else samples.scorers
            for scorer in who:
                kept, theirs = np.ones(len(about), dtype=bool), np.zeros(len(about))
                if scorer == MAJORITY:
                    kept, ours = ballots.counted[i], ballots.vote[i]
                elif definition in OF_VOTES:
                    ours = ballots.cast[i, samples.scorers.index(scorer)]
                else:
                    k, sign = samples.scorers.index(scorer), -1.0 if scorer in lower else 1.0
                    ours, theirs = (sign * samples.scores[place[name], :, k] for name in (a, b))
                share = published_share(definition, ours[kept], theirs[kept], numbers[kept], seeds[kept])
                found.append(_entry(definition, a, b, scorer, share, counts[np.unique(numbers[kept])]))
    return found


def of_the_vote(definition: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """What the vote counts by a definition where that is not what a scorer counts, as a sentence; else empty.

    That is so under the tie rule "abstain". Where comparisons differ, from the fewest to the most.

    Args:
        definition: its name.
        entries: what `definitions_block` returns.
    """
    found = [entry for entry in entries if entry["definition"] == definition]
    votes = [entry for entry in found if entry["scorer"] == MAJORITY]
    counted = ("prompts", "decided", "ignores")
    scorer = next(entry for entry in found if entry["scorer"] != MAJORITY)
    if all(vote[key] == scorer[key] for vote in votes for key in counted):
        return ""
    prompts = _range([vote["prompts"] for vote in votes], "prompt")
    if definition == "same_seed_share":
        pairs = _range([vote["decided"] for vote in votes], "pair")
        return f"The vote's is of the pairs that its tie rule counts: {prompts}, {pairs}."
    return f"The vote's is of each prompt's lowest seed that its tie rule counts: {prompts}."


def _range(numbers: Sequence[int], noun: str) -> str:
    low, high = min(numbers), max(numbers)
    return count(high, noun) if low == high else f"{low:,} to {count(high, noun)}"


def _entry(
    definition: str, a: str, b: str, scorer: str, share: Share, images: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, Any]:
    return {
        "definition": definition,
        "a": a,
        "b": b,
        "scorer": scorer,
        "value": share.value,
        "prompts": share.prompts,
        "decided": share.decided,
        "ties": share.ties,
        "images": [int(images.min()), int(images.max())],
        "source": SOURCES[definition],
        "ignores": _ignores(definition, share),
    }


def _ignores(definition: str, share: Share) -> str:
    """What the number leaves out besides how sure it is, in words."""
    told = []
    if share.unused:
        told.append(f"{count(share.unused, 'pair')} of images of later seeds")
    if definition == "same_seed_share":
        told.append("that images of one prompt go together")
    if definition in ("median_of_seeds", "mean_over_seeds", "best_of_n"):
        told.append("which images share a seed")
    if definition == "best_of_n":
        told.append("all but the best image of each")
    if definition in ("single_seed_strict", "same_seed_share"):
        told.append("ties, which count as not won")
    return "; ".join(told) or "nothing of these samples"
