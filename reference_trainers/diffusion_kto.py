"""Diffusion-KTO: learning from single images that are desirable or not, without pairs.

Li et al., "Aligning Diffusion Models by Optimizing Human Utility", arXiv 2404.04465, NeurIPS 2024.
Released code: jacklishufan/diffusion-kto@226bbd0, train_kto_sd_v1.5.py (utilities also read at @6a24480).

    g      = L_ref(x) - L(x)                    per image, L the mean over latent elements of (net - y)^2
    z0     = max(0, mean of g over the batch)   the reference point, without gradient
    loss   = lambda * (1 - U(label * kappa * (g - z0)))       U = sigmoid, label +1 or -1

The paper's: the objective; beta 5000; desirable = preferred at least once, undesirable = never preferred; a batch of 8
    images; AdamW.
The released code's: beta 1000 unless told otherwise, with no factor 0.5, so kappa is beta; noise and timestep are drawn
    for each image; images are drawn with replacement so that a share `positive_ratio` is desirable (0.8 in the launcher,
    0.5 the parser's default); the mean in z0 is over the images of one forward pass on ALL processes, and each
    accumulated pass has its own z0; loss-averse and three risk-seeking utilities; two other reference points,
    "sigmoid" (class-balanced) and "original" (prompts rolled by one image), which are not cut at 0.
Our choice: AdamW also for the launcher (the code takes 8-bit Adam); the miniature constants. RECONSTRUCTION: the exact
    formula of the "sigmoid" reference point was not readable; here it is the mean of the two class means of g.

Because z0 is a mean over a pass, the loss depends on micro_batch x processes, not on micro_batch alone: two processes
with micro_batch 4 make the steps of one process with micro_batch 8.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.data_order import OrderContext, WeightedClasses
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import add_noise, mse_per_image, prediction_target
from prefbench.reference_trainers.method import Condition, Constant, Denoiser, ImageBatch, Method, Nets
from prefbench.reference_trainers.pair_loss import PairLoss

__all__ = ["METHOD", "UTILITIES", "Config", "balanced_mean", "kto_loss", "order", "step"]

_CODE = "jacklishufan/diffusion-kto@226bbd0 [CODE]"
_PAPER = "arXiv 2404.04465 [PAPER]"

UTILITIES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "sigmoid": lambda label, z: torch.sigmoid(label * z),
        "loss_averse": lambda label, z: F.logsigmoid(label * z),
        "risk_seeking_1": lambda label, z: -label * F.logsigmoid(-z),
        "risk_seeking_2": lambda label, z: label * torch.exp(z / 100) - 1,
        "risk_seeking_3": lambda label, z: -F.logsigmoid(-label * z),
    }
)
"""(label, kappa (g - z0)) -> utility, by the released code's names of `--halo` (@6a24480)."""


