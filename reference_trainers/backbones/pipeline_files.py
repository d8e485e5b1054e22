"""Reading and writing diffusers pipelines for training, the same for every architecture."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import torch
import transformers.utils.logging
from diffusers import DDPMScheduler
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.reference_trainers.backbones.backbone import Posterior, move

__all__ = ["encode_with", "forward_process", "load_pipeline", "save_lora_layers", "save_whole", "token_ids"]


MOST_TOKENS = 100_000
"""A tokenizer that states no limit has transformers' 10^30."""


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


def load_pipeline(pipeline_class: Any, spec: str, local: bool, needed: Sequence[str], **parts: Any) -> Any:
    """The pipeline in float32 on the CPU.

    Args:
        pipeline_class: of diffusers.
        spec: hub id or folder.
        local: whether it is a folder, so that no hub is asked.
        needed: components that must be there.
        **parts: components to use instead of the stored ones, or None to leave one out.

    Raises:
        MissingWeightsError: incomplete, unreachable, or weights that do not fit their configuration.
    """
    try:
        with _without_bars():
            pipeline = pipeline_class.from_pretrained(spec, local_files_only=local, **parts)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MissingWeightsError(
            f"The backbone {spec} could not be loaded: {type(error).__name__}: {reason[:400]}. Check that "
            "the folder or hub repository is complete and that its weights fit its configuration."
        ) from error
    absent = [name for name in needed if getattr(pipeline, name) is None]
    if absent:
        raise MissingWeightsError(
            f"The backbone {spec} has no {', '.join(absent)} (null in its model_index.json), which training "
            "needs. Give a complete pipeline."
        )
    for name in needed:
        if name.startswith("tokenizer"):
            _check_tokenizer(spec, name, getattr(pipeline, name))
        if isinstance(getattr(pipeline, name), torch.nn.Module):
            move(getattr(pipeline, name), torch.device("cpu"), torch.float32)
    return pipeline


def _check_tokenizer(spec: str, name: str, tokenizer: Any) -> None:
    """Without its files a tokenizer still loads: with no words, and transformers' limit of 10^30 tokens."""
    if tokenizer.model_max_length > MOST_TOKENS or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise MissingWeightsError(
            f"The backbone {spec}: its {name} knows {len(tokenizer)} tokens and prompts of up to "
            f"{tokenizer.model_max_length:.0f}; files of {name}/ are missing or damaged. Give a complete pipeline."
        )


def forward_process(pipeline: Any) -> tuple[Tensor, str]:
    """(abar of shape (T,), prediction type) of the noise that the network was trained on.

    Every scheduler class keeps the betas in its config; DDPM is the forward process that training needs.
    """
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    return scheduler.alphas_cumprod, str(scheduler.config.prediction_type)


def token_ids(tokenizer: Any, prompts: Sequence[str]) -> Any:
    """Token ids and attention mask, padded and cut to the tokenizer's own length."""
    return tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )


@torch.no_grad()
def encode_with(vae: Any, images: Tensor) -> Posterior:
    """Pixels (N, 3, H, W) in [-1, 1] on the VAE's device -> the distribution of latents as the UNet sees them.

    (z - latents_mean) * scaling_factor / latents_std; almost every VAE has mean 0 and std 1 (null in its config).
    """
    weights = next(vae.parameters())
    posterior = vae.encode(images.to(device=weights.device, dtype=weights.dtype)).latent_dist
    mean, std, scale = posterior.mean.float(), posterior.std.float(), vae.config.scaling_factor
    if vae.config.get("latents_mean") is not None and vae.config.get("latents_std") is not None:
        shift, spread = (
            torch.tensor(vae.config[name], device=mean.device).view(1, -1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )
        mean, std = (mean - shift) / spread, std / spread
    return Posterior(mean=mean * scale, std=std * scale)


def save_whole(pipeline: Any, folder: Path) -> None:
    """A pipeline folder with safetensors."""
    with _without_bars():
        pipeline.save_pretrained(folder, safe_serialization=True)


def save_lora_layers(pipeline_class: Any, unet: Any, folder: Path) -> None:
    """pytorch_lora_weights.safetensors, which `pipeline_class.load_lora_weights` reads."""
    pipeline_class.save_lora_weights(
        folder, unet_lora_layers=get_peft_model_state_dict(unet), safe_serialization=True
    )
