"""Diffusion-DPO: direct preference optimization of a diffusion model on pairs of images.

Wallace et al., "Diffusion Model Alignment Using Direct Preference Optimization", arXiv 2311.12908, CVPR 2024.
Released code: SalesforceAIResearch/DiffusionDPO@5233e75, train.py and launchers/sd15.sh.

    L(x)  = mean over latent elements of (net(x_t, t, c) - y)^2        y = eps (or v)
    l     = (L_ref(x_w) - L_ref(x_l)) - (L(x_w) - L(x_l))
    loss  = -log sigmoid(kappa * l)

The paper's: the objective; beta 2000 for SD1.5 (kappa 1000); weights omega constant; ties left out; 2048
    pairs a step.
The released code's: the MEAN over elements (the paper's pseudocode sums), the factor 0.5 before beta, so that
    the launchers' beta 5000 is kappa 2500; the same t and the same noise for both images of a pair; captions
    dropped with p = 0.2, for both images together; independent horizontal flips; a full frozen copy as the
    reference.
Our choice: the miniature constants; LoRA (the released code has none); logit 0 (policy equals reference, as
    in the first step) counts half in the implicit accuracy, which the loop computes as the share of logits
    above 0.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import noisy_pair, pair_errors
from prefbench.reference_trainers.method import Constant, Method, Nets, PairBatch
from prefbench.reference_trainers.pair_loss import PairLoss

__all__ = ["METHOD", "Config", "dpo_loss", "step"]

KAPPA = MappingProxyType(
    {
        "launcher": Constant(
            2500.0, "beta 5000 x 0.5: SalesforceAIResearch/DiffusionDPO@5233e75 launchers/sd15.sh [CODE]"
        ),
        "paper": Constant(1000.0, "beta 2000 for SD1.5 x 0.5 of the released code: arXiv 2311.12908 [PAPER]"),
        "miniature": Constant(1000.0, "ours: 500 to 2500 all worked in the miniature world, one seed each"),
        "miniature-lora": Constant(1500.0, "ours: the LoRA setting measured in the miniature world"),
    }
)


@dataclass(frozen=True)
class Config:
    """Constants of Diffusion-DPO."""

    kappa: float
    """Multiplies the logit made of mean-squared errors; beta/2 in the released code's convention."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise UsageError(
                f"kappa = {self.kappa} is not a positive number. Published: 2500 (launcher), 1000 (paper)."
            )


def dpo_loss(mse_w: Tensor, mse_l: Tensor, ref_mse_w: Tensor, ref_mse_l: Tensor, *, kappa: float) -> PairLoss:
    """Diffusion-DPO pair loss: -log sigmoid(kappa * l), l = (ref_mse_w - ref_mse_l) - (mse_w - mse_l).

    Args:
        mse_w: policy's error on the winner, shape (B,), float32 or wider, MEAN over latent elements.
        mse_l: the same on the loser, with the winner's noise and timestep.
        ref_mse_w: the frozen reference's error on the winner.
        ref_mse_l: the same on the loser.
        kappa: multiplies l; 2500 in the released launcher, 1000 by the paper's text for SD1.5.

    Returns:
        per_pair (B,), unreduced; logit l (B,), detached, > 0 where the policy prefers the winner more than
        the reference does.

    Raises:
        ValueError: shapes differ, or kappa is not positive.

    Source: SalesforceAIResearch/DiffusionDPO@5233e75 train.py [CODE].

    >>> z = torch.zeros(1)
    >>> dpo_loss(z, z, z, z, kappa=2500.0).per_pair.item()  # policy == reference gives log 2
    0.6931...
    """
    shapes = [tuple(error.shape) for error in (mse_w, mse_l, ref_mse_w, ref_mse_l)]
    if len(set(shapes)) != 1 or len(shapes[0]) != 1:
        raise ValueError(f"mse_w, mse_l, ref_mse_w, ref_mse_l must all have one shape (B,), got {shapes}")
    if not kappa > 0:
        raise ValueError(f"kappa must be positive, got {kappa}")
    logit = (ref_mse_w - ref_mse_l) - (mse_w - mse_l)
    log = {
        "mse_w": mse_w.detach().mean(),
        "mse_l": mse_l.detach().mean(),
        "kappa_logit": kappa * logit.detach().mean(),
    }
    return PairLoss(per_pair=-F.logsigmoid(kappa * logit), logit=logit.detach(), log=log)


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """One noise and one uniform timestep a pair; policy and reference see the same noisy images."""
    if nets.reference is None:
        raise ValueError("diffusion_dpo needs nets.reference")
    noise = draws.normal("noise", tuple(batch.winner.shape[1:]))
    timesteps = draws.integers("timestep", len(nets.alphas_cumprod))
    pair = noisy_pair(batch, noise, timesteps, nets)
    with torch.no_grad():
        ref_mse_w, ref_mse_l = pair_errors(nets.reference, pair)
    mse_w, mse_l = pair_errors(nets.policy, pair)
    return dpo_loss(mse_w, mse_l, ref_mse_w, ref_mse_l, kappa=cfg.kappa)


METHOD = Method(
    name="diffusion_dpo",
    Config=Config,
    loss=dpo_loss,
    step=step,
    paper=(
        "Wallace et al., Diffusion Model Alignment Using Direct Preference Optimization, arXiv 2311.12908, "
        "CVPR 2024"
    ),
    code="SalesforceAIResearch/DiffusionDPO@5233e75",
    needs_reference=True,
    presets=MappingProxyType(
        {
            **{name: {"kappa": constant} for name, constant in KAPPA.items()},
            "paper": {
                "kappa": KAPPA["paper"],
                "lr": Constant(
                    2.048e-8,
                    "(2000 / beta) x 2.048e-8, arXiv 2311.12908 [PAPER]; a thousandth of the launcher's, "
                    "which is the one that later work copies",
                ),
            },
        }
    ),
)
