"""SmPO: Diffusion-DPO with soft labels from a scorer, on images inverted by ReNoise.

"Smoothed Preference Optimization via ReNoise Inversion for Aligning Diffusion Models with Varied Human Preferences",
arXiv 2506.02698, ICML 2025. Released code: JaydenLyh/SmPO@8922d54, train.py and examples/sd15.sh.

    alpha  = probability that the winner wins: softmax of the two images' PickScores, each min-max-normalised
    x_t    by inversion of x_0 under the current policy, two predictions averaged in each step (inversion.py)
    loss   = -log sigmoid(kappa gamma (2 alpha - 1) l),   l Diffusion-DPO's logit

The paper's: -log sigmoid of (2 alpha - gamma') beta (...) with gamma' = 10; 9 inversion steps.
The released code's: the formula above with gamma = 10, which is another one; raw PickScore cosines between
    0.11543526500463486 and 0.28201571106910706; PickScore's label in place of the human one; a grid of 5 steps on SD1.5 and
    10 on SDXL; alpha of the FIRST pair of a batch for all of it, which is right only for one pair a forward pass;
    beta 2000 times 0.5 (SD1.5), 5000 times 0.5 (SDXL); the SD1.5 run STARTS FROM AN SFT checkpoint.
Our choice: each pair has its own alpha; any scorer, its bounds in its own unit (PickScore is logit-scaled here, 100 times
    the cosine). The human label needs no replacing: exchanging winner and loser turns both 2 alpha - 1 and l round, so
    the loss does not depend on the label. The implicit accuracy in the metrics is that of the scorer's label.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import pair_errors, pair_logit
from prefbench.reference_trainers.inversion import inverted_pair
from prefbench.reference_trainers.method import Constant, Method, Nets, PairBatch
from prefbench.reference_trainers.pair_loss import PairLoss

__all__ = ["METHOD", "Config", "smpo_loss", "soft_label", "step"]

_CODE = "JaydenLyh/SmPO@8922d54 [CODE]"


@dataclass(frozen=True)
class Config:
    """Constants of SmPO."""

    kappa: float
    """Multiplies the logit made of mean-squared errors, beside gamma (2 alpha - 1)."""
    gamma: float
    """Multiplies 2 alpha - 1."""
    grid_steps: int
    """Steps of the inversion over the whole noise schedule."""
    scorer: str
    """Whose scores make the soft labels."""
    score_low: float
    """The scorer's smallest score over the data, in its unit."""
    score_high: float
    """The scorer's largest score over the data, in its unit."""

    def __post_init__(self) -> None:
        for name, published in (("kappa", "1000 (SD1.5), 2500 (SDXL)"), ("gamma", "10")):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} = {value} is not a positive number. Published: {published}.")
        if not 1 <= self.grid_steps <= 500:
            raise UsageError(
                f"grid_steps = {self.grid_steps} must be from 1 to 500. Published: 5 (SD1.5), 10 (SDXL)."
            )
        if not self.score_low < self.score_high:
            raise UsageError(f"score_low = {self.score_low} must be below score_high = {self.score_high}.")


def soft_label(scores: Tensor, *, low: float, high: float) -> Tensor:
    """Probability alpha (B,) that the winner wins: softmax of (score - low) / (high - low), scores (B, 2).

    >>> soft_label(torch.tensor([[3.0, 1.0]]), low=1.0, high=3.0).item()  # 1 / (1 + e^-1)
    0.731...
    """
    return torch.softmax((scores - low) / (high - low), dim=1)[:, 0]


