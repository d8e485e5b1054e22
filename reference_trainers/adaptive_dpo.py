"""Adaptive-DPO: pairs on which three versions of the model distrust the label count less.

Zhang et al., "When Preferences Diverge: Aligning Diffusion Models with Minority-Aware Adaptive DPO", arXiv 2503.16921.
Released code: fanfanffff1/Adaptive-DPO@a64ae01, dpo_train_un.py and README.

    l_m   = (L_ref(x_w) - L_ref(x_l)) - (L_m(x_w) - L_m(x_l))      annotators m: policy, EMA 0.9999, EMA 0.5
    h_m   = l_m / |l_m|_2, the norm over the B pairs of the micro-batch
    u     = |mean_m sigmoid(rho h_m) - 1| * min(std_m(rho h_m), 1)   in [0, 1], without gradient
    W     = 1 / (1 + 10 u)
    g     = -u^2 / kappa + mean over the micro-batch of l            without gradient
    loss  = -W log sigmoid(kappa l - g)

The paper's: the metric (Eq. 11-13), the weight and the margin (Eq. 15) with constants that it does not state.
The released code's: M = 3 and the two decays; the norm over the MICRO-BATCH of one process, so that u of a pair depends
    on its neighbours and rho h shrinks as 1/sqrt(B); unbiased std; rho 15; kappa 1000 without Diffusion-DPO's factor
    0.5; u = 0 in the first two optimizer steps; the other weights, the linear margin, the label flip by u (off); the
    opposite sign of IPO's margin. The script has no weight and no margin for hinge, cDPO and rDPO (weight = none,
    margin = none here), though the paper claims that they carry over.
Ours: a zero norm (policy = reference) gives u = 0, not 0/0; averages in fp32 and of trained weights only (the code's
    fp16 average of decay 0.9999 can stand still); the warm-up is of the run, not of each epoch; weight and margin on
    hinge, cDPO and rDPO; implicit accuracy is of the given label, not of one flipped by u; the log of u as a detector.

Known properties [DERIVED]: the margin is numerically void (|u^2/kappa| <= 1e-3 beside kappa l of 0.05 to 1); the two
averages are identical for the first nine steps; sigmoid and sqrt weights are 1/2 at u = 0, so also in the warm-up,
where the batch mean of the margin stays on. v-prediction: the target is v, L(v) = L(eps) / abar_t.
"""

import math
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.errors import drawn_pair, pair_errors, pair_logit
from prefbench.reference_trainers.method import Constant, Method, Nets, PairBatch
from prefbench.reference_trainers.minority_metric import Weight, detector_log, minority_metric, pair_weight
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.robust_dpo import derivative_loss

__all__ = ["METHOD", "Config", "adaptive_dpo_loss", "step"]

Margin = Literal["quadratic", "linear", "none"]
Objective = Literal["dpo", "ipo", "hinge", "cdpo", "rdpo"]

_CODE = "fanfanffff1/Adaptive-DPO@a64ae01 [CODE]"


