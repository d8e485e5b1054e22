"""Pairs of images with a human (or simulated) preference, as every method reads them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.wording import count as counted
from prefbench.reference_trainers.named_random import named_generator

__all__ = [
    "LabelCounts",
    "LabelledPairs",
    "PreferencePairs",
    "Ties",
    "flip_labels",
    "labelled_pairs",
    "problems_error",
]

SHOWN_PROBLEMS = 8

Ties = Literal["drop", "first_wins", "keep"]
"""What becomes of a row with label 0.5: left out, as SalesforceAIResearch/DiffusionDPO@5233e75 does; taken for a win of
image 0, as fanfanffff1/Adaptive-DPO@a64ae01 does; or kept as a tie, for methods that accept one."""


@dataclass(frozen=True)
class LabelCounts:
    """What became of the rows of the source.

    Attributes:
        rows: rows read; of rankings, pairs of images that were ranked for one prompt.
        ties_dropped: rows with label 0.5, left out.
        flipped: labels turned round on request.
        ties_first: rows with label 0.5 that count as a win of image 0.
        ties_kept: rows with label 0.5 that stay ties.
        identical_dropped: rows whose two images are one and the same, left out whatever their label: they hold no
            preference. Found for files of equal bytes and for equal uids, not for pixels stored twice in Parquet.
        mixed_sizes: pairs that stay and whose two images have other sizes: each is resized by its shorter side and cut
            to the square, so the two may show other parts. None for Parquet, whose images are not looked into before.
    """

    rows: int
    ties_dropped: int
    flipped: int = 0
    ties_first: int = 0
    ties_kept: int = 0
    identical_dropped: int = 0
    mixed_sizes: int | None = None

    def sentence(self) -> str:
        """What was read and what became of it, for a person; empty where every row is used as it stands."""
        wordings = (
            (self.ties_dropped, "tie", "dropped"),
            (self.ties_first, "tie", "counted as a win of the first image"),
            (self.ties_kept, "tie", "kept"),
            (self.identical_dropped, "pair", "of identical images left out"),
            (self.flipped, "label", "flipped"),
            (self.mixed_sizes, "pair", "of images of two sizes, each resized and cut to the square"),
        )
        parts = [f"{counted(number, noun)} {text}" for number, noun, text in wordings if number]
        return f"{counted(self.rows, 'row')} read, {', '.join(parts)}." if parts else ""


class PreferencePairs(Protocol):
    """Pairs by index; reading an image may touch the disk."""

    @property
    def source(self) -> str:
        """How the user named the data."""
        ...

    @property
    def counts(self) -> LabelCounts:
        """Rows read, dropped, flipped."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of prompts, labels and image names, after flips: equal for runs that read the same rows."""
        ...

    @property
    def flipped(self) -> np.ndarray:
        """(N,) bool: labels turned round on request."""
        ...

    @property
    def tied(self) -> np.ndarray:
        """(N,) bool: pairs that are ties and were kept; their "winner" is image 0 and means nothing."""
        ...

    @property
    def image_scores(self) -> Mapping[str, np.ndarray]:
        """Scorer -> scores of (winner, loser), (N, 2) float64, for scorers that were asked for."""
        ...

    def __len__(self) -> int: ...

    def prompt(self, i: int) -> str:
        """Caption of pair i."""
        ...

    def winner(self, i: int) -> Image.Image:
        """Preferred image of pair i, RGB."""
        ...

    def loser(self, i: int) -> Image.Image:
        """Rejected image of pair i, RGB."""
        ...

    def names(self, i: int) -> tuple[str, str]:
        """Texts that identify winner and loser of pair i: equal for equal images."""
        ...


@dataclass(frozen=True)
class LabelledPairs:
    """The one implementation of PreferencePairs: prompts and labels in memory, images on demand.

    Attributes:
        source: how the user named the data.
        prompts: one a pair.
        winner_side: (N,) int, 0 or 1: which image of the row is the winner.
        rows: (N,) int, row of each pair in the source, from 0.
        image: (row, side) -> RGB image.
        image_names: (row, side) -> text that identifies the image (name and size of its file), for the hash.
        counts: rows read, dropped, flipped.
        flipped: (N,) bool, where the label was turned round on request: the truth stays known.
        side_scores: scorer -> scores of (image 0, image 1), (N, 2) float64.
        ties: (N,) bool, or None for no ties among the pairs.
    """

    source: str
    prompts: Sequence[str]
    winner_side: np.ndarray
    rows: np.ndarray
    image: Callable[[int, int], Image.Image]
    image_names: Callable[[int, int], str]
    counts: LabelCounts
    flipped: np.ndarray = field(repr=False)
    side_scores: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    ties: np.ndarray | None = field(default=None, repr=False)

    @property
    def image_scores(self) -> Mapping[str, np.ndarray]:
        """Scorer -> scores of (winner, loser), (N, 2): the sides in the order of the label."""
        order = np.stack([self.winner_side, 1 - self.winner_side], axis=1)
        return {name: np.take_along_axis(values, order, axis=1) for name, values in self.side_scores.items()}

    @property
    def tied(self) -> np.ndarray:
        """(N,) bool: pairs that are ties and were kept."""
        return np.zeros(len(self), dtype=bool) if self.ties is None else self.ties

    def __len__(self) -> int:
        return len(self.prompts)

    def prompt(self, i: int) -> str:
        """Caption of pair i."""
        return self.prompts[i]

    def winner(self, i: int) -> Image.Image:
        """Preferred image of pair i, RGB."""
        return self.image(int(self.rows[i]), int(self.winner_side[i]))

    def loser(self, i: int) -> Image.Image:
        """Rejected image of pair i, RGB."""
        return self.image(int(self.rows[i]), 1 - int(self.winner_side[i]))

    def names(self, i: int) -> tuple[str, str]:
        """Texts that identify winner and loser of pair i."""
        row, side = int(self.rows[i]), int(self.winner_side[i])
        return self.image_names(row, side), self.image_names(row, 1 - side)

    @property
    def sha256(self) -> str:
        """Hash of prompts, labels and image names, after flips."""
        digest = hashlib.sha256()
        # Python's own numbers: a million of NumPy's take seconds longer.
        columns = (self.rows.tolist(), self.winner_side.tolist(), self.tied.tolist())
        for prompt, row, side, tie in zip(self.prompts, *columns, strict=True):
            names = self.image_names(row, 0), self.image_names(row, 1)
            label = "tie" if tie else str(side)
            digest.update(f"{prompt}\0{names[0]}\0{names[1]}\0{label}\n".encode())
        return digest.hexdigest()


