"""Diffusion-NPO: a network that prefers what people reject, for the negative branch of guidance.

"Diffusion-NPO: Negative Preference Optimization for Better Preference Aligned Generation of Diffusion Models", ICLR
2025. Released code: G-U-N/Diffusion-NPO@a14f1db (DPO-DPO-NPO/train_sd15.py and gen.py read at @5b5fc9c).

    training:    Diffusion-DPO with winner and loser exchanged
    generation:  eps = eps_neg(x_t, negative prompt) + guidance (eps_pos(x_t, prompt) - eps_neg(x_t, negative prompt))

    eps_neg is the network trained here, eps_pos the base or any preference-tuned model of it.

The paper's: the idea and both formulas.
The released code's: the diffusers LoRA script on exchanged images; beta 500 with no factor 0.5, so kappa 500;
    generation puts a second UNet into the pipeline, and merges the positive model's weights into the negative one
    with `merge_weight`, whose default leaves it out.
Our choice: full fine-tuning as well; no merging: the negative network is base + what was trained.

`prefbench bench --checkpoint NAME=OUT` draws with the base as eps_pos; `NAME=npo:OUT@BASE` with BASE. The logit, and so the
implicit accuracy in the metrics, is that of the exchanged label: above 1/2 the network prefers the rejected image.
"""

from dataclasses import replace
from types import MappingProxyType

from torch import Tensor

from prefbench.reference_trainers import diffusion_dpo
from prefbench.reference_trainers.diffusion_dpo import Config, dpo_loss
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.method import Constant, Method, Nets, PairBatch
from prefbench.reference_trainers.pair_loss import PairLoss

__all__ = ["METHOD", "Config", "npo_loss", "step"]

_CODE = "G-U-N/Diffusion-NPO@a14f1db DPO-DPO-NPO/run_sd15.sh [CODE]"


def npo_loss(mse_w: Tensor, mse_l: Tensor, ref_mse_w: Tensor, ref_mse_l: Tensor, *, kappa: float) -> PairLoss:
    """Diffusion-DPO's loss with winner and loser exchanged: -log sigmoid(-kappa l), l the logit of the true label.

    Args:
        mse_w: policy's error on the preferred image, shape (B,), MEAN over latent elements.
        mse_l: the same on the rejected image.
        ref_mse_w: the frozen reference's error on the preferred image.
        ref_mse_l: the same on the rejected image.
        kappa: multiplies the logit; 500 in the released launcher.

    Returns:
        per_pair (B,), unreduced; logit -l (B,), detached, > 0 where the policy prefers the REJECTED image more than
        the reference does. `mse_w` in the log is that of the rejected image.

    Raises:
        ValueError: shapes differ, or kappa is not positive.

    >>> import torch
    >>> z = torch.zeros(1)
    >>> npo_loss(z, z + 1e-3, z, z, kappa=500.0).logit.item()  # the policy prefers the winner: wrong here
    -0.001...
    """
    return dpo_loss(mse_l, mse_w, ref_mse_l, ref_mse_w, kappa=kappa)


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """Diffusion-DPO's step on the exchanged pair."""
    if batch.loser is None:
        raise ValueError("the batch has no losers: the method must be declared with uses_loser=True")
    return diffusion_dpo.step(nets, replace(batch, winner=batch.loser, loser=batch.winner), draws, cfg)


METHOD = Method(
    name="diffusion_npo",
    Config=Config,
    loss=npo_loss,
    step=step,
    paper=(
        "Diffusion-NPO: Negative Preference Optimization for Better Preference Aligned Generation of Diffusion "
        "Models, ICLR 2025"
    ),
    code="G-U-N/Diffusion-NPO@a14f1db",
    needs_reference=True,
    network="negative",
    presets=MappingProxyType(
        {
            "launcher": {
                "kappa": Constant(500.0, f"beta 500, no factor 0.5: {_CODE}"),
                "lr": Constant(5e-6, _CODE),
                "steps": Constant(5000, _CODE),
                "batch": Constant(64, _CODE),
                "micro_batch": Constant(64, _CODE),
                "warm_up": Constant(0.0, _CODE),
                "lora_rank": Constant(8, _CODE),
            },
            "miniature": {"kappa": Constant(1000.0, "ours: as diffusion_dpo")},
            "miniature-lora": {"kappa": Constant(1500.0, "ours: as diffusion_dpo")},
        }
    ),
)