@dataclass(frozen=True)
class Config:
    """Constants of Diffusion-KTO."""

    kappa: float
    """Multiplies g - z0, made of mean-squared errors; the released code's beta."""
    positive_ratio: float
    """Share of desirable images among those drawn, between 0 and 1."""
    utility: Literal["sigmoid", "loss_averse", "risk_seeking_1", "risk_seeking_2", "risk_seeking_3"] = (
        "sigmoid"
    )
    """A key of UTILITIES."""
    reference_point: Literal["batch_mean", "sigmoid", "original"] = "batch_mean"
    """z0: max(0, mean of g); "sigmoid": class-balanced mean of g; "original": mean of g under rolled prompts."""
    desirable_weight: float = 1.0
    """lambda of desirable images."""
    undesirable_weight: float = 1.0
    """lambda of undesirable images."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise UsageError(
                f"kappa = {self.kappa} is not a positive number. Published: 1000 (released code), 5000 (paper)."
            )
        if not 0 < self.positive_ratio < 1:
            raise UsageError(
                f"positive_ratio = {self.positive_ratio} must lie between 0 and 1, both excluded. Published: 0.8."
            )
        for name in ("desirable_weight", "undesirable_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"{name} = {getattr(self, name)} is not a positive number. Published: 1.")


def kto_loss(
    mse: Tensor,
    ref_mse: Tensor,
    label: Tensor,
    reference_point: Tensor,
    *,
    kappa: float,
    utility: Callable[[Tensor, Tensor], Tensor],
    desirable_weight: float,
    undesirable_weight: float,
) -> PairLoss:
    """Diffusion-KTO loss per image: lambda (1 - U(label, kappa (g - z0))), g = ref_mse - mse.

    Args:
        mse: policy's error, shape (B,), float32 or wider, MEAN over latent elements.
        ref_mse: the reference's error on the same noisy image.
        label: +1 desirable, -1 undesirable, shape (B,).
        reference_point: z0, shape (), no gradient flows into it.
        kappa: multiplies g - z0.
        utility: one of UTILITIES.
        desirable_weight: lambda where label is +1.
        undesirable_weight: lambda where label is -1.

    Returns:
        per_pair (B,), one entry an image, unreduced; logit = label (g - z0), detached, > 0 where the policy moved the
        image the way of its label.

    Raises:
        ValueError: shapes differ, a label is neither +1 nor -1, or kappa is not positive.

    Source: jacklishufan/diffusion-kto@226bbd0 train_kto_sd_v1.5.py [CODE].

    >>> z = torch.zeros(1)
    >>> terms = {"utility": UTILITIES["sigmoid"], "desirable_weight": 1.0, "undesirable_weight": 1.0}
    >>> kto_loss(z, z, z + 1, z[0], kappa=1000.0, **terms).per_pair.item()  # policy == reference
    0.5
    """
    if not (mse.shape == ref_mse.shape == label.shape) or mse.ndim != 1:
        shapes = [tuple(value.shape) for value in (mse, ref_mse, label)]
        raise ValueError(f"mse, ref_mse and label must all have one shape (B,), got {shapes}")
    if reference_point.ndim:
        raise ValueError(f"reference_point is one number, got shape {tuple(reference_point.shape)}")
    if not (label.abs() == 1).all():
        raise ValueError("label must be +1 or -1")
    if not kappa > 0:
        raise ValueError(f"kappa must be positive, got {kappa}")
    z0 = reference_point.detach()
    gain = ref_mse - mse - z0
    positive = (label > 0).to(gain.dtype)
    weight = desirable_weight * positive + undesirable_weight * (1 - positive)
    log = {
        "mse": mse.detach().mean(),
        "reference_point": z0.clone(),
        "kappa_gain_desirable": kappa * _mean_where(gain, label > 0),
        "kappa_gain_undesirable": kappa * _mean_where(gain, label < 0),
        "share_desirable": positive.mean(),
    }
    per_image = weight * (1 - utility(label, kappa * gain))
    return PairLoss(per_pair=per_image, logit=(label * gain).detach(), log=log)


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask; NaN (nothing to measure) where it is empty."""
    return values.detach()[mask].mean()


