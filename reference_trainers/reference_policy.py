"""What the reference network of a run does while the policy trains: stay, be refreshed, or follow.

    fixed         the frozen start, as in Diffusion-DPO (arXiv 2311.12908) and nearly all later work
    refresh:TAU   reference <- policy after every TAU-th optimizer step; refresh:inf is fixed
    ema:DECAY     reference <- DECAY x reference + (1 - DECAY) x policy after every optimizer step

A divergence cap lets a due refresh (or an EMA update) happen only while the mean squared difference of the two
networks' predictions, on noised images of that step's last micro-batch, is below the cap.

Published: that BalancedDPO (arXiv 2503.12575) updates its reference dynamically, without a period or decay that we
    could read; that "Rethinking DPO" (arXiv 2505.18736) refreshes every 16, 32 or 64 steps, that this diverges unless
    the policy-reference divergence is bounded, and its bounds 0.005 (SD1.5) and 0.002 (SDXL).
Ours (reconstruction): what the divergence is measured on, that a refresh over the cap is left out and tried again
    when the next one is due, and the plain decay of `ema`, which starts at the initial weights (the warm-up of
    diffusers' EMAModel would replace the reference by the policy after the first step).

With LoRA the reference is a copy of the adapters, so `ema` averages the two factors, not their product.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import add_noise, mse_per_image
from prefbench.reference_trainers.method import ImageBatch, Nets, PairBatch, RankBatch

__all__ = ["MovingReference", "ReferenceConfig", "ReferenceRule", "parse_reference", "prediction_divergence"]

FORMS = "fixed, refresh:TAU (optimizer steps, or inf) or ema:DECAY (0 to 1)"


@dataclass(frozen=True)
class ReferenceRule:
    """A parsed reference policy.

    Attributes:
        kind: what happens when an update is due; "fixed" also stands for refresh:inf and ema:1.
        every: optimizer steps between updates.
        decay: share of the old reference that an update keeps; 0 copies the policy.
    """

    kind: Literal["fixed", "refresh", "ema"]
    every: int = 1
    decay: float = 0.0

    def due(self, steps: int) -> bool:
        """Whether the reference moves after optimizer step number `steps`, counted from 1."""
        return self.kind != "fixed" and steps % self.every == 0


def parse_reference(text: str) -> ReferenceRule:
    """The rule behind "fixed", "refresh:TAU" or "ema:DECAY".

    Raises:
        UsageError: anything else, with the forms that exist.

    >>> parse_reference("refresh:64")
    ReferenceRule(kind='refresh', every=64, decay=0.0)
    >>> parse_reference("refresh:inf").kind
    'fixed'
    """
    kind, colon, value = text.strip().partition(":")
    if kind == "fixed" and not colon:
        return ReferenceRule("fixed")
    if kind == "refresh":
        if value == "inf":
            return ReferenceRule("fixed")
        if value.isascii() and value.isdigit() and int(value) > 0:
            return ReferenceRule("refresh", every=int(value))
        raise UsageError(
            f"reference = {text!r}: after 'refresh:' stands the number of optimizer steps between copies, 1 or more, "
            "or inf. Example: refresh:64."
        )
    if kind == "ema":
        try:
            decay = float(value)
        except ValueError:
            decay = math.nan
        if decay == 1:
            return ReferenceRule("fixed")
        if 0 <= decay < 1:
            return ReferenceRule("ema", decay=decay)
        raise UsageError(
            f"reference = {text!r}: after 'ema:' stands the share of the old reference that each optimizer step "
            "keeps, 0 to 1. Example: ema:0.99."
        )
    raise UsageError(f"reference = {text!r} is no reference policy. Give {FORMS}.")


@dataclass(frozen=True)
class ReferenceConfig:
    """What the reference does; the same settings for every method that has one."""

    reference: str = "fixed"
    """fixed, refresh:TAU (copy of the policy every TAU optimizer steps, or inf) or ema:DECAY."""
    reference_cap: float | None = None
    """Move the reference only while the mean squared difference of predictions is below; none for no cap."""

    def __post_init__(self) -> None:
        rule = self.rule
        if self.reference_cap is None:
            return
        if not (math.isfinite(self.reference_cap) and self.reference_cap > 0):
            raise UsageError(
                f"reference_cap = {self.reference_cap} is not a positive number. Published: 0.005 (SD1.5) and 0.002 "
                "(SDXL), arXiv 2505.18736; none for no cap."
            )
        if rule.kind == "fixed":
            raise UsageError(
                f"reference_cap = {self.reference_cap} bounds the moves of a reference, and reference = "
                f"{self.reference} never moves. Set reference=refresh:TAU or ema:DECAY, or reference_cap=none."
            )

    @property
    def rule(self) -> ReferenceRule:
        """The parsed policy."""
        return parse_reference(self.reference)


class MovingReference:
    """The weights of a reference that moves: fp32, of trained parameters only, without gradient.

    Full fine-tuning: a copy of the start, in place of a frozen network. LoRA: nothing until the first move, because
    the start is the network without adapters.

    Args:
        rule: when and how far it moves.
        trained: the parameters in training, by name, at their start.
        keep_start: whether the start must be held (full fine-tuning) or is at hand without weights (LoRA).
    """

    def __init__(self, rule: ReferenceRule, trained: Mapping[str, Tensor], *, keep_start: bool) -> None:
        self.rule = rule
        self.moves = 0
        self._keep_start = keep_start
        # An average over adapters needs their start; a refresh with LoRA does not.
        held = keep_start or rule.kind == "ema"
        self._weights = {name: _copy(value) for name, value in trained.items()} if held else {}

    @property
    def weights(self) -> Mapping[str, Tensor] | None:
        """Parameters to evaluate the network with; None while the reference is still the network as it came."""
        return self._weights if self.moves or self._keep_start else None

    @torch.no_grad()
    def move(self, trained: Mapping[str, Tensor]) -> None:
        """One update towards the policy: a copy, or a step of the moving average."""
        for name, value in trained.items():
            if self.rule.kind == "refresh":
                self._weights[name] = _copy(value)
            else:
                self._weights[name].lerp_(value.detach().float(), 1 - self.rule.decay)
        self.moves += 1

    def state(self) -> dict[str, Tensor]:
        """Everything that a resume needs, as tensors by name."""
        return {"moves": torch.tensor(self.moves)} | {f"weights.{k}": v for k, v in self._weights.items()}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take up `state` where an earlier process left it."""
        self.moves = int(state["moves"])
        prefix = "weights."
        self._weights = {
            name.removeprefix(prefix): value.to(device)
            for name, value in state.items()
            if name.startswith(prefix)
        }


