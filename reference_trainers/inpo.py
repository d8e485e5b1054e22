"""InPO: Diffusion-DPO on images that the current policy inverted, instead of images with random noise.

"InPO: Inversion Preference Optimization with Reparametrized DDIM for Efficient Diffusion Model Alignment", arXiv
2503.18454, CVPR 2025. Released code: JaydenLyh/InPO@a9cfc4d, train.py and examples/sd15.sh.

    x_t    by DDIM inversion of x_0 on a grid of 10 steps under the current policy, without gradient and guidance; after
           each step 0.1 x sigma x noise is added (inversion.py)
    eps    = (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t), each image its own
    loss   = Diffusion-DPO's with this x_t and eps as the target

The paper's: the reparametrization by inversion.
The released code's: every constant; beta 2000 times 0.5 on SD1.5, 5000 times 0.5 on SDXL; the SD1.5 run STARTS FROM AN SFT
    checkpoint (`--unet_init`), so a reported gain over SD1.5 holds the gain of SFT. Give such a checkpoint as
    --backbone for the published setting.
Our choice: what inversion.py says; the miniature constants.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.diffusion_dpo import dpo_loss
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import pair_errors
from prefbench.reference_trainers.inversion import inverted_pair
from prefbench.reference_trainers.method import Constant, Method, Nets, PairBatch
from prefbench.reference_trainers.pair_loss import PairLoss

__all__ = ["METHOD", "Config", "step"]

_CODE = "JaydenLyh/InPO@a9cfc4d [CODE]"


@dataclass(frozen=True)
class Config:
    """Constants of InPO."""

    kappa: float
    """Multiplies the logit made of mean-squared errors; beta/2 in the released code's convention."""
    grid_steps: int
    """Steps of the inversion over the whole noise schedule."""
    eta: float
    """Times the standard deviation of a DDIM step: noise added after each step of the inversion."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise UsageError(
                f"kappa = {self.kappa} is not a positive number. Published: 1000 (SD1.5), 2500 (SDXL)."
            )
        if not 1 <= self.grid_steps <= 500:
            raise UsageError(f"grid_steps = {self.grid_steps} must be from 1 to 500. Published: 10.")
        if not (math.isfinite(self.eta) and self.eta >= 0):
            raise UsageError(f"eta = {self.eta} must be a number, not negative. Published: 0.1.")


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """One uniform timestep a pair; policy and reference see the images that the policy inverted."""
    if nets.reference is None:
        raise ValueError("inpo needs nets.reference")
    pair = inverted_pair(nets, batch, draws, grid_steps=cfg.grid_steps, predictions=1, eta=cfg.eta)
    with torch.no_grad():
        ref_mse_w, ref_mse_l = pair_errors(nets.reference, pair)
    mse_w, mse_l = pair_errors(nets.policy, pair)
    return dpo_loss(mse_w, mse_l, ref_mse_w, ref_mse_l, kappa=cfg.kappa)


METHOD = Method(
    name="inpo",
    Config=Config,
    loss=dpo_loss,
    step=step,
    paper=(
        "InPO: Inversion Preference Optimization with Reparametrized DDIM for Efficient Diffusion Model Alignment, "
        "arXiv 2503.18454, CVPR 2025"
    ),
    code="JaydenLyh/InPO@a9cfc4d",
    needs_reference=True,
    presets=MappingProxyType(
        {
            "launcher": {
                "kappa": Constant(1000.0, f"beta 2000 x 0.5, SD1.5; 2500 on SDXL (beta 5000): {_CODE}"),
                "grid_steps": Constant(10, _CODE),
                "eta": Constant(0.1, f"inversion_eta: {_CODE}"),
                "lr": Constant(1.024e-5, f"1e-8 with --scale_lr, times 1024 pairs a step: {_CODE}"),
                "steps": Constant(400, _CODE),
                "batch": Constant(1024, f"8 GPUs x 1 pair x 128 accumulated: {_CODE}"),
                "warm_up": Constant(0.5, f"200 of 400 steps: {_CODE}"),
            },
            "miniature": {
                "kappa": Constant(1000.0, f"ours, as {_CODE}"),
                "grid_steps": Constant(10, f"ours, as {_CODE}"),
                "eta": Constant(0.1, f"ours, as {_CODE}"),
            },
            "miniature-lora": {"kappa": Constant(1500.0, "ours: as diffusion_dpo")},
        }
    ),
)
