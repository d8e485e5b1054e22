"""What the loop asks of a text-to-image model, whatever its architecture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from prefbench.reference_trainers.method import Condition

__all__ = ["Backbone", "Posterior", "move"]


@dataclass(frozen=True)
class Posterior:
    """The VAE's distribution over latents, times the scaling factor.

    Attributes:
        mean: shape (N, C, h, w), float32.
        std: the same shape.
    """

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Mean + std * noise: all released code samples the latent instead of taking the mean."""
        return self.mean + self.std * noise


def move(module: Any, device: torch.device, dtype: torch.dtype) -> None:
    """To device and dtype; diffusers warns about every cast, also one that changes nothing."""
    if any(value.dtype != dtype for value in module.parameters()):
        module.to(dtype=dtype)
    module.to(device=device)


class Backbone(Protocol):
    """A pretrained pipeline, opened for training: everything but the UNet is frozen."""

    spec: str
    """How the user named it, absolute where it is a path."""
    pipeline_class: str
    resolution: int
    """Its native side in pixels."""
    alphas_cumprod: Tensor
    prediction_type: str
    unet: Any
    """The network to train: a diffusers UNet2DConditionModel in float32."""

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the frozen parts; the UNet is the loop's."""
        ...

    def encoders(self) -> dict[str, Any]:
        """The frozen networks that encode images and prompts, by name: what a cache on disk depends on."""
        ...

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        """Prompts -> tensors with leading dimension len(prompts), float32."""
        ...

    def encode_images(self, images: Tensor) -> Posterior:
        """Pixels (N, 3, H, W) in [-1, 1] -> latent distribution."""
        ...

    def predict(self, unet: Any, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """One forward pass of `unet`, which may be wrapped, a copy, or self.unet."""
        ...

    def save_pipeline(self, unet: Any, folder: Path) -> None:
        """Write a complete pipeline folder with `unet` in place of the original."""
        ...

    def save_lora(self, unet: Any, folder: Path) -> None:
        """Write the adapters alone, as plain diffusers loads them."""
        ...
