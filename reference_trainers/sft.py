"""SFT on winners: the plain denoising loss on the preferred image of each pair.

The control at matched steps for every preference method. Released code:
SalesforceAIResearch/DiffusionDPO@5233e75, train.py with `--train_method sft`; paper: arXiv 2311.12908.

    loss = mean over latent elements of (net(x_t, t, c) - y)^2 on the winner, t uniform, no reference, no
    weighting

The paper's: that it is a baseline; its learning rate 1e-9.
The released code's: the mean over elements, uniform t, the same launcher schedule as for Diffusion-DPO.
Our choice: the miniature constants. No implicit accuracy is logged, since no pair is compared.
"""

from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import add_noise, mse_per_image, prediction_target
from prefbench.reference_trainers.method import Constant, Method, Nets, PairBatch
from prefbench.reference_trainers.pair_loss import PairLoss

__all__ = ["METHOD", "Config", "sft_loss", "step"]


@dataclass(frozen=True)
class Config:
    """SFT has no constants of its own."""


def sft_loss(mse_w: Tensor) -> PairLoss:
    """The winner's error itself.

    Args:
        mse_w: policy's error on the winner, shape (B,), MEAN over latent elements.

    Returns:
        per_pair = mse_w; logit None, since no pair is compared.

    Raises:
        ValueError: mse_w is not one-dimensional.

    >>> import torch
    >>> sft_loss(torch.tensor([0.25, 0.5])).per_pair.tolist()
    [0.25, 0.5]
    """
    if mse_w.ndim != 1:
        raise ValueError(f"mse_w must have shape (B,), got {tuple(mse_w.shape)}")
    return PairLoss(per_pair=mse_w, logit=None)


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """One noise and one uniform timestep a winner; the loser is not looked at."""
    noise = draws.normal("noise", tuple(batch.winner.shape[1:]))
    timesteps = draws.integers("timestep", len(nets.alphas_cumprod))
    noisy = add_noise(batch.winner, noise, timesteps, nets.alphas_cumprod)
    target = prediction_target(batch.winner, noise, timesteps, nets.alphas_cumprod, nets.prediction_type)
    return sft_loss(mse_per_image(nets.policy(noisy, timesteps, batch.condition), target))


METHOD = Method(
    name="sft",
    Config=Config,
    loss=sft_loss,
    step=step,
    paper="The SFT baseline of Wallace et al., arXiv 2311.12908, CVPR 2024",
    code="SalesforceAIResearch/DiffusionDPO@5233e75",
    needs_reference=False,
    uses_loser=False,
    presets=MappingProxyType(
        {
            "launcher": {},
            "paper": {"lr": Constant(1e-9, "SFT learning rate, arXiv 2311.12908 [PAPER]")},
            "miniature": {},
            "miniature-lora": {},
        }
    ),
)
