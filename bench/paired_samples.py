"""A scores table as one array, so that checkpoints are compared on the same prompts and seeds; and the votes on it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.exceptions import DataError
from prefbench.bench.scores_table import OPTIONAL, check_complete
from prefbench.bench.tally.votes import Outcome, TieRule, decide, votes

__all__ = [
    "UNTRUNCATED",
    "Ballots",
    "PairedSamples",
    "arrange",
    "ballots_of",
    "cast_ballots",
    "cast_votes",
    "slices_of",
]


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
    tie_rule: TieRule = "tie"
    """What becomes of an even split."""
    barred: npt.NDArray[np.bool_] | None = None
    """Voters without a vote in a comparison, because one of the two was trained against them, shape (comparisons,
    voters); None for none. At least one voter of each comparison is free."""

    @cached_property
    def electorates(self) -> list[list[int]]:
        """Places of the scorers whose votes count, of each comparison."""
        if self.barred is None:
            return [list(range(self.voters))] * len(self.pairs)
        return [np.flatnonzero(~barred).tolist() for barred in self.barred]

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """The majority vote of each comparison, and which samples it counts."""
        return [
            decide(cast[places], tie_rule=self.tie_rule)
            for cast, places in zip(self.cast, self.electorates, strict=True)
        ]

    @cached_property
    def vote(self) -> npt.NDArray[np.int8]:
        """The majority vote, shape (comparisons, samples); 0 also where the tie rule leaves a sample out."""
        return np.stack([outcome.signs for outcome in self.outcomes])

    @cached_property
    def counted(self) -> npt.NDArray[np.bool_]:
        """False where the tie rule leaves a sample out of the vote, shape (comparisons, samples)."""
        return np.stack([outcome.counted for outcome in self.outcomes])


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


def cast_votes(
    samples: PairedSamples,
    pairs: list[tuple[str, str]],
    lower: Collection[str],
    tolerance: Mapping[str, float] | None = None,
) -> npt.NDArray[np.int8]:
    """Votes of every scorer on every comparison.

    Args:
        samples: the scores.
        pairs: (a, b), a over b.
        lower: scorers whose lower value is the better one.
        tolerance: scorer -> difference up to which two scores tie; exact ties for one that is not named.

    Returns:
        Votes in {-1, 0, 1}, shape (pairs, scorers, samples).
    """
    place = {name: i for i, name in enumerate(samples.checkpoints)}
    limits = np.array([[(tolerance or {}).get(name, 0.0)] for name in samples.scorers])
    ballots = np.stack(
        [votes(samples.scores[place[a]].T, samples.scores[place[b]].T, tolerance=limits) for a, b in pairs]
    )
    turned = np.array([-1 if name in lower else 1 for name in samples.scorers], dtype=np.int8)
    return ballots * turned[None, :, None]


def cast_ballots(
    samples: PairedSamples,
    pairs: list[tuple[str, str]],
    *,
    lower: Collection[str] = (),
    tie_rule: TieRule = "tie",
    tolerance: Mapping[str, float] | None = None,
    trained_against: Mapping[str, Sequence[str]] | None = None,
) -> Ballots:
    """The votes of every scorer, and who of them counts where.

    Args:
        samples: the scores.
        pairs: (a, b), a over b.
        lower: scorers whose lower value is the better one.
        tie_rule: what becomes of an even split.
        tolerance: as in `cast_votes`.
        trained_against: checkpoint -> scorers that have no vote where it takes part. A comparison without a voter left
            is an error of the caller (`electorate.trained_against.refuse_without_voters`).
    """
    barred = None
    if trained_against:
        names = samples.scorers[: samples.voters]
        against = {name: set(scorers) for name, scorers in trained_against.items()}
        barred = np.array(
            [[name in against.get(a, ()) or name in against.get(b, ()) for name in names] for a, b in pairs]
        )
    cast = cast_votes(samples, pairs, lower, tolerance)
    return Ballots(pairs, cast, samples.voters, tie_rule, barred)


def ballots_of(
    results: Mapping[str, Any], scores: pd.DataFrame, pairs: Sequence[tuple[str, str]] | None = None
) -> tuple[PairedSamples, Ballots]:
    """The votes behind a results.json, cast again from the scores table beside it.

    Args:
        results: of a run or comparison, also of an earlier version.
        scores: its scores table, checked.
        pairs: the comparisons that are wanted; None for those of `results`.

    Raises:
        DataError: the table lacks a score that the results speak of.
    """
    electorate = results["suite"]["electorate"]
    compared = [(row["a"], row["b"]) for row in results["comparisons"]] if pairs is None else pairs
    present = {name for pair in compared for name in pair}
    names = [name for name in results["checkpoints"] if name in present]
    samples = arrange(scores, names, list(electorate["voters"]), list(electorate["held_out"]))
    ballots = cast_ballots(
        samples,
        list(dict.fromkeys(compared)),
        lower={name for name, info in results["scorers"].items() if info["direction"] == "lower"},
        tie_rule=results.get("votes", {}).get("tie_rule", "tie"),
        tolerance=electorate.get("tie_tolerance"),
        trained_against={
            name: info["trained_against"]
            for name, info in results["checkpoints"].items()
            if info.get("trained_against")
        },
    )
    return samples, ballots


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