def balanced_mean(gain: Tensor, label: Tensor, process_mean: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of the class means of `gain` over all processes; of one class alone where the other is absent."""
    positive = (label > 0).to(gain.dtype)
    sums = torch.stack([positive @ gain, positive.sum(), (1 - positive) @ gain, (1 - positive).sum()])
    totals = process_mean(sums)
    means = [totals[i] / totals[i + 1] for i in (0, 2) if totals[i + 1] > 0]
    return torch.stack(means).mean()


def order(context: OrderContext) -> WeightedClasses:
    """Images with replacement, a share `positive_ratio` of them desirable in the long run."""
    assert context.images is not None  # the method's unit is "image"
    desirable = context.images.desirable
    return WeightedClasses(
        seed=context.seed,
        first=np.flatnonzero(desirable),
        second=np.flatnonzero(~desirable),
        share=context.config.positive_ratio,
        batch=context.batch,
        steps=context.steps,
    )


def _rolled_gain(
    nets: Nets, reference: Denoiser, noisy: Tensor, t: Tensor, condition: Condition, y: Tensor
) -> Tensor:
    """G of each noisy image under the prompt of the image before it, without gradient."""
    if len(noisy) < 2:
        raise UsageError(
            "reference_point = original rolls the prompts of a pass by one image, and a pass has one image. Set micro_"
            "batch to 2 or more."
        )
    rolled = {name: value.roll(1, dims=0) for name, value in condition.items()}
    with torch.no_grad():
        return mse_per_image(reference(noisy, t, rolled), y) - mse_per_image(nets.policy(noisy, t, rolled), y)


def step(nets: Nets, batch: ImageBatch, draws: Draws, cfg: Config) -> PairLoss:
    """One noise and one uniform timestep an image; z0 from the images of this pass on all processes."""
    if nets.reference is None:
        raise ValueError("diffusion_kto needs nets.reference")
    noise = draws.normal("noise", tuple(batch.latents.shape[1:]))
    t = draws.integers("timestep", len(nets.alphas_cumprod))
    noisy = add_noise(batch.latents, noise, t, nets.alphas_cumprod)
    target = prediction_target(batch.latents, noise, t, nets.alphas_cumprod, nets.prediction_type)
    with torch.no_grad():
        ref_mse = mse_per_image(nets.reference(noisy, t, batch.condition), target)
    if cfg.reference_point == "original":
        shifted = _rolled_gain(nets, nets.reference, noisy, t, batch.condition, target)
        point = nets.process_mean(shifted.mean())
    mse = mse_per_image(nets.policy(noisy, t, batch.condition), target)
    gain = (ref_mse - mse).detach()
    if cfg.reference_point == "batch_mean":
        point = nets.process_mean(gain.mean()).clamp(min=0)
    elif cfg.reference_point == "sigmoid":
        point = balanced_mean(gain, batch.label, nets.process_mean)
    return kto_loss(
        mse,
        ref_mse,
        batch.label,
        point,
        kappa=cfg.kappa,
        utility=UTILITIES[cfg.utility],
        desirable_weight=cfg.desirable_weight,
        undesirable_weight=cfg.undesirable_weight,
    )


METHOD = Method(
    name="diffusion_kto",
    Config=Config,
    loss=kto_loss,
    step=step,
    paper="Li et al., Aligning Diffusion Models by Optimizing Human Utility, arXiv 2404.04465, NeurIPS 2024",
    code="jacklishufan/diffusion-kto@226bbd0",
    needs_reference=True,
    unit="image",
    order=order,
    presets=MappingProxyType(
        {
            "launcher": {
                "kappa": Constant(1000.0, f"beta, the parser's default: {_CODE}"),
                "positive_ratio": Constant(0.8, f"launcher; 0.5 is the parser's default: {_CODE}"),
                "lr": Constant(1e-7, _CODE),
                "steps": Constant(20000, _CODE),
                "batch": Constant(
                    8,
                    f"2 x 4 GPUs: {_CODE}; exps/example.sh@1c652b9 also accumulates 256 passes (2048 images)",
                ),
                "micro_batch": Constant(2, _CODE),
                "warm_up": Constant(0.01, f"200 of 20000 steps: {_CODE}"),
            },
            "paper": {
                "kappa": Constant(5000.0, f"beta, no factor 0.5: {_PAPER}"),
                "positive_ratio": Constant(0.8, f"not found in the paper; the launcher's: {_CODE}"),
                "lr": Constant(1e-7, _PAPER),
                "steps": Constant(10000, _PAPER),
                "batch": Constant(8, f"4 A6000 x 2: {_PAPER}"),
                "micro_batch": Constant(2, _PAPER),
                "warm_up": Constant(0.1, f"1000 of 10000 steps: {_PAPER}"),
            },
            "miniature": {
                "kappa": Constant(1000.0, f"ours, as the released code: {_CODE}"),
                "positive_ratio": Constant(0.8, f"ours, as the launcher: {_CODE}"),
            },
            "miniature-lora": {},
        }
    ),
)
