"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a VAE, a UNet2DConditionModel."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import torch
import transformers.utils.logging
from diffusers import DDPMScheduler, StableDiffusionPipeline
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.reference_trainers.backbones.backbone import Posterior, move
from prefbench.reference_trainers.method import Condition

__all__ = ["StableDiffusionBackbone"]


@contextmanager
def _without_bars() -> Iterator[None]:
    """No bars of the libraries for a second of loading; they were on by default and are put back."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


def _load_pipeline(spec: str, local: bool, **parts: Any) -> Any:
    """The pipeline in float32, without the safety checker: it plays no part in training and costs 1.2 GB."""
    try:
        with _without_bars():
            pipeline = StableDiffusionPipeline.from_pretrained(
                spec,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
                local_files_only=local,
                **parts,
            )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MissingWeightsError(
            f"The backbone {spec} could not be loaded: {type(error).__name__}: {reason[:400]}. Check that "
            "the folder or hub repository is complete and that its weights fit its configuration."
        ) from error
    for module in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        move(module, torch.device("cpu"), torch.float32)
    return pipeline


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
        pipeline = _load_pipeline(spec, local)
        self.unet = pipeline.unet
        self._vae = pipeline.vae.requires_grad_(False).eval()
        self._text_encoder = pipeline.text_encoder.requires_grad_(False).eval()
        self._tokenizer = pipeline.tokenizer
        self.resolution = int(self.unet.config.sample_size) * int(pipeline.vae_scale_factor)
        # Every scheduler class keeps the betas in its config; DDPM is the forward process that training
        # needs.
        scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        self.alphas_cumprod = scheduler.alphas_cumprod
        self.prediction_type = str(scheduler.config.prediction_type)
        self._device, self._dtype = torch.device("cpu"), torch.float32

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move VAE and text encoder; the UNet is the loop's."""
        move(self._vae, device, dtype)
        move(self._text_encoder, device, dtype)
        self.alphas_cumprod = self.alphas_cumprod.to(device)
        self._device, self._dtype = device, dtype

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        """Last hidden state of the text encoder, {"text": (N, tokens, width)}; truncates long prompts."""
        tokens = self._tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        mask = None
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            mask = tokens.attention_mask.to(self._device)
        hidden = self._text_encoder(tokens.input_ids.to(self._device), attention_mask=mask)[0]
        return {"text": hidden.float()}

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Posterior:
        """Pixels (N, 3, H, W) in [-1, 1] -> latent distribution, scaled."""
        posterior = self._vae.encode(images.to(device=self._device, dtype=self._dtype)).latent_dist
        scale = self._vae.config.scaling_factor
        return Posterior(mean=posterior.mean.float() * scale, std=posterior.std.float() * scale)

    def predict(self, unet: Any, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """One forward pass: (N, C, h, w)."""
        prediction: Tensor = unet(
            noisy, timesteps, encoder_hidden_states=condition["text"], return_dict=False
        )[0]
        return prediction

    def save_pipeline(self, unet: Any, folder: Path) -> None:
        """Write a complete pipeline folder; frozen parts are read again, so that no cast touches them."""
        pipeline = _load_pipeline(self._load_from, self._local, unet=unet)
        with _without_bars():
            pipeline.save_pretrained(folder, safe_serialization=True)

    def save_lora(self, unet: Any, folder: Path) -> None:
        """Write pytorch_lora_weights.safetensors."""
        StableDiffusionPipeline.save_lora_weights(
            folder, unet_lora_layers=get_peft_model_state_dict(unet), safe_serialization=True
        )
