"""Several images of one prompt, ranked by one or more annotators, and the pairs that follow from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.image_files import ImageFiles
from prefbench.reference_trainers.preferences.labelled_pairs import (
    LabelledPairs,
    Ties,
    labelled_pairs,
    problems_error,
)

__all__ = ["RankedImages", "Rankings", "check_rankings"]


@dataclass(frozen=True, slots=True)
class RankedImages:
    """k images of one prompt.

    Attributes:
        prompt: the caption.
        images: numbers of their files, k.
        ranks: (annotators, k) float, 1 = best; equal ranks of one annotator are a tie.
    """

    prompt: str
    images: tuple[int, ...]
    ranks: np.ndarray

    def mean_ranks(self) -> np.ndarray:
        """Mean rank over the annotators, (k,), lower is better."""
        mean: np.ndarray = self.ranks.mean(axis=0)
        return mean

    def label(self, one: int, other: int) -> float:
        """1 if more annotators put image `one` above `other` than below, 0 if fewer, 0.5 if as many.

        >>> ranks = np.array([[1, 2, 3], [2, 1, 3], [1, 2, 2]])
        >>> ranked = RankedImages("a cat", (0, 1, 2), ranks)
        >>> [ranked.label(0, 1), ranked.label(2, 1), ranked.label(0, 0)]
        [1.0, 0.0, 0.5]
        """
        votes = int(np.sign(self.ranks[:, other] - self.ranks[:, one]).sum())
        return 0.5 * (1 + (votes > 0) - (votes < 0))


@dataclass(frozen=True)
class Rankings:
    """Ranked images of many prompts; for methods that look at more than two images, and as a source of pairs.

    Attributes:
        source: how the user named the data.
        items: one a ranking.
        files: the images.
    """

    source: str
    items: Sequence[RankedImages]
    files: ImageFiles

    def __len__(self) -> int:
        return len(self.items)

    def image(self, item: int, place: int) -> Image.Image:
        """RGB image number `place` of a ranking."""
        return self.files.read(self.items[item].images[place], f"{self.source} ranking {item + 1}")

    def pairs(self, ties: Ties = "drop") -> LabelledPairs:
        """Every two images of a ranking as a row, the one named earlier first, by majority of the annotators.

        As THUDM/ImageReward@c1392c6 train/src/rank_pair_dataset.py makes them from one annotator: all pairs with
        different ranks. Pairs of equal rank, or with as many votes for either image, are ties.

        Args:
            ties: what to do with them.

        Raises:
            DataError: no pair is left.
        """
        item_of: list[int] = []
        numbers: list[tuple[int, int]] = []
        labels: list[float] = []
        for index, item in enumerate(self.items):
            for one, other in combinations(range(len(item.images)), 2):
                item_of.append(index)
                numbers.append((item.images[one], item.images[other]))
                labels.append(item.label(one, other))
        table = np.array(numbers, dtype=np.int64).reshape(-1, 2)
        return labelled_pairs(
            self.source,
            [self.items[index].prompt for index in item_of],
            np.array(labels, dtype=np.float64),
            self.files.reader(table, lambda row: f"{self.source} ranking {item_of[row] + 1}"),
            self.files.namer(table),
            ties=ties,
            identical=self.files.identical(table),
            mixed=self.files.mixed(table),
        )


def check_rankings(
    source: str, folder: Path, rows: Iterable[tuple[object, object, object]], what: str = "entry"
) -> Rankings:
    """Rankings from (prompt, names of image files, ranks), each checked.

    Args:
        source: how the user named the data.
        folder: that the names are relative to.
        rows: ranks are one a image, or a list of these, one an annotator.
        what: a row is called so in errors.

    Raises:
        DataError: an empty prompt, fewer than two images, ranks that are no numbers or not one an image, an image
            that is missing or no image; each is named by row.
    """
    files, items, problems = ImageFiles(folder), [], []
    count = 0
    for count, (prompt, names, ranks) in enumerate(rows, start=1):
        where = f"{what} {count}"
        if not (isinstance(prompt, str) and prompt.strip()):
            problems.append(f"{where}: the prompt is empty")
        if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
            problems.append(f"{where}: there are no two images to compare")
            continue
        try:
            table = np.atleast_2d(np.array(ranks, dtype=np.float32))
        except (TypeError, ValueError):
            table = np.zeros((0, 0), dtype=np.float32)
        if table.ndim != 2 or table.shape[1] != len(names) or not np.isfinite(table).all():
            problems.append(f"{where}: the ranks are not one number for each of the {len(names)} images")
            continue
        numbers = tuple(files.add(name) for name in names)
        problems += [f"{where}: {found}" for number in numbers if (found := files.problem(number))]
        items.append(RankedImages(str(prompt), numbers, table))
    if problems:
        raise problems_error(source, problems, count)
    if not items:
        raise DataError(f"{source} holds no ranking. Give a file with at least one.")
    return Rankings(source, items, files)
