"""Randomness as a function of (seed, step, row), and the order of the data as a function of (seed, epoch).

Nothing here has a state that could be lost, so a resumed run draws what the uninterrupted one would have
drawn, and a row of the batch draws the same numbers however the batch is cut into micro-batches or spread
over processes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["Draws", "MicroBatch", "micro_batches", "pair_index", "pairs_drawn"]

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


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def pair_index(seed: int, position: int, count: int) -> int:
    """Which of `count` pairs stands at `position` (0, 1, ...) of the endless stream of shuffled epochs."""
    epoch, offset = divmod(position, count)
    return int(_permutation(seed, epoch, count)[offset])


def pairs_drawn(seed: int, draws: int, count: int) -> np.ndarray:
    """Which of `count` pairs the first `draws` positions of the stream meet, each once, shape (min(draws, count),)."""
    return _permutation(seed, 0, count)[:draws]


@dataclass(frozen=True)
class MicroBatch:
    """The rows of one forward pass.

    Attributes:
        step: optimizer step, from 0.
        rows: places in the batch of that step.
        indices: pair of each row, index into the rows that the method kept.
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
) -> Iterator[MicroBatch]:
    """The forward passes of one process from `first_step` to the end.

    `batch` pairs an optimizer step, all processes together, are cut into chunks of `micro_batch`; process p
    takes chunks p, p + processes, ... `batch` must be a multiple of micro_batch * processes.
    """
    for step in range(first_step, steps):
        starts = range(process * micro_batch, batch, micro_batch * processes)
        for start in starts:
            rows = tuple(range(start, start + micro_batch))
            indices = tuple(pair_index(seed, step * batch + row, count) for row in rows)
            yield MicroBatch(step, rows, indices, last=start == starts[-1])
