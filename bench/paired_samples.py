"""A scores table as one array, so that checkpoints are compared on the same prompts and seeds."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.exceptions import DataError
from prefbench.bench.scores_table import OPTIONAL, check_complete
from prefbench.bench.tally.votes import majority, votes

__all__ = ["Ballots", "PairedSamples", "arrange", "cast_votes", "slices_of"]


LARGEST = 1e100
"""Magnitude of a score beyond which means and differences could overflow."""


UNTRUNCATED = "prompts=untruncated"
"""Slice of the prompts that no voter cuts off."""


@dataclass(frozen=True)
class PairedSamples:
    """Scores by checkpoint, sample and scorer; samples sorted by prompt id and seed."""

    checkpoints: list[str]
    scorers: list[str]
    """Voters first."""
    voters: int
    """How many of the scorers vote."""
    scores: npt.NDArray[np.float64]
    """Shape (checkpoints, samples, scorers)."""
    about: pd.DataFrame
    """One row a sample: prompt_id, seed, prompt and the optional columns."""


@dataclass(frozen=True)
class Ballots:
    """What every scorer says of every comparison, and what the electorate makes of it."""

    pairs: list[tuple[str, str]]
    """(a, b) of each comparison, a over b."""
    cast: npt.NDArray[np.int8]
    """Votes of every scorer, shape (comparisons, scorers, samples)."""
    voters: int
    """How many of the scorers vote; they are the first."""

    @cached_property
    def vote(self) -> npt.NDArray[np.int8]:
        """The majority vote, shape (comparisons, samples)."""
        return np.stack([majority(cast[: self.voters]) for cast in self.cast])


def arrange(
    frame: pd.DataFrame, checkpoints: list[str], voters: list[str], held_out: list[str]
) -> PairedSamples:
    """Take the named checkpoints and scorers out of a checked scores table.

    Raises:
        DataError: a score is missing for one of them, or is not finite.
    """
    scorers = voters + held_out
    frame = frame[frame["checkpoint"].isin(checkpoints) & frame["scorer"].isin(scorers)]
    check_complete(frame)
    sample, _ = pd.factorize(pd.MultiIndex.from_frame(frame[["prompt_id", "seed"]]), sort=True)
    _, first = np.unique(sample, return_index=True)
    array = np.full((len(checkpoints), len(first), len(scorers)), np.nan)
    checkpoint = pd.Index(checkpoints).get_indexer(frame["checkpoint"])
    array[checkpoint, sample, pd.Index(scorers).get_indexer(frame["scorer"])] = frame["score"]
    if not np.isfinite(array).all():
        raise DataError(
            "A score is not a finite number. Check the table with scores_table.check_scores before this."
        )
    if np.abs(array).max() > LARGEST:
        c, s, k = np.argwhere(np.abs(array) > LARGEST)[0]
        raise DataError(
            f"Scorer {scorers[k]!r} gives checkpoint {checkpoints[c]!r} a score of {array[c, s, k]:.4g}: sums of such "
            "numbers overflow, and no scorer means them. Score these samples again."
        )
    columns = ["prompt_id", "seed", "prompt", *(name for name in OPTIONAL if name in frame)]
    about = frame[columns].iloc[first].reset_index(drop=True)
    return PairedSamples(checkpoints, scorers, len(voters), array, about)


def cast_votes(samples: PairedSamples, pairs: list[tuple[str, str]], lower: set[str]) -> npt.NDArray[np.int8]:
    """Votes of every scorer on every comparison.

    Args:
        samples: the scores.
        pairs: (a, b), a over b.
        lower: scorers whose lower value is the better one.

    Returns:
        Votes in {-1, 0, 1}, shape (pairs, scorers, samples).
    """
    place = {name: i for i, name in enumerate(samples.checkpoints)}
    ballots = np.stack([votes(samples.scores[place[a]].T, samples.scores[place[b]].T) for a, b in pairs])
    turned = np.array([-1 if name in lower else 1 for name in samples.scorers], dtype=np.int8)
    return ballots * turned[None, :, None]


def slices_of(about: pd.DataFrame, untruncated: Collection[str] = ()) -> dict[str, npt.NDArray[np.bool_]]:
    """Which samples are in "category=X", "challenge=Y"; a prompt without a category is in no slice of it.

    Args:
        about: one row a sample.
        untruncated: texts of prompts that no voter cuts off; a slice where they are some and not all.
    """
    whole = about["prompt"].isin(list(untruncated)).to_numpy()
    some = {UNTRUNCATED: whole} if whole.any() and not whole.all() else {}
    return some | {
        f"{column}={value}": (about[column] == value).to_numpy()
        for column in OPTIONAL
        if column in about
        for value in sorted(about[column].unique())
        if value
    }
