"""The images of preference pairs one by one, for methods that learn from single images."""

from dataclasses import dataclass

import numpy as np

from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs

__all__ = ["SingleImages", "single_images"]


@dataclass(frozen=True)
class SingleImages:
    """N different images.

    Attributes:
        pair: (N,) int, a pair that shows the image: its prompt is the image's.
        side: (N,) int, 0 where the image is that pair's winner, 1 where it is the loser.
        desirable: (N,) bool: preferred at least once over all pairs.
    """

    pair: np.ndarray
    side: np.ndarray
    desirable: np.ndarray

    def __len__(self) -> int:
        return len(self.pair)


def single_images(pairs: PreferencePairs, rows: np.ndarray) -> SingleImages:
    """Each image of these pairs once, by prompt and name, with its label.

    Diffusion-KTO's rule: desirable if any pair prefers it, undesirable if none does (arXiv 2404.04465: 237,530 and
    690,538 images of Pick-a-Pic v2). A tie that was kept prefers neither image.

    Args:
        pairs: with names that are equal for equal images.
        rows: the pairs to look at, (N,).
    """
    places: dict[tuple[str, str], int] = {}
    pair: list[int] = []
    side: list[int] = []
    desirable: list[bool] = []
    tied = pairs.tied
    for row in map(int, rows):
        for place, name in enumerate(pairs.names(row)):
            preferred = place == 0 and not tied[row]
            known = places.setdefault((pairs.prompt(row), name), len(pair))
            if known == len(pair):
                pair.append(row)
                side.append(place)
                desirable.append(preferred)
            elif preferred:
                desirable[known] = True
    return SingleImages(np.asarray(pair), np.asarray(side), np.asarray(desirable))
