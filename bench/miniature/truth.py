"""The known truth: how well an image shows the scene its caption asks for, in closed form.

`utility = 0.6 align + 0.4 clean` is the preference of the majority of annotators. A coherent minority prefers vivid
images: `0.5 sat + 0.5 contrast / 0.6`, blind to the prompt. All of it is our choice: it is a world, not a model of people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.miniature.render import PALETTE, SIDE, Codes, Images, centres, codes_of, object_mask
from prefbench.bench.miniature.scenes import COLOURS, parse_caption
from prefbench.scorers.image_io import open_rgb
from prefbench.scorers.info import ScorerInfo
from prefbench.scorers.protocol import ImageSource

__all__ = ["Measures", "TruthScorer", "load", "measure"]

PALETTE_SIGMA = 0.12  # RGB distance within which a pixel counts as a palette colour
SHIFT = 3  # px: an object may sit this far from its place
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
FORMULA = "0.6*align + 0.4*clean; align = 0.75*objects + 0.25*background, version 1"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """One number an image, each (N,) in about [0, 1]; `align` is NaN where the prompt asks for no scene."""

    align: Array
    clean: Array
    sat: Array
    contrast: Array

    @property
    def utility(self) -> Array:
        """What the majority prefers; for a prompt that asks for nothing, cleanliness alone."""
        return np.where(np.isnan(self.align), self.clean, 0.6 * self.align + 0.4 * self.clean)

    @property
    def vivid(self) -> Array:
        """What the minority prefers."""
        return 0.5 * self.sat + 0.5 * self.contrast / 0.6


def measure(images: Images, prompts: Sequence[str], block: int = 512) -> Measures:
    """Measures of images (N, 32, 32, 3) in [0, 1] against their prompts."""
    parts = [_measure(images[i : i + block], prompts[i : i + block]) for i in range(0, len(images), block)]
    return Measures(*(np.concatenate([p[k] for p in parts]) if parts else np.empty(0) for k in range(4)))


def _measure(images: Images, prompts: Sequence[str]) -> tuple[Array, Array, Array, Array]:
    distance2 = ((images[:, :, :, None, :] - PALETTE) ** 2).sum(-1)
    soft = np.exp(-(distance2 - distance2.min(-1, keepdims=True)) / (2 * PALETTE_SIGMA**2))
    soft /= soft.sum(-1, keepdims=True)
    clean = np.exp(-np.sqrt(distance2.min(-1)).mean((1, 2)) / 0.10)
    high, low = images.max(-1), images.min(-1)
    sat = ((high - low) / (high + 0.05)).mean((1, 2))
    contrast = 2 * (images @ LUMA).std((1, 2))
    scenes = [parse_caption(p) for p in prompts]
    asked = np.array([s is not None for s in scenes], bool)
    align = np.full(len(images), np.nan)
    if asked.any():
        align[asked] = _alignment(soft[asked], codes_of([s for s in scenes if s is not None]))
    return align, clean.astype(np.float64), sat.astype(np.float64), contrast.astype(np.float64)


def _alignment(soft: Images, codes: Codes) -> Array:
    """0.75 mean object score + 0.25 background score, (N,); `soft` is (N, 32, 32, 8), each pixel's palette colour."""
    rows = np.arange(len(codes))
    place1, place2 = centres(codes)
    two = codes[:, 4] >= 0
    mask1 = object_mask(codes[:, 2], codes[:, 0], place1)
    mask2 = object_mask(codes[:, 7], codes[:, 5], place2) * two[:, None, None]
    first = np.clip((_best_iou(soft[rows, :, :, codes[:, 1]], mask1) - 0.25) / 0.65, 0, 1)
    second = np.clip((_best_iou(soft[rows, :, :, codes[:, 6]], mask2) - 0.25) / 0.65, 0, 1)
    objects = np.where(two, 0.5 * (first + second), first)
    ground = soft[rows, :, :, len(COLOURS) + codes[:, 3]]
    rest = 1 - np.maximum(mask1, mask2)
    both = (ground * rest).sum((1, 2))
    iou = both / (ground.sum((1, 2)) + rest.sum((1, 2)) - both)
    return (0.75 * objects + 0.25 * np.clip((iou - 0.4) / 0.55, 0, 1)).astype(np.float64)


def _best_iou(soft: Images, mask: Images) -> Images:
    """Largest soft intersection over union of (N, 32, 32) with `mask` moved by up to SHIFT px; 0 for an empty mask."""
    padded = np.pad(soft, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    both = np.stack(
        [
            np.einsum("nyx,nyx->n", padded[:, dy : dy + SIDE, dx : dx + SIDE], mask)
            for dy in range(2 * SHIFT + 1)
            for dx in range(2 * SHIFT + 1)
        ]
    )
    union = soft.sum((1, 2)) + mask.sum((1, 2)) - both
    return (both / np.maximum(union, 1e-6)).max(0)


class TruthScorer:
    """The known utility as an ordinary scorer: held out in every miniature suite, it never votes."""

    def __init__(self) -> None:
        self.batch_size = 512
        self.info = ScorerInfo(
            name="mini:truth",
            variant=None,
            licence="Apache-2.0",
            scale="utility, 0 to 1",
            trained_on="nothing: closed form",
            identity={"formula": FORMULA, "palette_sigma": PALETTE_SIGMA, "shift_px": SHIFT, "side_px": SIDE},
        )

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> Array:
        """Utility of each image for its prompt, float64 (N,).

        Raises:
            DataError: an image is not 32 x 32, or a prompt asks for no scene of this world.
        """
        self.check_prompts(prompts)
        arrays = [np.asarray(open_rgb(image), np.float32) / 255 for image in images]
        for array in arrays:
            if array.shape != (SIDE, SIDE, 3):
                raise DataError(
                    f"mini:truth scores images of {SIDE} x {SIDE} px, got {array.shape[1]} x {array.shape[0]}. "
                    "Leave it out for other images."
                )
        return measure(np.stack(arrays), prompts).utility if arrays else np.empty(0)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raises DataError with the first prompt that asks for no scene of this world."""
        for prompt in prompts:
            if parse_caption(prompt) is None:
                raise DataError(
                    f"mini:truth knows the truth of the miniature world's captions only, not of {prompt!r}; the prompt "
                    "set `miniature` has such captions."
                )

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """No prompt is ever cut."""
        return np.zeros(len(prompts), bool)


def load(
    name: str = "mini:truth",
    *,
    weights: Any = None,
    architecture: Any = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> TruthScorer:
    """The scorer; it has no weights, so it takes none."""
    if weights is not None or architecture is not None:
        raise UsageError("mini:truth is a formula: it takes neither weights nor an architecture.")
    return TruthScorer()
