"""Curriculum-DPO: Diffusion-DPO that meets easy pairs first and harder ones in steps.

Croitoru et al., "Curriculum Direct Preference Optimization for Diffusion and Consistency Models", arXiv 2405.13637, CVPR
2025. Released code: CroitoruAlin/Curriculum-DPO@3454543, train_stablediffusion.py and data/dataset_factory.py.

    keep    pairs with |margin| > threshold and both scores > floor, margin = difference of a scorer's two scores
    rank    by |margin|, largest (easiest) first; the first `top`
    chunk c = 0, 1, ... holds the first (c + 1) / chunks of the ranking; the next one starts every `every` steps
    loss    Diffusion-DPO's

The paper's: the idea.
The released code's: all of the above on Pick-a-Pic v1; the winner is the human label's, so a pair may be ranked easy by a
    scorer that disagrees with its label; 6 chunks of 500 steps, top 150,000; kappa 0.5 * 2000 written into the loss, the
    `--beta` option is never read; floor 0.1; threshold 0.02 for HPS and LLaVA scores, 0.2 for aesthetic scores, 0.1 for
    others; LoRA of rank 8 on SD2.1-base.
Our choice: any scorer; thresholds are in its own unit; the total number of steps where the code does not say; the miniature
    constants. The released script for latent consistency models is left out.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers import diffusion_dpo
from prefbench.reference_trainers.data_order import NestedChunks, OrderContext
from prefbench.reference_trainers.diffusion_dpo import dpo_loss
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.method import Constant, Method, Nets, PairBatch
from prefbench.reference_trainers.pair_loss import PairLoss

__all__ = ["METHOD", "Config", "easiest_first", "order", "step"]

_CODE = "CroitoruAlin/Curriculum-DPO@3454543 [CODE]"


@dataclass(frozen=True)
class Config:
    """Constants of Curriculum-DPO."""

    kappa: float
    """Multiplies the logit made of mean-squared errors."""
    scorer: str
    """Whose margin says how easy a pair is."""
    threshold: float
    """Pairs with a smaller or equal |margin| are left out; in the scorer's unit."""
    floor: float | None
    """Pairs with a score not above it are left out; in the scorer's unit; none for no floor."""
    top: int | None
    """At most so many pairs, the easiest; none for all."""
    chunks: int
    """Nested chunks; the last holds all pairs."""
    every: int
    """Optimizer steps before the next chunk."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise UsageError(f"kappa = {self.kappa} is not a positive number. Published: 1000.")
        if not self.threshold >= 0:
            raise UsageError(f"threshold = {self.threshold} must not be negative.")
        for name in ("top", "chunks", "every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} = {value} must be at least 1.")


def easiest_first(
    scores: np.ndarray, *, threshold: float, floor: float | None, top: int | None
) -> np.ndarray:
    """Indices of the pairs to train on, by |margin|, largest first; equal margins keep their order.

    Args:
        scores: of (winner, loser), (N, 2).
        threshold: |margin| must be larger.
        floor: both scores must be larger; None for no floor.
        top: at most so many; None for all.

    Returns:
        (M,) int64, M <= N.

    >>> easiest_first(np.array([[1.0, 2.0], [5.0, 2.0], [2.0, 2.1]]), threshold=0.5, floor=None, top=None)
    array([1, 0])
    """
    margin = np.abs(scores[:, 0] - scores[:, 1])
    kept = margin > threshold
    if floor is not None:
        kept &= (scores > floor).all(axis=1)
    rows = np.flatnonzero(kept)
    return rows[np.argsort(-margin[rows], kind="stable")][:top]


def order(context: OrderContext) -> NestedChunks:
    """Nested chunks of the ranking.

    Raises:
        UsageError: the pairs carry no scores of the scorer.
        DataError: no pair is left.
    """
    cfg: Config = context.config
    known = context.pairs.image_scores
    if cfg.scorer not in known:
        raise UsageError(
            f"curriculum_dpo ranks pairs by the scorer {cfg.scorer!r}, and {context.pairs.source} carries no scores of "
            "it. Train with `prefbench train`, which scores the pairs, or name a scorer whose scores the data has."
        )
    scores = known[cfg.scorer][context.rows]
    ranking = easiest_first(scores, threshold=cfg.threshold, floor=cfg.floor, top=cfg.top)
    if not len(ranking):
        margins = np.abs(scores[:, 0] - scores[:, 1])
        raise DataError(
            f"No pair of {context.pairs.source} is left: {cfg.scorer} gives margins up to {margins.max():.4g} and scores "
            f"from {scores.min():.4g}, and threshold = {cfg.threshold:g}, floor = {cfg.floor} are asked for. Lower them."
        )
    return NestedChunks(
        seed=context.seed,
        ranking=ranking,
        chunks=cfg.chunks,
        every=cfg.every,
        batch=context.batch,
        steps=context.steps,
    )


def step(nets: Nets, batch: PairBatch, draws: Draws, cfg: Config) -> PairLoss:
    """Diffusion-DPO's step: the method is in the order of the pairs."""
    return diffusion_dpo.step(nets, batch, draws, diffusion_dpo.Config(kappa=cfg.kappa))


METHOD = Method(
    name="curriculum_dpo",
    Config=Config,
    loss=dpo_loss,
    step=step,
    paper=(
        "Croitoru et al., Curriculum Direct Preference Optimization for Diffusion and Consistency Models, arXiv "
        "2405.13637, CVPR 2025"
    ),
    code="CroitoruAlin/Curriculum-DPO@3454543",
    needs_reference=True,
    scorers=lambda config: (config.scorer,),
    order=order,
    presets=MappingProxyType(
        {
            "launcher": {
                "kappa": Constant(
                    1000.0, f"0.5 x 2000, written into the loss; --beta is never read: {_CODE}"
                ),
                "scorer": Constant("hpsv2.0", f"its 'human' score, HPS v2: {_CODE}"),
                "threshold": Constant(0.02, f"for HPS, raw cosine: {_CODE}"),
                "floor": Constant(0.1, f"raw cosine: {_CODE}"),
                "top": Constant(150_000, _CODE),
                "chunks": Constant(6, _CODE),
                "every": Constant(500, _CODE),
                "steps": Constant(
                    3000, "ours: 6 chunks of 500 steps; the released default goes on with the last chunk"
                ),
                "lr": Constant(1e-4, _CODE),
                "batch": Constant(8, _CODE),
                "micro_batch": Constant(8, _CODE),
                "lora_rank": Constant(8, _CODE),
                "warm_up": Constant(0.0, "ours: nothing was found"),
            },
            "miniature": {
                "kappa": Constant(1000.0, f"ours, as {_CODE}"),
                "scorer": Constant("mini:pickscore", "ours"),
                "threshold": Constant(0.0, "ours: only exact ties of the scorer are left out"),
                "floor": Constant(None, "ours"),
                "top": Constant(None, "ours"),
                "chunks": Constant(6, f"ours, as {_CODE}"),
                "every": Constant(20, "ours: 6 chunks in the 120 steps of the miniature"),
            },
            "miniature-lora": {"kappa": Constant(1500.0, "ours: as diffusion_dpo")},
        }
    ),
)
