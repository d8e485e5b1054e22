"""Pairs of the miniature world's rankings: every two of the K renders of a prompt, labelled by the truth."""

import hashlib
from itertools import combinations

import numpy as np
from PIL import Image

from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs, Ties, labelled_pairs

__all__ = ["miniature_list_pairs"]


def miniature_list_pairs(source: str, prompts: int, images: int, ties: Ties) -> LabelledPairs:
    """Rows for all prompts * images * (images - 1) / 2 pairs, prompt after prompt.

    Args:
        source: how the user named the data.
        prompts: how many.
        images: renders of each.
        ties: what becomes of two renders of equal utility.
    """
    from prefbench.bench.miniature.rankings import load_miniature_rankings

    world = load_miniature_rankings(prompts, images)
    two = np.array(list(combinations(range(images), 2)))
    item = np.repeat(np.arange(prompts), len(two))
    shown = np.tile(two, (prompts, 1))
    first, second = (world.utility[item, shown[:, side]] for side in (0, 1))

    def painted(row: int, side: int) -> np.ndarray:
        pixels: np.ndarray = world.images[item[row], shown[row, side]]
        return pixels

    def name(row: int, side: int) -> str:
        digest = hashlib.sha256(painted(row, side).tobytes()).hexdigest()
        return f"{digest}:{item[row]}:{shown[row, side]}"

    return labelled_pairs(
        source=source,
        prompts=[world.prompts[number] for number in item],
        label_0=np.where(first == second, 0.5, first > second),
        image=lambda row, side: Image.fromarray(painted(row, side)),
        image_names=name,
        ties=ties,
    )
