"""Lists of images of one prompt with a value for each image, for methods that learn from more than two at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs

__all__ = ["RankedLists", "ranked_lists", "win_shares"]


@dataclass(frozen=True)
class RankedLists:
    """L lists of two or more images, N images in all.

    Attributes:
        pair: (N,) int, a pair that shows the image: its prompt is the list's.
        side: (N,) int, 0 where the image is that pair's winner, 1 where it is the loser.
        value: (N,) float64, from 0 to 1: share of its comparisons within the list that the image wins.
        start: (L + 1,) int: list i holds the images start[i] to start[i + 1] - 1.
    """

    pair: np.ndarray
    side: np.ndarray
    value: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1

    def images(self, index: int) -> range:
        """Places of the images of list `index` in the arrays."""
        return range(int(self.start[index]), int(self.start[index + 1]))


def win_shares(scores: np.ndarray) -> np.ndarray:
    """Mean over scorers of the share of the other images that an image beats; equal scores are half a win.

    RankDPO's phi (arXiv 2410.18013 [PAPER]); that equal scores count half is ours.

    Args:
        scores: (M, k), higher is better, k at least 2.

    Returns:
        (k,) float64; the mean is 1/2.

    >>> win_shares(np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 2.0]]))
    array([0.5  , 0.625, 0.375])
    """
    signs = np.sign(scores[:, :, None] - scores[:, None, :])
    won = 0.5 * (1 + signs).sum(axis=2) - 0.5  # an image against itself came out as half a win
    share: np.ndarray = won.mean(axis=0) / (scores.shape[1] - 1)
    return share


@dataclass(frozen=True)
class _Images:
    """Every image once: where it is shown, and the comparisons (better, worse, tied) between images by number."""

    pair: np.ndarray
    side: np.ndarray
    of_prompt: list[list[int]]
    compared: np.ndarray
    tied: np.ndarray


def _distinct_images(pairs: PreferencePairs, rows: np.ndarray) -> _Images:
    places: dict[tuple[str, str], int] = {}
    prompts: dict[str, list[int]] = {}
    shown: list[tuple[int, int]] = []
    compared = np.empty((len(rows), 2), dtype=np.int64)
    for number, row in enumerate(map(int, rows)):
        prompt = pairs.prompt(row)
        for side, name in enumerate(pairs.names(row)):
            place = places.setdefault((prompt, name), len(shown))
            if place == len(shown):
                shown.append((row, side))
                prompts.setdefault(prompt, []).append(place)
            compared[number, side] = place
    table = np.array(shown, dtype=np.int64).reshape(-1, 2)
    return _Images(table[:, 0], table[:, 1], list(prompts.values()), compared, np.asarray(pairs.tied)[rows])


def _label_shares(images: _Images, list_of: np.ndarray) -> np.ndarray:
    """(N,) share of its labelled comparisons within its list that an image wins; NaN where it has none."""
    better, worse = images.compared.T
    within = (list_of[better] == list_of[worse]) & (better != worse)
    better, worse, half = better[within], worse[within], 0.5 * images.tied[within]
    count = len(list_of)
    won = np.bincount(better, 1 - half, count) + np.bincount(worse, half, count)
    total = np.bincount(better, minlength=count) + np.bincount(worse, minlength=count)
    return np.divide(won, total, out=np.full(count, np.nan), where=total > 0)


def ranked_lists(
    pairs: PreferencePairs, rows: np.ndarray, *, voters: Sequence[str], longest: int | None
) -> RankedLists:
    """The images of each prompt as one list, or as several of nearly equal length where there are too many.

    Images are told apart by prompt and name. A list in which no two images differ in value is left out.

    Args:
        pairs: with scores of `voters`.
        rows: the pairs to look at.
        voters: scorers whose win shares are the values; none for the labels: an image's value is then the share of
            the labelled comparisons within its list that it wins, a kept tie being half a win, and an image without
            any is left out.
        longest: most images of a list; None for no limit.

    Raises:
        UsageError: the pairs carry no scores of a voter.
        DataError: no list is left.
    """
    known = pairs.image_scores
    absent = [name for name in voters if name not in known]
    if absent:
        raise UsageError(
            f"Images are ranked by {', '.join(voters)}, and {pairs.source} carries no scores of {', '.join(absent)}. "
            "Train with `prefbench train`, which scores the pairs, or name scorers whose scores the data has."
        )
    images = _distinct_images(pairs, rows)
    cuts = [
        part
        for places in images.of_prompt
        for part in np.array_split(np.array(places), -(-len(places) // (longest or len(places))))
    ]
    values = np.full(len(images.pair), np.nan)
    if voters:
        scores = np.stack([np.asarray(known[name])[images.pair, images.side] for name in voters])
        for cut in cuts:
            values[cut] = win_shares(scores[:, cut]) if len(cut) > 1 else np.nan
    else:
        list_of = np.empty(len(images.pair), dtype=np.int64)
        for number, cut in enumerate(cuts):
            list_of[cut] = number
        values = _label_shares(images, list_of)
    cuts = [cut[~np.isnan(values[cut])] for cut in cuts]
    kept = [cut for cut in cuts if len(cut) > 1 and np.ptp(values[cut]) > 0]
    if not kept:
        raise DataError(
            f"{pairs.source}: no prompt has two images of different rank. Give images that are ranked, or other voters."
        )
    order = np.concatenate(kept)
    start = np.cumsum([0, *(len(cut) for cut in kept)])
    return RankedLists(images.pair[order], images.side[order], values[order], start)