@torch.no_grad()
def prediction_divergence(nets: Nets, batch: PairBatch | ImageBatch | RankBatch, draws: Draws) -> Tensor:
    """Mean over images and elements of (policy - reference)^2 at one fresh timestep and noise a row, 0-d.

    Winner and loser of a pair, and the images of a list, share both. In squared units of the prediction, so that it
    compares with a cap such as 0.005 whatever the latent's size. Ours: the published quantity is known by its bound
    alone.
    """
    if nets.reference is None:
        raise ValueError("a divergence needs nets.reference")
    images = (batch.winner, batch.loser) if isinstance(batch, PairBatch) else (batch.latents, None)
    noise = draws.normal("divergence_noise", tuple(images[0].shape[1:]))
    timesteps = draws.integers("divergence_timestep", len(nets.alphas_cumprod))
    if isinstance(batch, RankBatch):
        noise, timesteps = noise[batch.place], timesteps[batch.place]
    squares = []
    for latents in images:
        if latents is not None:
            noisy = add_noise(latents, noise, timesteps, nets.alphas_cumprod)
            inputs = (noisy, timesteps, batch.condition)
            squares.append(mse_per_image(nets.policy(*inputs), nets.reference(*inputs)))
    return torch.cat(squares).mean()


def _copy(value: Tensor) -> Tensor:
    return value.detach().to(torch.float32, copy=True)
