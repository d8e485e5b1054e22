"""Encodings in CPU memory: the fastest cache, for data that fits."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.backbones.backbone import Posterior
from prefbench.reference_trainers.encodings import EncodingPlan, ImageRef
from prefbench.reference_trainers.method import Condition

__all__ = ["MemoryCache"]

MEMORY_SHARE = 0.7


class MemoryCache:
    """Encodes everything when it is made.

    Raises:
        UsageError: the encodings would not fit into memory.
    """

    def __init__(self, plan: EncodingPlan) -> None:
        _check_memory(plan.bytes_needed(), plan.images)
        prompts = [plan.encode_prompts(chunk) for chunk in plan.prompt_chunks()]
        self._prompt_place = {prompt: i for i, prompt in enumerate(plan.prompts)}
        self._condition = {name: torch.cat([chunk[name] for chunk in prompts]) for name in prompts[0]}
        self._place: dict[ImageRef, int] = {}
        self._mean, self._std = self._encode(plan)

    def _encode(self, plan: EncodingPlan) -> tuple[Tensor, Tensor]:
        mean = std = torch.empty(0)
        for chunk in plan.image_chunks():
            encoded = plan.encode_images(chunk)
            start = len(self._place)
            if not start:
                mean = torch.empty(plan.images, *encoded.mean.shape[1:])
                std = torch.empty_like(mean)
            mean[start : start + len(chunk)], std[start : start + len(chunk)] = encoded.mean, encoded.std
            self._place |= {image: start + i for i, image in enumerate(chunk)}
        return mean, std

    def posterior(self, images: Sequence[ImageRef]) -> Posterior:
        """See Encodings."""
        places = [self._place[image] for image in images]
        return Posterior(self._mean[places], self._std[places])

    def condition(self, prompts: Sequence[str]) -> Condition:
        """See Encodings."""
        places = [self._prompt_place[prompt] for prompt in prompts]
        return {name: value[places] for name, value in self._condition.items()}


def _check_memory(needed: int, images: int) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY_SHARE * physical:
        raise UsageError(
            f"cache=memory would hold {needed / 2**30:.1f} GiB of latents and prompt encodings of {images} images, "
            f"more than {MEMORY_SHARE:.0%} of this machine's {physical / 2**30:.1f} GiB. Set cache=disk, or cache=false."
        )
