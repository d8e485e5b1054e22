"""Exponential moving averages of the weights in training, kept in fp32.

The effective decay is that of diffusers' EMAModel without options: min(decay, (1 + s) / (10 + s)) with s = updates - 1,
and the first update copies the weights (its decay is 0). Averages of any two decays of at least 1/2 are therefore
identical for the first nine updates.

Released code (fanfanffff1/Adaptive-DPO@a64ae01) averages all parameters, frozen ones included, and in fp16, where an
average of decay 0.9999 can stand still. Ours: fp32, and of the parameters in training only.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["WeightAverage", "effective_decay"]


def effective_decay(decay: float, updates: int) -> float:
    """Share of the old average that update number `updates` (from 1) keeps.

    >>> [round(effective_decay(0.9999, n), 3) for n in (1, 2, 10)]
    [0.0, 0.182, 0.526]
    """
    step = updates - 1
    return 0.0 if step <= 0 else min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """One moving average of the weights in training.

    Args:
        decay: largest share of the old average that an update keeps, 0 to 1.
        trained: the parameters in training, by name; the average starts as their copy.
    """

    def __init__(self, decay: float, trained: Mapping[str, Tensor]) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be from 0 to 1, got {decay}")
        self.decay = decay
        self.updates = 0
        self.weights = {name: value.detach().to(torch.float32, copy=True) for name, value in trained.items()}

    @torch.no_grad()
    def update(self, trained: Mapping[str, Tensor]) -> None:
        """Take in the weights after an optimizer step."""
        self.updates += 1
        decay = effective_decay(self.decay, self.updates)
        for name, average in self.weights.items():
            value = trained[name].detach().float()
            if decay == 0:  # a - 1 * (a - b) would be b up to rounding only
                average.copy_(value)
            else:
                average.sub_((1 - decay) * (average - value))

    def state(self) -> dict[str, Tensor]:
        """Everything that a resume needs, as tensors by name."""
        return {"updates": torch.tensor(self.updates)} | {f"weights.{k}": v for k, v in self.weights.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state` where an earlier process left it."""
        self.updates = int(state["updates"])
        for name, average in self.weights.items():
            average.copy_(state[f"weights.{name}"])
