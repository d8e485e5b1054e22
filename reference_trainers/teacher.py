"""A frozen copy of the policy that labels for it, and what was measured of the copy."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["Teacher"]

_WEIGHTS, _MEASURED = "weights.", "measured."


class Teacher:
    """The weights in training as they were when last taken, fp32; at first those of the start.

    Attributes:
        weights: by name; their tensors stay the same objects.
        measured: tensors by name; the mapping stays the same object.

    Args:
        trained: the parameters in training, by name.
    """

    def __init__(self, trained: Mapping[str, Tensor]) -> None:
        self.weights = {name: value.detach().to(torch.float32, copy=True) for name, value in trained.items()}
        self.measured: dict[str, Tensor] = {}

    @torch.no_grad()
    def take(self, trained: Mapping[str, Tensor]) -> None:
        """Copy the policy; what was measured of the copy before is forgotten."""
        for name, value in self.weights.items():
            value.copy_(trained[name])
        self.measured.clear()

    def state(self) -> dict[str, Tensor]:
        """Everything that a resume needs, as tensors by name."""
        return {_WEIGHTS + k: v for k, v in self.weights.items()} | {
            _MEASURED + k: v for k, v in self.measured.items()
        }

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take up `state` where an earlier process left it.

        Raises:
            KeyError: `state` lacks a weight.
        """
        for name, value in self.weights.items():
            value.copy_(state[_WEIGHTS + name])
        self.measured.clear()
        for name, value in state.items():
            if name.startswith(_MEASURED):
                self.measured[name.removeprefix(_MEASURED)] = value.to(device)
