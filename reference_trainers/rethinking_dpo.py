"""Rethinking DPO: a reference that is refreshed while it stays near, and more weight on early denoising steps.

Kang et al., "Rethinking Direct Preference Optimization in Diffusion Models", arXiv 2505.18736, AAAI 2026. The released
code (kaist-cvml/RethinkingDPO_Diffusion_Models) could not be read.

    l         = (L_ref(x_w) - L_ref(x_l)) - (L(x_w) - L(x_l)),  L the MEAN squared error against eps (or v)
    lambda(t) = 1 + norm(1 / sqrt(SNR(t))),  SNR = abar_t / (1 - abar_t)
    loss      = -log sigmoid(kappa lambda(t) l)
    reference <- policy every tau optimizer steps, if their predictions differ by less than delta

The paper's: a refresh every tau of 16, 32 or 64 steps, which diverges unless the policy-reference divergence is
    bounded by delta = 0.005 (SD1.5) or 0.002 (SDXL); early timesteps are drawn more often, with gamma = 0.9; lambda(t).
The released code's: nothing that we could read.
Ours, a RECONSTRUCTION: the bound as a gate on refreshes, and what it is measured on (reference_policy.py); tau 32 and
    kappa 2500 of Diffusion-DPO's launcher; "early" = the noisier half of the timesteps, gamma = the share drawn from
    it; norm = min-max over the schedule; the place of lambda(t), that of Diffusion-DPO's omega, inside the sigmoid.

With early = 0.5 and snr_weight = false this is Diffusion-DPO with `--reference refresh:TAU --reference-cap DELTA`,
settings that every method with a reference takes. v-prediction: the target is v, L(v) = L(eps) / abar_t, and delta is
counted in units of v.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import noisy_pair, pair_errors, pair_logit
from prefbench.reference_trainers.method import Constant, Method, Nets, PairBatch
from prefbench.reference_trainers.pair_loss import PairLoss

__all__ = ["METHOD", "Config", "early_timesteps", "rethinking_dpo_loss", "snr_weights", "step"]


@dataclass(frozen=True)
class Config:
    """Constants of Rethinking DPO beside those of the reference."""

    kappa: float
    """Multiplies the logit made of mean-squared errors."""
    early: float
    """Share of the timesteps drawn from the noisier half, where denoising starts; 0.5 is uniform."""
    snr_weight: bool
    """Multiply the logit by lambda(t), 1 at the cleanest timestep and 2 at the noisiest."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise UsageError(
                f"kappa = {self.kappa} is not a positive number. Diffusion-DPO's launcher has 2500."
            )
        if not 0 <= self.early <= 1:
            raise UsageError(
                f"early = {self.early} is not a share of the timesteps. Give 0 to 1; 0.5 is uniform."
            )


def snr_weights(alphas_cumprod: Tensor) -> Tensor:
    """Weights lambda(t) = 1 + min-max over t of sqrt((1 - abar) / abar), shape (T,), in [1, 2].

    Raises:
        UsageError: the schedule ends in pure noise (abar 0), or is constant.

    >>> snr_weights(torch.tensor([0.8, 0.5, 0.2])).tolist()  # 1 / sqrt(SNR) = 1/2, 1, 2
    [1.0, 1.333..., 2.0]
    """
    noise_to_signal = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    low, high = noise_to_signal.min(), noise_to_signal.max()
    if not (torch.isfinite(high) and high > low):
        raise UsageError(
            "snr_weight: 1 / sqrt(SNR) of the backbone's noise schedule has no finite range (its last timestep is pure "
            "noise, or all are alike). Set snr_weight=false."
        )
    return 1 + (noise_to_signal - low) / (high - low)


