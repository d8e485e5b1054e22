"""Stable Diffusion XL: two text encoders, a pooled embedding, and the sizes that the UNet is told.

After SalesforceAIResearch/DiffusionDPO@5233e75 train.py with --sdxl (base model; refiner and turbo are not ours):

The released code's: hidden states of the last layer but one of both encoders, side by side; the pooled embedding
    is the second encoder's projection; size ids are the constants (r, r, 0, 0, r, r) with the training
    resolution r, whatever size and crop an image had; a dropped caption is the empty string sent through both
    encoders, although the pipeline puts zeros for an absent negative prompt at sampling time where its
    force_zeros_for_empty_prompt is set, as it is for the published base model.
Ours: r is read off the latents, so it is right at every `resolution`; the VAE stays in fp32 while the rest is in
    half precision where its config says force_upcast, as the published one's does, because its activations
    overflow in fp16 (the released launcher swaps in another VAE, madebyollin/sdxl-vae-fp16-fix, whose config
    says false: it then runs in half precision here too); LoRA; no offloading to the CPU.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from prefbench.reference_trainers.backbones.backbone import Posterior, move
from prefbench.reference_trainers.backbones.pipeline_files import (
    encode_with,
    forward_process,
    load_pipeline,
    save_lora_layers,
    save_whole,
    token_ids,
)
from prefbench.reference_trainers.method import Condition

__all__ = ["StableDiffusionXLBackbone"]

NEEDED = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")


class StableDiffusionXLBackbone:
    """A StableDiffusionXLPipeline opened for training.

    Args:
        spec: hub id or folder to load from.
        local: whether it is a folder, so that no hub is asked.
        name: how the user named it, if other than `spec`.
    """

    pipeline_class = "StableDiffusionXLPipeline"

    def __init__(self, spec: str, *, local: bool, name: str | None = None) -> None:
        self.spec = name or spec
        self._load_from, self._local = spec, local
        pipeline = self._load()
        self.unet = pipeline.unet
        self._vae = pipeline.vae.requires_grad_(False).eval()
        encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
        self._text_encoders = [encoder.requires_grad_(False).eval() for encoder in encoders]
        self._tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
        self._pixels_per_latent = int(pipeline.vae_scale_factor)
        self.resolution = int(self.unet.config.sample_size) * self._pixels_per_latent
        self.alphas_cumprod, self.prediction_type = forward_process(pipeline)
        self._device = torch.device("cpu")

    def _load(self, **parts: Any) -> Any:
        return load_pipeline(StableDiffusionXLPipeline, self._load_from, self._local, NEEDED, **parts)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move VAE and text encoders; a VAE that says force_upcast stays in fp32."""
        move(self._vae, device, torch.float32 if self._vae.config.force_upcast else dtype)
        for encoder in self._text_encoders:
            move(encoder, device, dtype)
        self.alphas_cumprod = self.alphas_cumprod.to(device)
        self._device = device

    def encoders(self) -> dict[str, Any]:
        """VAE and both text encoders."""
        return {
            "vae": self._vae,
            **{f"text_encoder_{i}": encoder for i, encoder in enumerate(self._text_encoders, 1)},
        }

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        """{"text": (N, tokens, width 1 + width 2), "pooled": (N, projection)}; truncates long prompts."""
        hidden = []
        for tokenizer, encoder in zip(self._tokenizers, self._text_encoders, strict=True):
            ids = token_ids(tokenizer, prompts).input_ids.to(self._device)
            encoded = encoder(ids, output_hidden_states=True)
            hidden.append(encoded.hidden_states[-2].float())
        return {"text": torch.cat(hidden, dim=-1), "pooled": encoded.text_embeds.float()}

    def encode_images(self, images: Tensor) -> Posterior:
        """Pixels (N, 3, H, W) in [-1, 1] -> latent distribution, scaled."""
        return encode_with(self._vae, images)

    def _size_ids(self, latents: Tensor) -> Tensor:
        """Original height and width, crop top and left, target height and width: (N, 6), in pixels."""
        height, width = (int(side) * self._pixels_per_latent for side in latents.shape[-2:])
        ids = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32, device=latents.device)
        return ids.expand(len(latents), -1)

    def predict(self, unet: Any, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """One forward pass: (N, C, h, w)."""
        prediction: Tensor = unet(
            noisy,
            timesteps,
            encoder_hidden_states=condition["text"],
            added_cond_kwargs={"text_embeds": condition["pooled"], "time_ids": self._size_ids(noisy)},
            return_dict=False,
        )[0]
        return prediction

    def save_pipeline(self, unet: Any, folder: Path) -> None:
        """Write a complete pipeline folder; frozen parts are read again, so that no cast touches them."""
        save_whole(self._load(unet=unet), folder)

    def save_lora(self, unet: Any, folder: Path) -> None:
        """Write pytorch_lora_weights.safetensors."""
        save_lora_layers(StableDiffusionXLPipeline, unet, folder)