@dataclass(frozen=True)
class Config:
    """Constants of Adaptive-DPO; one that the objective or weight does not use has no effect."""

    kappa: float
    """Multiplies the logit made of mean-squared errors; the script's beta, no factor 0.5."""
    rho: float
    """Multiplies the annotators' logits before the sigmoid; 15 with `normalise`, 1e4 in the script without."""
    normalise: bool
    """Divide each annotator's logits by their norm over the micro-batch; a lone annotator's never are."""
    decay_slow: float | None
    """Decay of the second annotator, an average of the policy; none for no such annotator."""
    decay_fast: float | None
    """Decay of the third; none for no such annotator."""
    u_warm_up: int
    """Optimizer steps at the start in which u is 0."""
    weight: Weight
    """W of u: linear 1/(i+Tu), quadratic 1/(i+Tu^2), sigmoid 1/(i+exp(Tu)), sqrt 1/(i+exp(T sqrt u)), none 1."""
    temperature: float
    """T of the weight."""
    intercept: float
    """i of the weight."""
    margin: Margin
    """Quadratic -u^2/kappa, linear -u/kappa, each plus the batch mean of the logit; or none."""
    relabel_share: float
    """At most this share of a micro-batch has its label turned round by u; 0 to 1."""
    relabel_above: float
    """And only labels with u strictly above; 1 turns none round."""
    objective: Objective
    """What is weighted and shifted."""
    smoothing: float
    """Share of wrong labels that cdpo and rdpo assume."""
    ipo_beta: float
    """ipo's target margin is 1 / (2 ipo_beta)."""

    def __post_init__(self) -> None:
        for name in ("kappa", "rho", "temperature", "intercept", "ipo_beta"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} = {value} is not a positive number; see its value by --dry-run.")
        for name in ("decay_slow", "decay_fast"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(
                    f"{name} = {value} is not a share of the old average. Give 0 to 1, or none to leave it out."
                )
        if self.u_warm_up < 0:
            raise UsageError(f"u_warm_up = {self.u_warm_up} is negative. Give 0 to measure u at once.")
        if not (0 < self.relabel_share <= 1 and 0 <= self.relabel_above <= 1):
            raise UsageError(
                f"relabel_share = {self.relabel_share} must be above 0 and relabel_above = {self.relabel_above} from "
                "0, both at most 1. relabel_above=1 turns no label round."
            )
        if not 0 <= self.smoothing < 0.5:
            raise UsageError(f"smoothing = {self.smoothing} must be from 0 to below 0.5.")


def _margin(u: Tensor, logit: Tensor, *, margin: Margin, kappa: float) -> Tensor:
    powers = {"linear": u, "quadratic": u.square()}
    if margin == "none":
        return torch.zeros_like(u)
    if margin not in powers:
        raise ValueError(f"margin must be quadratic, linear or none, got {margin!r}")
    return -powers[margin] / kappa + logit.detach().mean()


def _relabelled(u: Tensor, *, share: float, above: float) -> Tensor:
    """Which labels are turned round: u strictly above both `above` and the batch's (1 - share) order statistic."""
    rank = u.sort().values[int(len(u) * (1 - share))]
    return u > rank.clamp(min=above)


def _objective(
    logit: Tensor, shift: Tensor, *, kappa: float, objective: Objective, smoothing: float, ipo_beta: float
) -> Tensor:
    """The unweighted loss of kappa (l - shift), shift = g / kappa; of l + shift for IPO, the script's sign."""
    if objective == "dpo":
        return -F.logsigmoid(kappa * (logit - shift))
    signed = logit + shift if objective == "ipo" else logit - shift
    return derivative_loss(signed, kappa=kappa, form=objective, smoothing=smoothing, ipo_beta=ipo_beta)


def adaptive_dpo_loss(
    mse_w: Tensor,
    mse_l: Tensor,
    ref_mse_w: Tensor,
    ref_mse_l: Tensor,
    ann_mse_w: Tensor,
    ann_mse_l: Tensor,
    *,
    kappa: float,
    rho: float,
    normalise: bool,
    warming_up: bool,
    weight: Weight,
    temperature: float,
    intercept: float,
    margin: Margin,
    relabel_share: float,
    relabel_above: float,
    objective: Objective,
    smoothing: float,
    ipo_beta: float,
) -> PairLoss:
    """W times the objective of kappa l - g; for IPO W (l + g / kappa - 1 / (2 ipo_beta))^2.

    Args beyond the fields of Config: errors of policy (mse) and reference (ref_mse), shape (B,), and of all M
    annotators, the policy among them (ann_mse), shape (M, B); MEAN over latent elements, one noise and timestep a
    pair; the B pairs are those of one micro-batch. `warming_up`: u is 0.

    Returns:
        per_pair (B,), unreduced; logit l (B,) of the labels as given, detached.

    Raises:
        ValueError: shapes differ, an unknown name, or a constant out of its range.

    Source: fanfanffff1/Adaptive-DPO@a64ae01 dpo_train_un.py [CODE]; W and g on hinge, cdpo and rdpo are ours.
    """
    if not kappa > 0:
        raise ValueError(f"kappa must be positive, got {kappa}")
    given = pair_logit(mse_w, mse_l, ref_mse_w, ref_mse_l)
    if ann_mse_w.shape != ann_mse_l.shape or ann_mse_w.shape[1:] != given.shape:
        shapes = tuple(ann_mse_w.shape), tuple(ann_mse_l.shape)
        raise ValueError(f"ann_mse_w and ann_mse_l must have shape (M, {len(given)}), got {shapes}")
    u = torch.zeros_like(given.detach())
    if not warming_up:
        u = minority_metric((ref_mse_w - ref_mse_l) - (ann_mse_w - ann_mse_l), rho=rho, normalise=normalise)
    turned = _relabelled(u, share=relabel_share, above=relabel_above)
    logit = torch.where(turned, -given, given)
    shift = _margin(u, logit, margin=margin, kappa=kappa) / kappa
    loss = _objective(logit, shift, kappa=kappa, objective=objective, smoothing=smoothing, ipo_beta=ipo_beta)
    weights = pair_weight(u, weight=weight, temperature=temperature, intercept=intercept)
    log = {"mse_w": mse_w.mean(), "mse_l": mse_l.mean(), "kappa_logit": kappa * given.mean(), "u": u.mean()}
    log |= {"weight_below_half": (weights < 0.5).float().mean(), "relabelled": turned.float().mean()}
    log = {name: value.detach() for name, value in log.items()}
    return PairLoss(per_pair=weights * loss, logit=given.detach(), log=log)


LOSS_CONSTANTS = tuple(
    field.name for field in fields(Config) if field.name not in ("decay_slow", "decay_fast", "u_warm_up")
)


def shadow_decays(cfg: Config) -> tuple[float, ...]:
    """Decays of the annotators beside the policy."""
    return tuple(decay for decay in (cfg.decay_slow, cfg.decay_fast) if decay is not None)


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """Policy, reference and averages see the same noisy images; the averages rest during the warm-up."""
    if nets.reference is None:
        raise ValueError("adaptive_dpo needs nets.reference")
    pair, warming_up = drawn_pair(nets, batch, draws), draws.step < cfg.u_warm_up
    with torch.no_grad():
        reference = pair_errors(nets.reference, pair)
        averages = [] if warming_up else [pair_errors(shadow, pair) for shadow in nets.shadows]
    policy = pair_errors(nets.policy, pair)
    annotators = [(policy[0].detach(), policy[1].detach()), *averages]
    ann_w, ann_l = (torch.stack([errors[side] for errors in annotators]) for side in (0, 1))
    own = {name: getattr(cfg, name) for name in LOSS_CONSTANTS}
    result = adaptive_dpo_loss(*policy, *reference, ann_w, ann_l, warming_up=warming_up, **own)
    if batch.flipped is not None and not warming_up:
        logits = (reference[0] - reference[1]) - (ann_w - ann_l)
        u = minority_metric(logits, rho=cfg.rho, normalise=cfg.normalise)
        result.log.update(detector_log(u, batch.flipped))
    return result


_README = {
    "kappa": Constant(1000.0, f"beta_dpo 1000 without a factor 0.5: README, {_CODE}"),
    "rho": Constant(15.0, f"logits_rho: README, {_CODE}"),
    "normalise": Constant(True, f"use_logits_normalization: README, {_CODE}"),
    "decay_slow": Constant(0.9999, f"dpo_train_un.py, {_CODE}"),
    "decay_fast": Constant(0.5, f"dpo_train_un.py, {_CODE}"),
    "u_warm_up": Constant(2, f"ema_warmup_steps' default, of every epoch there: {_CODE}"),
    "weight": Constant("linear", f"weight_type's default: {_CODE}"),
    "temperature": Constant(10.0, f"rewight_temparature: README, {_CODE}"),
    "intercept": Constant(1.0, f"rewight_intercept: README, {_CODE}"),
    "margin": Constant("quadratic", f"margin_type: README, {_CODE}"),
    "relabel_share": Constant(1.0, f"flip_ratio_per_batch's default: {_CODE}"),
    "relabel_above": Constant(1.0, f"flip_theshold's default, turns none round: {_CODE}"),
    "objective": Constant("dpo", f"loss_type sigmoid, the default: {_CODE}"),
    "smoothing": Constant(0.0, f"label_smoothing's default, of cdpo and rdpo alone: {_CODE}"),
    "ipo_beta": Constant(100.0, f"beta's default, of ipo alone: {_CODE}"),
}

_EPOCH = "1 epoch of the 851,293 pairs of Pick-a-Pic v2 without ties, which the script keeps [DERIVED]"

METHOD = Method(
    name="adaptive_dpo",
    Config=Config,
    loss=adaptive_dpo_loss,
    step=step,
    paper="Zhang et al., When Preferences Diverge: Aligning Diffusion Models with Minority-Aware Adaptive DPO, "
    "arXiv 2503.16921",
    code="fanfanffff1/Adaptive-DPO@a64ae01",
    needs_reference=True,
    shadow_decays=shadow_decays,
    presets=MappingProxyType(
        {
            "launcher": _README
            | {
                "lr": Constant(1e-5, f"README, for the 32 pairs of a step: {_CODE}"),
                "steps": Constant(26603, _EPOCH),
                "batch": Constant(32, f"16 x 2 accumulated on one GPU, their number is not stated: {_CODE}"),
                "micro_batch": Constant(16, f"u is normalised over it: README, {_CODE}"),
                "warm_up": Constant(0.0, f"README, {_CODE}"),
                "caption_dropout": Constant(0.0, f"the script drops no captions: {_CODE}"),
                "lora_rank": Constant(8, f"alpha = rank, Gaussian: README, {_CODE}"),
                "gradient_checkpointing": Constant(True, f"README, {_CODE}"),
                **{
                    name: Constant(value, f"dpo_train_un.py's default: {_CODE}")
                    for name, value in {
                        "weight_decay": 1e-2,
                        "beta1": 0.9,
                        "beta2": 0.999,
                        "clip": 1.0,
                    }.items()
                },
                "schedule": Constant("constant", f"lr_scheduler's default: {_CODE}"),
                "precision": Constant("fp16", f"README, {_CODE}"),
                "hflip": Constant(True, f"each image for itself: {_CODE}"),
            },
            "miniature": _README | {"kappa": Constant(1000.0, "ours: as diffusion_dpo and as the README")},
            "miniature-lora": {"kappa": Constant(1500.0, "ours: as diffusion_dpo")},
        }
    ),
)