def early_timesteps(draws: Draws, count: int, early: float) -> Tensor:
    """Timesteps below `count`, one a row: uniform over the noisier half with probability `early`, else the other.

    With an odd count the noisier half is the smaller. Shape (rows,), int64.
    """
    clean, noisy = (
        draws.integers("timestep_clean", (count + 1) // 2),
        draws.integers("timestep_early", count // 2),
    )
    chosen = (draws.uniform("early") < early).to(clean.device)
    return torch.where(chosen, (count + 1) // 2 + noisy, clean)


def rethinking_dpo_loss(
    mse_w: Tensor,
    mse_l: Tensor,
    ref_mse_w: Tensor,
    ref_mse_l: Tensor,
    *,
    kappa: float,
    timestep_weight: Tensor,
) -> PairLoss:
    """-log sigmoid(kappa lambda(t) l).

    Args:
        mse_w: policy's error on the winner, shape (B,), float32 or wider, MEAN over latent elements.
        mse_l: the same on the loser, with the winner's noise and timestep.
        ref_mse_w: the reference's error on the winner.
        ref_mse_l: the same on the loser.
        kappa: multiplies l.
        timestep_weight: lambda of each pair's timestep, shape (B,); ones for Diffusion-DPO.

    Returns:
        per_pair (B,), unreduced; logit l (B,), detached, without lambda.

    Raises:
        ValueError: shapes differ, or kappa is not positive.

    Source: arXiv 2505.18736 [PAPER] for lambda; its place in the loss is a reconstruction.

    >>> z = torch.zeros(1)
    >>> rethinking_dpo_loss(z, z, z, z, kappa=2500.0, timestep_weight=z + 2).per_pair.item()
    0.6931...
    """
    if not kappa > 0:
        raise ValueError(f"kappa must be positive, got {kappa}")
    logit = pair_logit(mse_w, mse_l, ref_mse_w, ref_mse_l)
    if timestep_weight.shape != logit.shape:
        raise ValueError(
            f"timestep_weight must have shape ({len(logit)},), got {tuple(timestep_weight.shape)}"
        )
    scaled = kappa * timestep_weight * logit
    log = {
        "mse_w": mse_w.detach().mean(),
        "mse_l": mse_l.detach().mean(),
        "kappa_logit": kappa * logit.detach().mean(),
    }
    return PairLoss(per_pair=-F.logsigmoid(scaled), logit=logit.detach(), log=log)


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """One noise a pair, its timestep drawn early; policy and reference see the same noisy images."""
    if nets.reference is None:
        raise ValueError("rethinking_dpo needs nets.reference")
    noise = draws.normal("noise", tuple(batch.winner.shape[1:]))
    timesteps = early_timesteps(draws, len(nets.alphas_cumprod), cfg.early)
    pair = noisy_pair(batch, noise, timesteps, nets)
    with torch.no_grad():
        ref_mse_w, ref_mse_l = pair_errors(nets.reference, pair)
    mse_w, mse_l = pair_errors(nets.policy, pair)
    weight = torch.ones_like(mse_w.detach())
    if cfg.snr_weight:
        weight = snr_weights(nets.alphas_cumprod.to(weight))[timesteps]
    return rethinking_dpo_loss(mse_w, mse_l, ref_mse_w, ref_mse_l, kappa=cfg.kappa, timestep_weight=weight)


_PAPER = "arXiv 2505.18736 [PAPER]"

_SHARED = {
    "kappa": Constant(2500.0, "reconstruction: Diffusion-DPO's launcher, as all shared constants here"),
    "early": Constant(0.9, f"gamma: {_PAPER}; as the share of the noisier half it is a reconstruction"),
    "snr_weight": Constant(True, f"lambda(t): {_PAPER}; its place in the loss is a reconstruction"),
    "reference": Constant(
        "refresh:32", f"tau is 16, 32 or 64 in {_PAPER}; which goes with which model is not known"
    ),
    "reference_cap": Constant(
        0.005, f"delta of SD1.5: {_PAPER}; as a gate it is a reconstruction; 0.002 for SDXL"
    ),
}

METHOD = Method(
    name="rethinking_dpo",
    Config=Config,
    loss=rethinking_dpo_loss,
    step=step,
    paper="Kang et al., Rethinking Direct Preference Optimization in Diffusion Models, arXiv 2505.18736, AAAI 2026",
    code="none that could be read: kaist-cvml/RethinkingDPO_Diffusion_Models is named in the paper",
    needs_reference=True,
    presets=MappingProxyType(
        {
            "launcher": _SHARED,
            "miniature": _SHARED
            | {
                "kappa": Constant(
                    1000.0, "ours: as diffusion_dpo, so that the reference and the timesteps differ"
                ),
                "reference": Constant(
                    "refresh:16", "ours: the least of the published, for a run of 120 steps"
                ),
            },
            "miniature-lora": {"kappa": Constant(1500.0, "ours: as diffusion_dpo")},
        }
    ),
)
