"""Semi-DPO: Diffusion-DPO on pairs that all scorers label alike, which then labels the others, timestep by timestep.

Semi-DPO, arXiv 2604.24952, ICLR 2026. Its repository, liming-ai/SemiDPO, holds a README and no training code.

    clean    pairs on which every voter scores the preferred image above the rejected one
    stage 1  -log sigmoid(kappa l) on clean pairs alone, l as in diffusion_dpo
    teacher  the policy at the end of stage 1, frozen; l_T(t) is its logit at timestep t
    stage 2  -log sigmoid(kappa sign(l_T(t)) l) for the other pairs where |l_T(t)| is confident, beside the clean ones
    repeat   the policy becomes the teacher again

The paper's (README): all of that; five reward models, whose agreement with the human holds for about 21 % of Pick-a-Pic
    v2; labels per timestep from t = 50 to 950 by the sign of kappa l; the 80th percentile of confidence; beta 2500; batch
    512; 1600 steps at lr 4e-9 (times batch), then 4000 at 4e-10; 400 steps of warm-up.
Our choice (reconstruction): which five scorers vote, and that equal scores are no agreement; kappa is beta with no factor
    0.5; a label is computed when its pair and timestep are drawn, from a noise of its own, not in a table made in advance;
    the percentile is of |l_T(t)| over `probe` pairs at each of ten timesteps from 5 % to 95 % of the schedule, of which
    the nearest counts; stage 2 draws clean and other pairs as they stand in the data, and one without a label is zero in
    the mean; one optimizer and one warm-up; one round unless `round_steps` says more; the miniature constants.

Teacher and thresholds are part of the saved state: one more copy of the weights in training, and in stage 2 two more passes
without gradient. `steps` no larger than `clean_steps` is the control without pseudo-labels.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.data_order import OrderContext, StagedPools
from prefbench.reference_trainers.diffusion_dpo import KAPPA
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import compared_errors, noisy_pair, pair_errors, pair_logit
from prefbench.reference_trainers.method import Constant, Denoiser, Method, Nets, PairBatch, Teaching
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.voters import voters_of

__all__ = ["METHOD", "Config", "agreed", "pseudo_labels", "semi_dpo_loss", "step"]

PROBED = 10
"""Timesteps at which the confidence of a teacher is measured."""

_README = "README of liming-ai/SemiDPO [PAPER]"
_OURS = "reconstruction: not in any source that could be read"


@dataclass(frozen=True)
class Config:
    """Constants of Semi-DPO."""

    kappa: float
    """Multiplies the logit made of mean-squared errors."""
    voters: str
    """Scorers, separated by commas, higher is better, that must all agree with the label of a clean pair."""
    clean_steps: int
    """Optimizer steps of the first stage, on clean pairs alone."""
    round_steps: int | None
    """Steps of the second stage after which the policy becomes the teacher again; none for one teacher."""
    percentile: float
    """Percentile of the probed pairs' confidence that a pseudo-label must reach, 0 to 100."""
    probe: int
    """Pairs on which a new teacher's confidence is measured."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise UsageError(f"kappa = {self.kappa} is not a positive number. Published: 2500.")
        voters_of(self.voters)
        for name in ("clean_steps", "round_steps", "probe"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} = {value} must be at least 1.")
        if not 0 <= self.percentile <= 100:
            raise UsageError(f"percentile = {self.percentile} must be from 0 to 100. Published: 80.")


def agreed(scores: Mapping[str, Tensor], voters: Iterable[str]) -> Tensor:
    """(B,) bool: every voter scores the winner strictly above the loser.

    Args:
        scores: scorer -> scores of (winner, loser), (B, 2).
        voters: scorers to ask.
    """
    return torch.stack([scores[name][:, 0] > scores[name][:, 1] for name in voters]).all(dim=0)


def pseudo_labels(teacher_logit: Tensor, clean: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Which image of each pair is to win, and which pairs count.

    Args:
        teacher_logit: l_T, shape (B,).
        clean: pairs whose label stands, shape (B,), bool.
        threshold: least |l_T| of a label, shape (B,).

    Returns:
        sign (B,), +1 for the pair's winner and -1 for its loser; weight (B,), 1 or 0.

    >>> logit, clean = torch.tensor([-2.0, -2.0, 0.5]), torch.tensor([True, False, False])
    >>> pseudo_labels(logit, clean, torch.ones(3))
    (tensor([ 1., -1.,  1.]), tensor([1., 1., 0.]))
    """
    sign = torch.where(clean | (teacher_logit >= 0), 1.0, -1.0).to(teacher_logit)
    confident = (teacher_logit.abs() >= threshold) & (teacher_logit != 0)
    return sign, (clean | confident).to(teacher_logit)


