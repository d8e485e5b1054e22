"""Randomness as a function of (seed, step, row), and the passes of a run (which rows stand in them: data_order.py).

Nothing here has a state that could be lost, so a resumed run draws what the uninterrupted one would have
drawn, and a row of the batch draws the same numbers however the batch is cut into micro-batches or spread
over processes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from prefbench.reference_trainers.data_order import DataOrder, ShuffledEpochs

__all__ = ["Draws", "MicroBatch", "micro_batches"]

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Draws:
    """Random numbers for some rows of one optimizer step's batch.

    Each quantity has a name, and each (seed, step, row, name) its own CPU generator, so methods can draw what
    they like in any order: `draws.normal("noise", (4, 64, 64))`, and an independent noise under another name.
    """

    seed: int
    step: int
    rows: tuple[int, ...]
    device: torch.device = CPU

    def _generators(self, name: str) -> Iterator[torch.Generator]:
        generator = torch.Generator()
        for row in self.rows:
            digest = hashlib.sha256(f"{self.seed}:{self.step}:{row}:{name}".encode()).digest()
            yield generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal, (rows, *shape), float32."""
        out = torch.empty(len(self.rows), *shape)
        for row, generator in zip(out, self._generators(name), strict=True):
            torch.randn(shape, generator=generator, out=row)
        return out.to(self.device)

    def integers(self, name: str, high: int) -> Tensor:
        """Uniform over 0..high-1, (rows,), int64."""
        values = [torch.randint(high, (), generator=generator) for generator in self._generators(name)]
        return torch.stack(values).to(self.device)

    def uniform(self, name: str) -> Tensor:
        """Uniform over [0, 1), (rows,), float32, on the CPU: it decides what to load, not what to compute."""
        return torch.stack([torch.rand((), generator=generator) for generator in self._generators(name)])


@dataclass(frozen=True)
class MicroBatch:
    """The rows of one forward pass.

    Attributes:
        step: optimizer step, from 0.
        rows: places in the batch of that step.
        indices: pair (or single image) of each row, index into those that the method kept.
        last: whether the optimizer steps after it.
    """

    step: int
    rows: tuple[int, ...]
    indices: tuple[int, ...]
    last: bool


def micro_batches(
    *,
    seed: int,
    count: int,
    batch: int,
    micro_batch: int,
    first_step: int,
    steps: int,
    process: int,
    processes: int,
    order: DataOrder | None = None,
) -> Iterator[MicroBatch]:
    """The forward passes of one process from `first_step` to the end.

    `batch` pairs an optimizer step, all processes together, are cut into chunks of `micro_batch`; process p
    takes chunks p, p + processes, ... `batch` must be a multiple of micro_batch * processes. `order` says which pair
    stands at each row; None for shuffled epochs of `count` pairs.
    """
    order = order or ShuffledEpochs(seed, count, batch, steps)
    for step in range(first_step, steps):
        starts = range(process * micro_batch, batch, micro_batch * processes)
        for start in starts:
            rows = tuple(range(start, start + micro_batch))
            yield MicroBatch(step, rows, order.indices(step, rows), last=start == starts[-1])
