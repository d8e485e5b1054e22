"""What the offline loop needs to know, the same for every method."""

from dataclasses import dataclass
from typing import Literal

from prefbench.bench.exceptions import UsageError

__all__ = ["ADAM_EPSILON", "LoopConfig", "learning_rate", "warm_up_steps"]

ADAM_EPSILON = 1e-8
"""SalesforceAIResearch/DiffusionDPO@5233e75 train.py [CODE]; also the default of torch."""


@dataclass(frozen=True)
class LoopConfig:
    """Optimizer, schedule, batch and bookkeeping of one run."""

    lr: float
    """Peak learning rate of AdamW, for the whole `batch`, however many processes share it."""
    steps: int
    """Optimizer steps."""
    batch: int
    """Pairs an optimizer step, all processes and micro-batches together."""
    schedule: Literal["constant", "linear"]
    """After warm-up: constant, or linear decay to zero."""
    warm_up: float
    """Share of the steps over which the learning rate rises linearly, 0 to 1."""
    weight_decay: float
    """AdamW, decoupled."""
    beta1: float
    """AdamW."""
    beta2: float
    """AdamW."""
    clip: float
    """Largest norm of the whole gradient; inf for none."""
    precision: Literal["fp32", "fp16", "bf16"]
    """Of the forward passes; trained weights are always kept in fp32."""
    lower_after: int | None = None
    """Optimizer steps after which the learning rate is multiplied by `lower_to`; none for never."""
    lower_to: float = 1.0
    """Share of the scheduled learning rate that is left then, above 0 to 1."""
    seed: int = 0
    """Order of the data, timesteps, noise, initial adapters."""
    micro_batch: int | None = None
    """Pairs a forward pass and process; None for as many as there are. Gradients accumulate over the rest."""
    lora_rank: int | None = None
    """Rank of LoRA adapters on the attention projections (alpha = rank); None trains the whole UNet."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    checkpoint_every: int = 100
    """Steps between saved training states."""
    export_every: int | None = None
    """Steps between checkpoints kept in OUT/exports, to be benchmarked beside the last; none for the last alone."""
    keep_state: bool = False
    """Keep OUT/state (optimizer and all) after the last step."""
    log_with: str | None = None
    """One of accelerate's trackers, such as tensorboard or wandb; none for OUT/metrics.jsonl alone."""

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch",
            "checkpoint_every",
            "export_every",
            "micro_batch",
            "lora_rank",
            "lower_after",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} = {value} must be at least 1.")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} = {getattr(self, name)} must be greater than 0.")
        for name in ("weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} = {getattr(self, name)} must not be negative.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)} must be from 0 to below 1.")
        if not 0 < self.lower_to <= 1 or (self.lower_after is None and self.lower_to != 1):
            raise UsageError(
                f"lower_to = {self.lower_to} is the share of the learning rate that is left after lower_after = "
                f"{self.lower_after} steps. Give a share above 0 and at most 1, and a number of steps."
            )
        if not 0 <= self.warm_up <= 1:
            raise UsageError(f"warm_up = {self.warm_up} is a share of the steps. Give a number from 0 to 1.")

    def micro_batch_for(self, processes: int) -> int:
        """Pairs a forward pass.

        Raises:
            UsageError: the batch cannot be shared out evenly.
        """
        share, rest = divmod(self.batch, processes)
        micro = self.micro_batch or share
        if rest or micro < 1 or share % micro:
            raise UsageError(
                f"batch = {self.batch} pairs cannot be cut into equal passes of micro_batch = {micro} on "
                f"{processes} process(es). Choose batch as a multiple of micro_batch x processes."
            )
        return micro


def warm_up_steps(cfg: LoopConfig) -> int:
    """Steps of the linear rise."""
    return round(cfg.warm_up * cfg.steps)


def learning_rate(cfg: LoopConfig, step: int) -> float:
    """Learning rate of optimizer step `step`, counted from 0: a function of the step, without state.

    Rises as (step + 1) / warm-up, so that the first step is not lost (the released launcher's first rate is
    0: ours). The linear decay reaches zero just after the last step.
    """
    warm = warm_up_steps(cfg)
    lr = cfg.lr if cfg.lower_after is None or step < cfg.lower_after else cfg.lr * cfg.lower_to
    if step < warm:
        return lr * (step + 1) / warm
    if cfg.schedule == "constant":
        return lr
    return lr * (cfg.steps - step) / (cfg.steps - warm)
