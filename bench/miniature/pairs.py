"""Preference pairs of the miniature world: two faulty renders of a prompt, a label, and the truth behind it.

Margins come in all sizes. Some prompts are junk (they ask for nothing), some are near-duplicates of another row's
prompt. By default every annotator holds the majority's taste and no label is wrong; `minority` and `flip` change that,
and every row keeps who labelled it, both utilities and whether its label was flipped.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from prefbench.bench.exceptions import UsageError
from prefbench.bench.miniature.render import codes_of, degrade, to_uint8
from prefbench.bench.miniature.scenes import ENDINGS, JUNK, OPENINGS, sample_scenes
from prefbench.bench.miniature.truth import measure

__all__ = ["MiniaturePairs", "load_pairs"]

JUNK_SHARE = 0.04
NEAR_DUPLICATE_SHARE = 0.10


@dataclass(frozen=True)
class MiniaturePairs:
    """N preference rows.

    Attributes:
        prompts: N texts.
        images_0, images_1: uint8 (N, 32, 32, 3).
        label_0: (N,), 1 where image 0 is preferred, 0 where image 1 is, 0.5 for an exact tie.
        utility_0, utility_1: the majority's utility of each image, (N,).
        annotator: "majority" or "minority" per row.
        flipped: whether the annotator's choice was turned round, (N,).
        junk, near_duplicate: kind of prompt, (N,).
    """

    prompts: list[str]
    images_0: NDArray[np.uint8]
    images_1: NDArray[np.uint8]
    label_0: NDArray[np.float64]
    utility_0: NDArray[np.float64]
    utility_1: NDArray[np.float64]
    annotator: list[str]
    flipped: NDArray[np.bool_]
    junk: NDArray[np.bool_]
    near_duplicate: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.prompts)


@lru_cache(maxsize=2)  # a process that trains several methods paints the world once
def load_pairs(
    n: int = 3000,
    seed: int = 0,
    split: str = "train",
    flip: float = 0.0,
    flip_seed: int = 0,
    minority: float = 0.0,
) -> MiniaturePairs:
    """Paint `n` pairs; the same arguments give the same bytes, and within a process the same arrays: do not write to them.

    Args:
        n: rows.
        seed: scenes, faults, and which rows the minority labels.
        split: captions to draw from: train, validation or test.
        flip: share of labels turned round at random, in [0, 1].
        flip_seed: which ones; images and annotators do not depend on it.
        minority: share of rows labelled by an annotator who prefers vivid images, in [0, 1].

    Raises:
        UsageError: a share outside [0, 1], an unknown split, or fewer than one row.
    """
    for name, share in (("flip", flip), ("minority", minority)):
        if not 0 <= share <= 1:
            raise UsageError(f"Miniature pairs: {name} is a share between 0 and 1, got {share}.")
    if split not in ("train", "validation", "test"):
        raise UsageError(f"Miniature pairs: unknown split {split!r}; use train, validation or test.")
    if n < 1:
        raise UsageError(f"Miniature pairs: n must be at least 1, got {n}.")
    rng = np.random.default_rng([seed, 0x5CE4E])
    scenes = sample_scenes(n, rng, split)
    prompts, junk, near = _prompts([s.caption for s in scenes], rng)
    # A near-duplicate asks for its neighbour's scene; a junk prompt's images show a scene nobody asked for.
    for row in np.flatnonzero(near):
        scenes[row] = scenes[row - 1]
    codes = codes_of(scenes)
    images = [to_uint8(degrade(codes, rng)) for _ in range(2)]
    first, second = (measure(i.astype(np.float32) / np.float32(255), prompts) for i in images)
    vivid_taste = rng.random(n) < minority
    difference = np.where(vivid_taste, first.vivid - second.vivid, first.utility - second.utility)
    label = np.where(difference == 0, 0.5, difference > 0)
    flipped = (np.random.default_rng([flip_seed, 0xF11B]).random(n) < flip) & (label != 0.5)
    return MiniaturePairs(
        prompts=prompts,
        images_0=images[0],
        images_1=images[1],
        label_0=np.where(flipped, 1 - label, label),
        utility_0=first.utility,
        utility_1=second.utility,
        annotator=["minority" if v else "majority" for v in vivid_taste],
        flipped=flipped,
        junk=junk,
        near_duplicate=near,
    )


def _prompts(
    captions: list[str], rng: np.random.Generator
) -> tuple[list[str], NDArray[np.bool_], NDArray[np.bool_]]:
    n = len(captions)
    kind = rng.random(n)
    junk = kind < JUNK_SHARE
    near = (kind >= JUNK_SHARE) & (kind < JUNK_SHARE + NEAR_DUPLICATE_SHARE)
    # A near-duplicate needs a proper prompt above it to repeat.
    near[0] = False
    near[1:] &= ~junk[:-1] & ~near[:-1]
    wording = [o + "{}" + e for o in OPENINGS for e in ENDINGS if o + e]
    prompts = []
    for row, caption in enumerate(captions):
        if junk[row]:
            prompts.append(JUNK[int(rng.integers(len(JUNK)))])
        elif near[row]:
            prompts.append(wording[int(rng.integers(len(wording)))].format(prompts[row - 1]))
        else:
            prompts.append(caption)
    return prompts, junk, near
