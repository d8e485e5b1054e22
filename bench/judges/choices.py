"""What people chose, whatever form it was written down in: numbers of every annotator, and the pairs that follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from prefbench.bench.exceptions import DataError

__all__ = ["LABELS", "HumanChoices", "Label", "pairs_within", "signs"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Label = Literal["majority", "mean"]

LABELS: Mapping[Label, str] = {
    "majority": "the majority of the annotators; as many for either image is a tie",
    "mean": "the higher mean rating; equal means are a tie",
}
"""How one choice of a pair is made of several annotators, in the words that are printed."""

ROUNDING = 1e-9
"""Means of ratings that differ by less, relative to the largest rating, are equal: sums of decimals are not exact."""


@dataclass(frozen=True)
class HumanChoices:
    """S shown images, A annotators, N pairs.

    Attributes:
        source: how the user named the data.
        form: what kind of data it is, for a person.
        prompts: caption of each shown image, S.
        group: (S,) int, equal for images that were judged against one another.
        values: (A, S) float64, higher is better; NaN where an annotator did not judge the image. They mean something
            within a group only, unless `comparable`.
        pairs: (N, 2) int, places of the two images of each pair; a pair was judged by at least one annotator.
        label: how the one choice of a pair is made of several annotators.
        comparable: whether values of different prompts are on one scale, as ratings are and ranks are not.
        names: text that identifies each shown image within its prompt, S: equal for equal images.
        named: whether `names` are the data's; else each place has its own, and images cannot be counted.
        read: place -> RGB image; None where the data has recorded scores only.
        recorded: column -> scores that stand beside the choices, (S,) float64, as they were written.
        left_out: what was left out and how often, for a person.
    """

    source: str
    form: str
    prompts: Sequence[str]
    group: Ints
    values: Floats
    pairs: Ints
    label: Label
    comparable: bool
    names: Sequence[str] = field(repr=False)
    named: bool = True
    read: Callable[[int], Image.Image] | None = field(default=None, repr=False)
    recorded: Mapping[str, Floats] = field(default_factory=dict, repr=False)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def clusters(self) -> Ints:
        """(N,) number of each pair's prompt: equal for equal texts."""
        numbers: dict[str, int] = {}
        texts = (self.prompts[int(place)] for place in self.pairs[:, 0])
        return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)

    @property
    def differences(self) -> Floats:
        """(A, N) value of the first image less that of the second; NaN where an annotator did not judge both."""
        return self.values[:, self.pairs[:, 0]] - self.values[:, self.pairs[:, 1]]

    @property
    def several_images(self) -> bool:
        """Whether any group has more than two images, so that there is an order to compare."""
        return bool(len(self.group)) and int(np.bincount(self.group).max()) > 2

    def without(self, places: Ints, what: str) -> "HumanChoices":
        """The same without the images at `places`; pairs that go with them are counted as `what`.

        Raises: DataError if no pair is left.
        """
        gone: npt.NDArray[np.bool_] = np.asarray(np.isin(self.pairs, places).any(axis=1))
        if gone.all():
            raise DataError(f"{self.source}: all {len(gone)} pairs are {what}. Nothing is left to judge by.")
        values = self.values.copy()
        values[:, places] = np.nan
        left_out = {**self.left_out, what: int(gone.sum())}
        return replace(self, values=values, pairs=self.pairs[~gone], left_out=left_out)

    def people(self) -> npt.NDArray[np.int8]:
        """(N,) the one choice of each pair: 1 for the first image, -1 for the second, 0 for a tie."""
        return signs(self.differences, self.label).astype(np.int8)


def signs(differences: Floats, label: Label) -> Floats:
    """One choice of several annotators' differences.

    Args:
        differences: (A, ...) float64, NaN where an annotator has no opinion.
        label: "majority" counts heads, "mean" adds the differences up.

    Returns:
        Shape (...), -1, 0 or 1; 0 where nobody has an opinion.

    >>> two = np.array([[3.0], [-1.0], [-1.0]])
    >>> signs(two, "majority").tolist(), signs(two, "mean").tolist()
    ([-1.0], [1.0])
    """
    if label == "majority":
        return np.sign(np.nansum(np.sign(differences), axis=0))
    total = np.nansum(differences, axis=0)
    largest = np.nanmax(np.abs(differences), initial=0.0)
    return np.where(np.abs(total) <= ROUNDING * largest, 0.0, np.sign(total))


def pairs_within(group: Ints, values: Floats) -> tuple[Ints, int]:
    """Every two images of a group, the one named earlier first, that one annotator at least judged both.

    Args:
        group: (S,).
        values: (A, S), NaN for no judgement.

    Returns:
        (N, 2) places, groups in order of first appearance; number of pairs left out because nobody judged both.

    >>> pairs, nobody = pairs_within(np.array([0, 0, 1, 0]), np.array([[1.0, 2.0, 3.0, np.nan]]))
    >>> pairs.tolist(), nobody
    ([[0, 1]], 2)
    """
    members: dict[int, list[int]] = {}
    for place, number in enumerate(group.tolist()):
        members.setdefault(number, []).append(place)
    every = [pair for places in members.values() for pair in combinations(places, 2)]
    pairs = np.array(every, dtype=np.int64).reshape(-1, 2)
    judged = ~np.isnan(values)
    both = (judged[:, pairs[:, 0]] & judged[:, pairs[:, 1]]).any(axis=0)
    return pairs[both], int((~both).sum())
