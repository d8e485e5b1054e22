"""What a run encodes once before training: latent distributions of images and encodings of their prompts.

The distribution is kept, not a sample, so each step still draws its own latent and caching changes no number. Where the
encodings live is the caches' business (memory_cache.py, disk_cache.py).
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch

from prefbench.reference_trainers.backbones.backbone import Backbone, Posterior
from prefbench.reference_trainers.method import Condition
from prefbench.reference_trainers.preferences.decoding import check_images
from prefbench.reference_trainers.preferences.image_files import UnreadableImageError
from prefbench.reference_trainers.preferences.image_tensors import image_tensor
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs

__all__ = ["CHUNK", "EncodingPlan", "Encodings", "ImageRef"]

CHUNK = 32
"""Images or prompts encoded at once."""


class ImageRef(NamedTuple):
    """One image of the data.

    Attributes:
        pair: which pair.
        side: 0 for its winner, 1 for its loser.
    """

    pair: int
    side: int


class Encodings(Protocol):
    """A cache that is filled."""

    def posterior(self, images: Sequence[ImageRef]) -> Posterior:
        """Latent distributions, on the CPU."""
        ...

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Encoded prompts, on the CPU."""
        ...


class EncodingPlan:
    """All that a run meets, in chunks that do not depend on what is cached already.

    Args:
        backbone: encodes.
        pairs: the data.
        groups: images, each once; no chunk spans two groups.
        resolution: side in pixels.
    """

    def __init__(
        self,
        backbone: Backbone,
        pairs: PreferencePairs,
        groups: Sequence[Sequence[ImageRef]],
        resolution: int,
    ) -> None:
        self.backbone, self.pairs, self.groups, self.resolution = backbone, pairs, groups, resolution
        rows = {image.pair for group in groups for image in group}
        self.prompts = sorted({pairs.prompt(row) for row in rows} | {""})

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(len(group) for group in self.groups)

    def image_chunks(self) -> Iterator[Sequence[ImageRef]]:
        """Up to CHUNK images at a time."""
        for group in self.groups:
            for start in range(0, len(group), CHUNK):
                yield group[start : start + CHUNK]

    def prompt_chunks(self) -> Iterator[Sequence[str]]:
        """Up to CHUNK prompts at a time."""
        for start in range(0, len(self.prompts), CHUNK):
            yield self.prompts[start : start + CHUNK]

    def encode_images(self, images: Sequence[ImageRef]) -> Posterior:
        """Read and encode, to the CPU.

        Raises:
            DataError: an image cannot be read; every such image of the plan is named.
        """
        readers = (self.pairs.winner, self.pairs.loser)
        try:
            pixels = torch.stack(
                [image_tensor(readers[side](pair), self.resolution) for pair, side in images]
            )
        except UnreadableImageError:
            check_images(self.pairs, itertools.chain(*self.groups))  # names every one, not only this
            raise
        encoded = self.backbone.encode_images(pixels)
        return Posterior(encoded.mean.cpu(), encoded.std.cpu())

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        """Encode, to the CPU."""
        return {name: value.cpu() for name, value in self.backbone.encode_prompts(prompts).items()}

    def bytes_needed(self) -> int:
        """Size of all encodings, from those of one image and one prompt."""
        first = next(group for group in self.groups if len(group))
        per_image = 2 * self.encode_images(first[:1]).mean.nbytes
        per_prompt = sum(value.nbytes for value in self.encode_prompts(self.prompts[:1]).values())
        return per_image * self.images + per_prompt * len(self.prompts)