def smpo_loss(
    mse_w: Tensor,
    mse_l: Tensor,
    ref_mse_w: Tensor,
    ref_mse_l: Tensor,
    alpha: Tensor,
    *,
    kappa: float,
    gamma: float,
) -> PairLoss:
    """SmPO pair loss: -log sigmoid(kappa gamma (2 alpha - 1) l).

    Args:
        mse_w: policy's error on the winner, shape (B,), float32 or wider, MEAN over latent elements.
        mse_l: the same on the loser.
        ref_mse_w: the frozen reference's error on the winner.
        ref_mse_l: the same on the loser.
        alpha: probability that the winner wins, shape (B,), without gradient.
        kappa: multiplies l = (ref_mse_w - ref_mse_l) - (mse_w - mse_l).
        gamma: multiplies 2 alpha - 1.

    Returns:
        per_pair (B,), unreduced; logit sign(2 alpha - 1) l (B,), detached: > 0 where the policy prefers the image that
        the soft label prefers more than the reference does.

    Raises:
        ValueError: shapes differ, or kappa or gamma is not positive.

    Source: JaydenLyh/SmPO@8922d54 train.py [CODE], which takes alpha[0] for all pairs.
    """
    if not (kappa > 0 and gamma > 0):
        raise ValueError(f"kappa and gamma must be positive, got {kappa} and {gamma}")
    if alpha.shape != mse_w.shape:
        raise ValueError(
            f"alpha must have the shape {tuple(mse_w.shape)} of the errors, got {tuple(alpha.shape)}"
        )
    logit = pair_logit(mse_w, mse_l, ref_mse_w, ref_mse_l)
    certainty = 2 * alpha.detach() - 1
    log = {
        "mse_w": mse_w.detach().mean(),
        "mse_l": mse_l.detach().mean(),
        "certainty": certainty.abs().mean(),
        "scorer_agrees": (certainty > 0).to(mse_w.dtype).mean(),
    }
    per_pair = -F.logsigmoid(kappa * gamma * certainty * logit)
    return PairLoss(per_pair=per_pair, logit=(certainty.sign() * logit).detach(), log=log)


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """One uniform timestep a pair; policy and reference see the images that the policy inverted."""
    if nets.reference is None:
        raise ValueError("smpo needs nets.reference")
    pair = inverted_pair(nets, batch, draws, grid_steps=cfg.grid_steps, predictions=2, eta=0.0)
    with torch.no_grad():
        ref_mse_w, ref_mse_l = pair_errors(nets.reference, pair)
    mse_w, mse_l = pair_errors(nets.policy, pair)
    alpha = soft_label(batch.scores[cfg.scorer], low=cfg.score_low, high=cfg.score_high)
    return smpo_loss(mse_w, mse_l, ref_mse_w, ref_mse_l, alpha, kappa=cfg.kappa, gamma=cfg.gamma)


METHOD = Method(
    name="smpo",
    Config=Config,
    loss=smpo_loss,
    step=step,
    paper=(
        "Smoothed Preference Optimization via ReNoise Inversion for Aligning Diffusion Models with Varied Human "
        "Preferences, arXiv 2506.02698, ICML 2025"
    ),
    code="JaydenLyh/SmPO@8922d54",
    needs_reference=True,
    scorers=lambda config: (config.scorer,),
    presets=MappingProxyType(
        {
            "launcher": {
                "kappa": Constant(1000.0, f"beta 2000 x 0.5, SD1.5; 2500 on SDXL (beta 5000): {_CODE}"),
                "gamma": Constant(10.0, f"multiplies 2 alpha - 1: {_CODE}"),
                "grid_steps": Constant(5, f"SD1.5; 10 on SDXL: {_CODE}"),
                "scorer": Constant("pickscore", _CODE),
                "score_low": Constant(
                    11.543526500463486, f"raw cosine x 100, the scorer's unit here: {_CODE}"
                ),
                "score_high": Constant(
                    28.201571106910706, f"raw cosine x 100, the scorer's unit here: {_CODE}"
                ),
                "lr": Constant(1.024e-5, f"1e-8 with --scale_lr, times 1024 pairs a step: {_CODE}"),
                "steps": Constant(200, _CODE),
                "batch": Constant(1024, f"8 GPUs x 1 pair x 128 accumulated: {_CODE}"),
                "warm_up": Constant(0.5, f"100 of 200 steps: {_CODE}"),
            },
            "miniature": {
                "kappa": Constant(1000.0, f"ours, as {_CODE}"),
                "gamma": Constant(10.0, f"ours, as {_CODE}"),
                "grid_steps": Constant(5, f"ours, as {_CODE}"),
                "scorer": Constant("mini:pickscore", "ours"),
                "score_low": Constant(-8.3, "ours: the smallest score of 600 miniature pairs"),
                "score_high": Constant(16.0, "ours: the largest score of 600 miniature pairs"),
            },
            "miniature-lora": {},
        }
    ),
)