def semi_dpo_loss(
    mse_w: Tensor,
    mse_l: Tensor,
    ref_mse_w: Tensor,
    ref_mse_l: Tensor,
    sign: Tensor,
    weight: Tensor,
    *,
    kappa: float,
) -> PairLoss:
    """-weight log sigmoid(kappa sign l): Diffusion-DPO's loss of pairs whose label may be a pseudo-label.

    Args:
        mse_w: policy's error on the winner by the given label, shape (B,), MEAN over latent elements.
        mse_l: the same on the loser, with the winner's noise and timestep.
        ref_mse_w: the frozen reference's error on the winner.
        ref_mse_l: the same on the loser.
        sign: +1 where the given label is to hold, -1 where the other image is to win, shape (B,).
        weight: 1 for a pair that counts, else 0, shape (B,).
        kappa: multiplies l.

    Returns:
        per_pair (B,), unreduced; logit l (B,) of the labels as given, detached.

    Raises:
        ValueError: shapes differ, or kappa is not positive.

    Source: README of liming-ai/SemiDPO [PAPER].
    """
    logit = pair_logit(mse_w, mse_l, ref_mse_w, ref_mse_l)
    if sign.shape != logit.shape or weight.shape != logit.shape or not kappa > 0:
        raise ValueError(f"sign and weight need shape ({len(logit)},) and kappa to be positive, got {kappa}")
    log = {"mse_w": mse_w.mean(), "mse_l": mse_l.mean(), "kappa_logit": kappa * logit.mean()}
    log = {name: value.detach() for name, value in log.items()}
    return PairLoss(per_pair=-weight * F.logsigmoid(kappa * sign * logit), logit=logit.detach(), log=log)


def order(context: OrderContext) -> StagedPools:
    """Clean pairs for `clean_steps`, then all of them.

    Raises:
        UsageError: the pairs carry no scores of a voter.
        DataError: the voters agree with no label.
    """
    cfg: Config = context.config
    voters, known = voters_of(cfg.voters), context.pairs.image_scores
    absent = [name for name in voters if name not in known]
    if absent:
        raise UsageError(
            f"semi_dpo asks {', '.join(voters)} about each label, and {context.pairs.source} carries no scores of "
            f"{', '.join(absent)}. Train with `prefbench train`, which scores the pairs, or name other voters."
        )
    # In float32, as a batch holds the scores: a pair must be clean in both places or in neither.
    scores = {name: torch.from_numpy(known[name][context.rows].astype(np.float32)) for name in voters}
    clean = np.flatnonzero(agreed(scores, voters).numpy())
    if not len(clean):
        raise DataError(
            f"semi_dpo: {', '.join(voters)} all agree with none of the {len(context.rows)} labels of "
            f"{context.pairs.source}, so there is no clean pair to begin with. Name fewer voters."
        )
    return StagedPools(
        seed=context.seed,
        first=clean,
        count=len(context.rows),
        until=cfg.clean_steps,
        batch=context.batch,
        steps=context.steps,
    )


def due(cfg: Config, done: int) -> bool:
    """At the end of stage 1, and of every round after it."""
    past = done - cfg.clean_steps
    return past == 0 or (past > 0 and cfg.round_steps is not None and past % cfg.round_steps == 0)


def probe(order: StagedPools, done: int, cfg: Config) -> np.ndarray:
    """The next `probe` pairs without a clean label that the run will meet, each once; fewer where it meets fewer."""
    clean = set(order.first.tolist())
    found: dict[int, None] = {}
    for step in range(done, order.steps):
        found |= dict.fromkeys(unit for unit in order.indices(step, range(order.batch)) if unit not in clean)
        if len(found) >= cfg.probe:
            break
    return np.array(list(found)[: cfg.probe], dtype=np.int64)


def probed_timesteps(count: int) -> Tensor:
    """PROBED timesteps from 5 % to 95 % of a schedule of `count`.

    >>> probed_timesteps(1000).tolist()
    [50, 150, 250, 350, 450, 550, 650, 750, 850, 950]
    """
    return ((torch.arange(PROBED) + 0.5) / PROBED * count).round().long()


def _logit(net: Denoiser, nets: Nets, batch: PairBatch, noise: Tensor, timesteps: Tensor) -> Tensor:
    """The network's logit against the reference, (B,), without gradient."""
    if nets.reference is None:
        raise ValueError("semi_dpo needs nets.reference")
    pair = noisy_pair(batch, noise, timesteps, nets)
    with torch.no_grad():
        return pair_logit(*pair_errors(net, pair), *pair_errors(nets.reference, pair))


