"""The network in training and its reference: a frozen copy, or the same network without its adapters."""

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor

from prefbench.reference_trainers.backbones.backbone import Backbone, move
from prefbench.reference_trainers.loop_config import LoopConfig
from prefbench.reference_trainers.method import Condition, Nets

__all__ = ["LORA_TARGETS", "TrainedUnet", "weights_sha256"]

LORA_TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]
"""Attention projections, alpha = rank, Gaussian initial A and zero B: diffusers' DPO example [CODE]."""


def weights_sha256(module: torch.nn.Module) -> str:
    """Hash of all weights by name, read as fp32, so that a folder and its fp16 twin of equal values agree."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy())
    return digest.hexdigest()


@contextmanager
def _adapters_disabled(unet: Any) -> Iterator[None]:
    unet.disable_adapters()
    try:
        yield
    finally:
        unet.enable_adapters()


class TrainedUnet:
    """Makes the backbone's UNet trainable.

    Full fine-tuning trains every weight in fp32 and keeps a frozen copy for the reference, where one is
    needed. LoRA freezes the UNet and trains adapters; the reference is the same network with adapters
    disabled, so there is no second copy in memory.

    Args:
        backbone: its UNet becomes the policy.
        cfg: LoRA rank, seed of the adapters, gradient checkpointing.
        device: where to train.
        dtype: of frozen weights.
        needs_reference: whether the method asks for one.
    """

    def __init__(
        self,
        backbone: Backbone,
        cfg: LoopConfig,
        *,
        device: torch.device,
        dtype: torch.dtype,
        needs_reference: bool,
    ) -> None:
        self.unet = backbone.unet
        self._backbone = backbone
        self._lora = cfg.lora_rank is not None
        self._frozen: Any = None
        self._needs_reference = needs_reference
        if cfg.lora_rank is not None:
            self._add_adapters(cfg.lora_rank, cfg.seed, device, dtype)
        else:
            if needs_reference:
                self._frozen = copy.deepcopy(self.unet).requires_grad_(False).eval()
                move(self._frozen, device, dtype)
            move(self.unet.requires_grad_(True), device, torch.float32)
        self.unet.train()
        if cfg.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()

    def _add_adapters(self, rank: int, seed: int, device: torch.device, dtype: torch.dtype) -> None:
        move(self.unet.requires_grad_(False), device, dtype)
        with torch.random.fork_rng():  # peft draws from the global generator; leave the caller's as it was
            torch.manual_seed(seed)
            self.unet.add_adapter(
                LoraConfig(
                    r=rank,
                    lora_alpha=rank,
                    init_lora_weights="gaussian",
                    target_modules=LORA_TARGETS,
                )
            )
        for parameter in self.trainable().values():
            parameter.data = parameter.data.to(torch.float32)

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Weights in training, by name."""
        return {name: value for name, value in self.unet.named_parameters() if value.requires_grad}

    def nets(self, prepared: Any, autocast: Callable[[], Any]) -> Nets:
        """Policy and reference as the methods call them.

        Args:
            prepared: the UNet as accelerate wrapped it.
            autocast: makes the context that the frozen copy runs in; the policy's wrapper has its own.
        """
        backbone = self._backbone

        def policy(noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
            return backbone.predict(prepared, noisy, timesteps, condition)

        @torch.no_grad()
        def reference(noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
            if self._lora:
                with _adapters_disabled(self.unet):
                    return backbone.predict(self.unet, noisy, timesteps, condition)
            with autocast():
                return backbone.predict(self._frozen, noisy, timesteps, condition)

        return Nets(
            policy=policy,
            reference=reference if self._needs_reference else None,
            alphas_cumprod=backbone.alphas_cumprod,
            prediction_type=backbone.prediction_type,
        )