def labelled_pairs(
    source: str,
    prompts: Sequence[str],
    label_0: np.ndarray,
    image: Callable[[int, int], Image.Image],
    image_names: Callable[[int, int], str],
    *,
    ties: Ties = "drop",
    identical: np.ndarray | None = None,
    mixed: np.ndarray | None = None,
) -> LabelledPairs:
    """Name the winner of each row; leave out identical images, and deal with ties as asked. All is counted.

    Args:
        source: how the user named the data.
        prompts: one a row.
        label_0: (N,) in {0, 0.5, 1}: 1 where image 0 is preferred, 0.5 for a tie.
        image: (row, side) -> RGB image.
        image_names: (row, side) -> text that identifies the image.
        ties: what to do with label 0.5.
        identical: (N,) bool, rows whose two images are one; None for none.
        mixed: (N,) bool, rows whose two images have other sizes; None if that is not known.

    Raises:
        DataError: no row is left.
    """
    same = np.zeros(len(label_0), dtype=bool) if identical is None else identical
    tie = (label_0 == 0.5) & ~same
    kept = np.flatnonzero(~same & ~tie if ties == "drop" else ~same)
    count = int(tie.sum())
    counts = LabelCounts(
        rows=len(label_0),
        ties_dropped=count if ties == "drop" else 0,
        ties_first=count if ties == "first_wins" else 0,
        ties_kept=count if ties == "keep" else 0,
        identical_dropped=int(same.sum()),
        mixed_sizes=None if mixed is None else int(mixed[kept].sum()),
    )
    if len(kept) == 0:
        what = (
            "no rows"
            if not counts.rows
            else f"{counted(counts.rows, 'row')} read, each a tie (label_0 = 0.5)"
        )
        if counts.identical_dropped:
            what += f" or a pair of identical images ({counts.identical_dropped})"
        raise DataError(
            f"{source}: {what}, so there is no pair to train on. Give data with two images and label_0 0 or 1."
        )
    return LabelledPairs(
        source=source,
        prompts=[prompts[int(i)] for i in kept],
        winner_side=np.where(label_0[kept] > 0, 0, 1),
        rows=kept,
        image=image,
        image_names=image_names,
        counts=counts,
        flipped=np.zeros(len(kept), dtype=bool),
        ties=tie[kept] if counts.ties_kept else None,
    )


def flip_labels(pairs: LabelledPairs, share: float, seed: int) -> LabelledPairs:
    """Turn round exactly round(share * N) labels, drawn without replacement; `.flipped` keeps which.

    N counts pairs with a winner: a kept tie has none to turn round.

    Raises:
        UsageError: share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise UsageError(f"flip = {share} is not a share of the labels. Give a number from 0 to 1.")
    decided = np.flatnonzero(~pairs.tied)
    count = round(share * len(decided))
    chosen = decided[named_generator("flip", seed).permutation(len(decided))[:count]]
    flipped = np.zeros(len(pairs), dtype=bool)
    flipped[chosen] = True
    return replace(
        pairs,
        winner_side=np.where(flipped, 1 - pairs.winner_side, pairs.winner_side),
        flipped=pairs.flipped ^ flipped,
        counts=replace(pairs.counts, flipped=count),
    )


def problems_error(source: str, problems: Sequence[str], rows: int, shown: int = SHOWN_PROBLEMS) -> DataError:
    """One paragraph that names the first rows that cannot be used."""
    more = f"; and {len(problems) - shown} more" if len(problems) > shown else ""
    counts = [counted(len(problems), "problem"), counted(rows, "row")]
    return DataError(
        f"{source}: {' in '.join(counts)} (row 1 is the first after the header): "
        f"{'; '.join(problems[:shown])}{more}. Mend or delete these rows; nothing was computed."
    )
