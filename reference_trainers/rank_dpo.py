"""RankDPO: Diffusion-DPO on ranked lists of k images a prompt, each pair weighted by what its order is worth in DCG.

Karthik et al., "Scalable Ranked Preference Optimization for Text-to-Image Generation", arXiv 2410.18013. The authors'
code (snap-research/RankDPO) could not be read.

    s_i   = L(x_i) - L_ref(x_i)                    L the mean over latent elements of (net - y)^2
    phi_i = mean over voters of the share of the other images of the prompt that image i beats
    G_i   = 2^phi_i - 1,   D_i = log(1 + rank_i)   rank 1 for the highest phi; natural logarithm
    loss  = -sum over phi_i > phi_j of |G_i - G_j| |1/D_i - 1/D_j| log sigmoid(-kappa (s_i - s_j))

The paper's: all of the above; five voters (HPSv2.1, MPS, PickScore, VQAScore, ImageReward); four images a prompt, one
    from each of four models; 1024 a step, 400 steps. Its norm is a sum over elements; the mean is every released
    code's, and kappa is stated for it.
Our choice (reconstruction): kappa and learning rate, of Diffusion-DPO's launcher; that the images of a list share noise
    and timestep; images of equal phi share their mean rank, so that their order in the file means nothing; equal scores
    are half a win; three voters, because MPS and VQAScore are no scorers here; a prompt with more than `longest` images
    makes several lists; the miniature constants. Without voters the labels rank: phi is the share of an image's
    labelled comparisons that it wins (of several annotators: comparisons by majority).

A unit of the batch is a list, of any k from 2 on. For k = 2 and unanimous voters the loss is Diffusion-DPO's times
1/log 2 - 1/log 3 = 0.532; it grows with k, because a list's loss is a sum over its pairs.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.diffusion_dpo import KAPPA
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import add_noise, mse_per_image, prediction_target
from prefbench.reference_trainers.method import Constant, Method, Nets, RankBatch
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.preferences.ranked_lists import RankedLists, ranked_lists
from prefbench.reference_trainers.voters import voters_of

__all__ = ["METHOD", "Config", "dcg_weights", "rank_dpo_loss", "step"]

_PAPER = "arXiv 2410.18013 [PAPER]"
_OURS = "reconstruction: not in any source that could be read"


@dataclass(frozen=True)
class Config:
    """Constants of RankDPO."""

    kappa: float
    """Multiplies the difference of two images' s, made of mean-squared errors."""
    voters: str | None
    """Scorers whose votes rank the images, separated by commas, higher is better; none for the labels."""
    longest: int | None
    """Most images of a list, 3 or more; a prompt with more makes several lists; none for no limit."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise UsageError(f"kappa = {self.kappa} is not a positive number. Give 2500, Diffusion-DPO's.")
        if self.voters is not None:
            voters_of(self.voters)
        if self.longest is not None and self.longest < 3:
            raise UsageError(
                f"longest = {self.longest}: lists of two images leave nothing to rank. Give 3 or more, or none."
            )


def dcg_weights(value: Tensor, place: Tensor) -> Tensor:
    """|G_i - G_j| |1/D_i - 1/D_j| where i and j are of one list and value_i > value_j, else 0: (N, N).

    Args:
        value: phi, shape (N,).
        place: the list of each image, shape (N,), int.

    >>> one_list = torch.zeros(2, dtype=torch.long)
    >>> dcg_weights(torch.tensor([1.0, 0.0]), one_list)  # 1 * (1 / log 2 - 1 / log 3)
    tensor([[0.0000, 0.5325],
            [0.0000, 0.0000]])
    """
    same = place[:, None] == place[None, :]
    above = (value[:, None] > value[None, :]) & same
    alike = (value[:, None] == value[None, :]) & same
    # An image is alike to itself: 1 + better ones + half of the equal others is the mean rank of its equals.
    rank = above.sum(dim=0) + 0.5 * (alike.sum(dim=0) + 1)
    gain = torch.exp2(value) - 1
    inverse = 1 / torch.log1p(rank.to(value.dtype))
    worth = (gain[:, None] - gain[None, :]).abs() * (inverse[:, None] - inverse[None, :]).abs()
    return torch.where(above, worth, torch.zeros_like(worth))


def rank_dpo_loss(mse: Tensor, ref_mse: Tensor, value: Tensor, place: Tensor, *, kappa: float) -> PairLoss:
    """RankDPO's loss of each list: -sum of w_ij log sigmoid(kappa (s_j - s_i)), s = mse - ref_mse, w as `dcg_weights`.

    Args:
        mse: policy's error, shape (N,), float32 or wider, MEAN over latent elements.
        ref_mse: the frozen reference's error on the same noisy image.
        value: phi of each image, shape (N,).
        place: the list of each image, shape (N,), int, from 0 to L - 1.
        kappa: multiplies s_j - s_i.

    Returns:
        per_pair (L,), one entry a list, unreduced; logit s_j - s_i of all pairs with value_i > value_j, shape (P,),
        detached, > 0 where the policy prefers the better image more than the reference does.

    Raises:
        ValueError: shapes differ, or kappa is not positive.

    Source: arXiv 2410.18013 [PAPER]; mean rank of equal values is ours.

    >>> z, lists = torch.zeros(3), torch.tensor([0, 0, 0])
    >>> rank_dpo_loss(z, z, torch.tensor([1.0, 0.5, 0.0]), lists, kappa=2500.0).per_pair.shape
    torch.Size([1])
    """
    shapes = [tuple(values.shape) for values in (mse, ref_mse, value, place)]
    if len(set(shapes)) != 1 or len(shapes[0]) != 1:
        raise ValueError(f"mse, ref_mse, value and place must all have one shape (N,), got {shapes}")
    if not kappa > 0:
        raise ValueError(f"kappa must be positive, got {kappa}")
    weights = dcg_weights(value.to(mse.dtype), place)
    better, worse = weights.nonzero(as_tuple=True)
    score = mse - ref_mse
    logit = score[worse] - score[better]
    loss = -weights[better, worse] * F.logsigmoid(kappa * logit)
    lists = int(place.max()) + 1
    log = {
        "mse": mse.detach().mean(),
        "kappa_logit": kappa * logit.detach().mean(),
        "images_a_list": torch.tensor(len(mse) / lists, device=mse.device),
        "weight_a_list": weights.sum() / lists,
    }
    per_list = torch.zeros(lists, dtype=loss.dtype, device=loss.device).index_add(0, place[better], loss)
    return PairLoss(per_pair=per_list, logit=logit.detach(), log=log)


def lists(pairs: PreferencePairs, rows: np.ndarray, cfg: Config) -> RankedLists:
    """The images of each prompt, ranked by the voters or the labels.

    Raises:
        UsageError: labels were turned round on request, and the voters rank without them.
    """
    if cfg.voters is not None and np.asarray(pairs.flipped).any():
        raise UsageError(
            "flip has no effect on rank_dpo: its voters rank the images, not the labels. Leave flip out, or set voters=none."
        )
    voters = () if cfg.voters is None else voters_of(cfg.voters)
    return ranked_lists(pairs, rows, voters=voters, longest=cfg.longest)


def step(nets: Nets, batch: RankBatch, draws: Draws, cfg: Config) -> PairLoss:
    """One noise and one uniform timestep a list, for all its images."""
    if nets.reference is None:
        raise ValueError("rank_dpo needs nets.reference")
    noise = draws.normal("noise", tuple(batch.latents.shape[1:]))[batch.place]
    t = draws.integers("timestep", len(nets.alphas_cumprod))[batch.place]
    noisy = add_noise(batch.latents, noise, t, nets.alphas_cumprod)
    target = prediction_target(batch.latents, noise, t, nets.alphas_cumprod, nets.prediction_type)
    with torch.no_grad():
        ref_mse = mse_per_image(nets.reference(noisy, t, batch.condition), target)
    mse = mse_per_image(nets.policy(noisy, t, batch.condition), target)
    return rank_dpo_loss(mse, ref_mse, batch.value, batch.place, kappa=cfg.kappa)


METHOD = Method(
    name="rank_dpo",
    Config=Config,
    loss=rank_dpo_loss,
    step=step,
    paper="Karthik et al., Scalable Ranked Preference Optimization for Text-to-Image Generation, arXiv 2410.18013",
    code="none read: snap-research/RankDPO was not available",
    needs_reference=True,
    scorers=lambda config: () if config.voters is None else voters_of(config.voters),
    unit="ranking",
    lists=lists,
    accepts_ties=True,
    presets=MappingProxyType(
        {
            "launcher": {
                "kappa": Constant(2500.0, f"Diffusion-DPO's launcher; {_OURS}"),
                "voters": Constant(
                    "hpsv2.1,pickscore,imagereward",
                    f"three of the five of {_PAPER}; MPS and VQAScore are no scorers here",
                ),
                "longest": Constant(4, f"one image of each of four models: {_PAPER}"),
                "lr": Constant(1.024e-5, f"Diffusion-DPO's launcher, 1e-8 times 1024 lists a step; {_OURS}"),
                "batch": Constant(1024, _PAPER),
                "steps": Constant(400, _PAPER),
            },
            "miniature": {
                "kappa": KAPPA["miniature"],
                "voters": Constant(
                    "mini:hpsv2,mini:pickscore,mini:imagereward", "ours: the launcher's in miniature"
                ),
                "longest": Constant(4, f"ours, as {_PAPER}"),
                "batch": Constant(8, "ours: 32 images a step, as the pairwise methods"),
            },
            "miniature-lora": {"kappa": KAPPA["miniature-lora"]},
        }
    ),
)
