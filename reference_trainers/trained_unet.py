"""The network in training, its reference and its shadows, with one copy in memory of what does not differ.

A reference that never moves is a frozen copy, or with LoRA the same network without its adapters. A reference that
moves and the shadows are fp32 copies of the parameters in training alone, put into the network for one forward pass.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor
from torch.func import functional_call

from prefbench.reference_trainers.backbones.backbone import Backbone, move
from prefbench.reference_trainers.ema import WeightAverage
from prefbench.reference_trainers.loop_config import LoopConfig
from prefbench.reference_trainers.method import Condition, Denoiser, Nets
from prefbench.reference_trainers.reference_policy import MovingReference, ReferenceRule
from prefbench.reference_trainers.teacher import Teacher

__all__ = ["LORA_TARGETS", "TrainedUnet", "weights_sha256"]

FIXED = ReferenceRule("fixed")

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


class _WithWeights:
    """The module as if it had other values in some of its parameters; they are put back after each call."""

    def __init__(self, module: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
        self._module, self._weights = module, dict(weights)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return functional_call(self._module, self._weights, args, kwargs)

    def __getattr__(self, name: str) -> Any:  # a backbone may look at .config
        return getattr(self._module, name)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}


class TrainedUnet:
    """Makes the backbone's UNet trainable.

    Full fine-tuning trains every weight in fp32 and keeps a frozen copy for the reference, where one is
    needed. LoRA freezes the UNet and trains adapters; the reference is the same network with adapters
    disabled, so there is no second copy in memory.

    Attributes:
        unet: the network in training.
        shadows: moving averages of its weights, in the order of `shadow_decays`.
        reference: the weights of a reference that moves; None where it is fixed or not needed.
        teacher: a frozen copy of the policy; None where the method has none.

    Args:
        backbone: its UNet becomes the policy.
        cfg: LoRA rank, seed of the adapters, gradient checkpointing.
        device: where to train.
        dtype: of frozen weights.
        needs_reference: whether the method asks for one.
        rule: when the reference moves.
        shadow_decays: one moving average of the policy for each.
        taught: whether the method has a teacher.
    """

    def __init__(
        self,
        backbone: Backbone,
        cfg: LoopConfig,
        *,
        device: torch.device,
        dtype: torch.dtype,
        needs_reference: bool,
        rule: ReferenceRule = FIXED,
        shadow_decays: tuple[float, ...] = (),
        taught: bool = False,
    ) -> None:
        self.unet = backbone.unet
        self._backbone = backbone
        self._lora = cfg.lora_rank is not None
        self._frozen: Any = None
        self._needs_reference = needs_reference
        if cfg.lora_rank is not None:
            self._add_adapters(cfg.lora_rank, cfg.seed, device, dtype)
        else:
            if needs_reference and rule.kind == "fixed":
                self._frozen = copy.deepcopy(self.unet).requires_grad_(False).eval()
                move(self._frozen, device, dtype)
            move(self.unet.requires_grad_(True), device, torch.float32)
        self.unet.train()
        if cfg.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        trained = self.trainable()
        self.shadows = tuple(WeightAverage(decay, trained) for decay in shadow_decays)
        self.teacher = Teacher(trained) if taught else None
        self.reference: MovingReference | None = None
        if needs_reference and rule.kind != "fixed":
            self.reference = MovingReference(rule, trained, keep_start=not self._lora)

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

    def moving_state(self) -> dict[str, Tensor]:
        """Shadows, teacher and reference as tensors by name; empty where nothing but the policy moves."""
        state = {
            f"shadow{i}.{k}": v for i, shadow in enumerate(self.shadows) for k, v in shadow.state().items()
        }
        if self.teacher is not None:
            state |= {f"teacher.{name}": value for name, value in self.teacher.state().items()}
        if self.reference is not None:
            state |= {f"reference.{name}": value for name, value in self.reference.state().items()}
        return state

    def load_moving_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `moving_state` returned.

        Raises:
            KeyError: `state` is that of another network or method.
        """
        for i, shadow in enumerate(self.shadows):
            shadow.load_state(_under(f"shadow{i}.", state))
        if self.teacher is not None:
            self.teacher.load_state(_under("teacher.", state), self.unet.device)
        if self.reference is not None:
            self.reference.load_state(_under("reference.", state), self.unet.device)

    def _frozen_policy(self, copied: WeightAverage | Teacher) -> Denoiser:
        weighted = _WithWeights(self.unet, copied.weights)

        @torch.no_grad()
        def shadow(noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
            return self._backbone.predict(weighted, noisy, timesteps, condition)

        return shadow

    def nets(self, prepared: Any, autocast: Callable[[], Any]) -> Nets:
        """Policy, reference and shadows as the methods call them.

        Args:
            prepared: the UNet as accelerate wrapped it.
            autocast: makes the context that the frozen copy runs in; the policy's wrapper has its own.
        """
        backbone = self._backbone

        def policy(noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
            return backbone.predict(prepared, noisy, timesteps, condition)

        @torch.no_grad()
        def reference(noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
            moved = None if self.reference is None else self.reference.weights
            if moved is not None:
                return backbone.predict(_WithWeights(self.unet, moved), noisy, timesteps, condition)
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
            shadows=tuple(self._frozen_policy(average) for average in self.shadows),
            teacher=None if self.teacher is None else self._frozen_policy(self.teacher),
            measured={} if self.teacher is None else self.teacher.measured,
        )
