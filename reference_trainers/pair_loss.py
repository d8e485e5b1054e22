"""What every preference loss returns."""

from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["PairLoss"]


@dataclass(frozen=True)
class PairLoss:
    """An unreduced loss and what is worth logging; the loop takes the mean.

    Attributes:
        per_pair: shape (B,), differentiable.
        logit: shape (B,), detached; > 0 where the policy prefers the winner more than the reference does.
            None for a method that compares no pair (SFT).
        log: detached scalars (0-d tensors) that the method wants in metrics.jsonl; NaN where this pass has nothing to
            measure, which the loop leaves out of its means and writes as null if no pass had.
    """

    per_pair: Tensor
    logit: Tensor | None
    log: dict[str, Tensor] = field(default_factory=dict)