def measure(nets: Nets, batches: Iterable[tuple[PairBatch, Draws]], cfg: Config) -> dict[str, Tensor]:
    """thresholds, (PROBED,): the percentile of |l_T| at each probed timestep; infinite where nothing was probed."""
    assert nets.teacher is not None
    grid = probed_timesteps(len(nets.alphas_cumprod)).tolist()
    found: list[list[Tensor]] = [[] for _ in grid]
    for batch, draws in batches:
        for logits, t in zip(found, grid, strict=True):
            noise = draws.normal(f"probe_noise_{t}", tuple(batch.winner.shape[1:]))
            steps = torch.full((len(batch.winner),), t, device=batch.winner.device)
            logits.append(_logit(nets.teacher, nets, batch, noise, steps).abs())
    if not found[0]:
        return {"thresholds": torch.full((PROBED,), math.inf)}
    return {"thresholds": torch.stack([torch.cat(each).quantile(cfg.percentile / 100) for each in found])}


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """Diffusion-DPO's step; in stage 2 the teacher labels what is not clean, at the timestep that was drawn."""
    errors = compared_errors(nets, batch, draws)
    clean = agreed(batch.scores, voters_of(cfg.voters))
    if draws.step < cfg.clean_steps:
        ones = torch.ones_like(errors[0])
        return semi_dpo_loss(*errors, ones, ones, kappa=cfg.kappa)
    if nets.teacher is None:
        raise ValueError("semi_dpo needs nets.teacher")
    t = draws.integers("timestep", len(nets.alphas_cumprod))  # the one that compared_errors drew
    grid = probed_timesteps(len(nets.alphas_cumprod)).to(t.device)
    nearest = (t[:, None] - grid[None, :]).abs().argmin(dim=1)
    noise = draws.normal("label_noise", tuple(batch.winner.shape[1:]))
    taught = _logit(nets.teacher, nets, batch, noise, t)
    sign, weight = pseudo_labels(taught, clean, nets.measured["thresholds"].to(taught)[nearest])
    result = semi_dpo_loss(*errors, sign, weight, kappa=cfg.kappa)
    labelled = (weight > 0) & ~clean
    result.log["clean"] = clean.float().mean()
    result.log["pseudo_labelled"] = labelled.float().mean()
    result.log["turned_of_pseudo_labelled"] = (sign[labelled] < 0).float().mean()
    return result


METHOD = Method(
    name="semi_dpo",
    Config=Config,
    loss=semi_dpo_loss,
    step=step,
    paper="Semi-DPO, arXiv 2604.24952, ICLR 2026",
    code="none read: liming-ai/SemiDPO holds a README without training code",
    needs_reference=True,
    scorers=lambda config: voters_of(config.voters),
    order=order,
    teaching=Teaching(due, probe, measure),
    presets=MappingProxyType(
        {
            "launcher": {
                "kappa": Constant(2500.0, f"beta: {_README}; that there is no factor 0.5 is a {_OURS}"),
                "voters": Constant(
                    "pickscore,hpsv2.1,imagereward,aesthetic.v2,clip:openai-vit-l-14:cos",
                    f"five reward models: {_README}; which ones is a {_OURS}",
                ),
                "clean_steps": Constant(1600, _README),
                "round_steps": Constant(None, f"it repeats: {_README}; how often is a {_OURS}"),
                "percentile": Constant(80.0, _README),
                "probe": Constant(512, _OURS),
                "steps": Constant(5600, f"1600, then 4000: {_README}"),
                "batch": Constant(512, _README),
                "warm_up": Constant(1 / 14, f"400 of 5600 steps: {_README}"),
                "lr": Constant(2.048e-6, f"4e-9 with scale_lr, times 512 pairs a step: {_README}"),
                "lower_after": Constant(1600, f"4e-10 in the second stage: {_README}"),
                "lower_to": Constant(0.1, f"4e-10 of 4e-9: {_README}"),
            },
            "miniature": {
                "kappa": KAPPA["miniature"],
                "voters": Constant(
                    "mini:pickscore,mini:hpsv2,mini:imagereward,mini:aesthetic,mini:clip",
                    "ours: the launcher's in miniature",
                ),
                "clean_steps": Constant(60, "ours: half of the 120 steps of the miniature"),
                "round_steps": Constant(30, "ours: two rounds"),
                "percentile": Constant(80.0, f"ours, as {_README}"),
                "probe": Constant(64, "ours"),
            },
            "miniature-lora": {"kappa": KAPPA["miniature-lora"]},
        }
    ),
)
