"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a VAE, a UNet2DConditionModel.

Versions differ only in what their folders say: 2.x has OpenCLIP's text encoder, published as transformers'
CLIPTextModel with its last layer left out, so that the last hidden state is OpenCLIP's penultimate; 2.1 at 768
pixels predicts v, 2.1-base and 1.x predict epsilon (prediction_type of the scheduler). For v the losses compare
v-predictions (see `prediction_target`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
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

__all__ = ["StableDiffusionBackbone"]

NEEDED = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")


class StableDiffusionBackbone:
    """A StableDiffusionPipeline opened for training.

    Args:
        spec: hub id or folder to load from.
        local: whether it is a folder, so that no hub is asked.
        name: how the user named it, if other than `spec` ("miniature").
    """

    pipeline_class = "StableDiffusionPipeline"

    def __init__(self, spec: str, *, local: bool, name: str | None = None) -> None:
        self.spec = name or spec
        self._load_from, self._local = spec, local
        pipeline = self._load()
        self.unet = pipeline.unet
        self._vae = pipeline.vae.requires_grad_(False).eval()
        self._text_encoder = pipeline.text_encoder.requires_grad_(False).eval()
        self._tokenizer = pipeline.tokenizer
        self.resolution = int(self.unet.config.sample_size) * int(pipeline.vae_scale_factor)
        self.alphas_cumprod, self.prediction_type = forward_process(pipeline)
        self._device = torch.device("cpu")

    def _load(self, **parts: Any) -> Any:
        """Without the safety checker: it plays no part in training and costs 1.2 GB."""
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        return load_pipeline(StableDiffusionPipeline, self._load_from, self._local, NEEDED, **parts)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move VAE and text encoder; the UNet is the loop's."""
        move(self._vae, device, dtype)
        move(self._text_encoder, device, dtype)
        self.alphas_cumprod = self.alphas_cumprod.to(device)
        self._device = device

    def encoders(self) -> dict[str, Any]:
        """VAE and text encoder."""
        return {"vae": self._vae, "text_encoder": self._text_encoder}

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        """Last hidden state of the text encoder, {"text": (N, tokens, width)}; truncates long prompts."""
        tokens = token_ids(self._tokenizer, prompts)
        mask = None
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            mask = tokens.attention_mask.to(self._device)
        hidden = self._text_encoder(tokens.input_ids.to(self._device), attention_mask=mask)[0]
        return {"text": hidden.float()}

    def encode_images(self, images: Tensor) -> Posterior:
        """Pixels (N, 3, H, W) in [-1, 1] -> latent distribution, scaled."""
        return encode_with(self._vae, images)

    def predict(self, unet: Any, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """One forward pass: (N, C, h, w)."""
        prediction: Tensor = unet(
            noisy, timesteps, encoder_hidden_states=condition["text"], return_dict=False
        )[0]
        return prediction

    def save_pipeline(self, unet: Any, folder: Path) -> None:
        """Write a complete pipeline folder; frozen parts are read again, so that no cast touches them."""
        save_whole(self._load(unet=unet), folder)

    def save_lora(self, unet: Any, folder: Path) -> None:
        """Write pytorch_lora_weights.safetensors."""
        save_lora_layers(StableDiffusionPipeline, unet, folder)
