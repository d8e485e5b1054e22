"""Which pair, image or list stands at which row of which batch: pure functions of (seed, step, row).

An order has no state, so a resumed run and a run spread over processes meet the same rows as one that was neither, and
it can name all that the run will meet before the first step (the latents to encode).

    ShuffledEpochs     every unit once an epoch, in a new order each epoch
    NestedChunks       a curriculum: the first n units of a ranking, n growing in steps, shuffled within
    StagedPools        some units alone for so many steps, then all
    WeightedClasses    two classes, drawn with replacement, the first with a given probability
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.named_random import named_generator
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.preferences.ranked_lists import RankedLists
from prefbench.reference_trainers.preferences.single_images import SingleImages

__all__ = [
    "DataOrder",
    "NestedChunks",
    "OrderContext",
    "ShuffledEpochs",
    "StagedPools",
    "WeightedClasses",
    "pair_index",
    "shuffled_epochs",
]


class DataOrder(Protocol):
    """Which units (pairs, images or lists that the method kept, by index) a run meets, and when."""

    @property
    def units(self) -> int:
        """How many different units the order draws from."""
        ...

    def indices(self, step: int, rows: Sequence[int]) -> tuple[int, ...]:
        """The units at these rows of the batch of optimizer step `step`, both from 0."""
        ...

    def met(self) -> np.ndarray:
        """Every unit that the run's batches contain, each once, (M,) int64."""
        ...


@dataclass(frozen=True)
class OrderContext:
    """What an order may depend on.

    Attributes:
        pairs: the data, with the scores of the method's scorers.
        rows: the pairs that `Method.prepare` kept.
        images: their images, each once, for a method of unit "image"; else None.
        config: the method's Config.
        seed: of the run.
        batch: units an optimizer step.
        steps: optimizer steps of the whole run.
        lists: their images as lists, for a method of unit "ranking"; else None.
    """

    pairs: PreferencePairs
    rows: np.ndarray
    images: SingleImages | None
    config: Any
    seed: int
    batch: int
    steps: int
    lists: RankedLists | None = None


@lru_cache(maxsize=4)
def _permutation(key: tuple[int, ...], count: int) -> np.ndarray:
    """Of the order alone; whatever else a seed decides has a named generator and so shares nothing with it."""
    return np.random.default_rng(list(key)).permutation(count)


def pair_index(seed: int, position: int, count: int) -> int:
    """Which of `count` units stands at `position` (0, 1, ...) of the endless stream of shuffled epochs."""
    epoch, offset = divmod(position, count)
    return int(_permutation((seed, epoch), count)[offset])


@dataclass(frozen=True)
class ShuffledEpochs:
    """Each of `count` units once an epoch; an epoch may end within a batch."""

    seed: int
    count: int
    batch: int
    steps: int

    @property
    def units(self) -> int:
        """All of them."""
        return self.count

    def indices(self, step: int, rows: Sequence[int]) -> tuple[int, ...]:
        """See DataOrder."""
        return tuple(pair_index(self.seed, step * self.batch + row, self.count) for row in rows)

    def met(self) -> np.ndarray:
        """In the order of the first epoch."""
        return _permutation((self.seed, 0), self.count)[: self.steps * self.batch]


def shuffled_epochs(context: OrderContext) -> ShuffledEpochs:
    """What a method gets that asks for no other order."""
    expanded = context.lists if context.images is None else context.images
    count = len(context.rows) if expanded is None else len(expanded)
    return ShuffledEpochs(context.seed, count, context.batch, context.steps)


@dataclass(frozen=True)
class NestedChunks:
    """Cumulative chunks of a ranking: chunk c, used from step c * every on, is its first (c + 1) / chunks.

    Each chunk has its own shuffled epochs, as the released Curriculum-DPO starts its loader anew; the last chunk, which
    is everything, stays to the end.

    Attributes:
        seed: of the run.
        ranking: units, easiest first, (N,).
        chunks: how many; at most N.
        every: optimizer steps a chunk.
        batch: units a step.
        steps: of the run.
    """

    seed: int
    ranking: np.ndarray
    chunks: int
    every: int
    batch: int
    steps: int

    def __post_init__(self) -> None:
        if len(self.ranking) < self.chunks:
            raise UsageError(
                f"chunks = {self.chunks} of {len(self.ranking)} pair(s): a chunk would be empty. Lower chunks, or give "
                "more pairs."
            )

    @property
    def units(self) -> int:
        """All that are ranked."""
        return len(self.ranking)

    def chunk(self, step: int) -> int:
        """Number of the chunk at `step`, from 0."""
        return min(step // self.every, self.chunks - 1)

    def size(self, chunk: int) -> int:
        """Units of the ranking that a chunk holds; cut as numpy's linspace, truncated [CODE]."""
        return int(np.linspace(0, len(self.ranking), self.chunks + 1)[chunk + 1])

    def indices(self, step: int, rows: Sequence[int]) -> tuple[int, ...]:
        """See DataOrder."""
        chunk = self.chunk(step)
        size, first = self.size(chunk), (step - chunk * self.every) * self.batch
        places = [divmod(first + row, size) for row in rows]
        return tuple(
            int(self.ranking[_permutation((self.seed, chunk, epoch), size)[offset]])
            for epoch, offset in places
        )

    def met(self) -> np.ndarray:
        """Chunk by chunk, each unit where it is met first."""
        places = []
        for chunk in range(self.chunk(self.steps - 1) + 1):
            last = chunk == self.chunks - 1
            until = self.steps if last else min(self.steps, (chunk + 1) * self.every)
            drawn = (until - chunk * self.every) * self.batch
            places.append(_permutation((self.seed, chunk, 0), self.size(chunk))[:drawn])
        together = np.concatenate(places)
        _, first = np.unique(together, return_index=True)
        return self.ranking[together[np.sort(first)]]


@dataclass(frozen=True)
class StagedPools:
    """Shuffled epochs of some units until a step, then new shuffled epochs of all.

    Attributes:
        seed: of the run.
        first: units of the first stage, (F,).
        count: all units.
        until: optimizer steps of the first stage.
        batch: units a step.
        steps: of the run.
    """

    seed: int
    first: np.ndarray
    count: int
    until: int
    batch: int
    steps: int

    @property
    def units(self) -> int:
        """Those of both stages."""
        return self.count if self.steps > self.until else len(self.first)

    def indices(self, step: int, rows: Sequence[int]) -> tuple[int, ...]:
        """See DataOrder."""
        stage = int(step >= self.until)
        size, start = (self.count, self.until) if stage else (len(self.first), 0)
        places = [divmod((step - start) * self.batch + row, size) for row in rows]
        drawn = [int(_permutation((self.seed, stage, epoch), size)[offset]) for epoch, offset in places]
        return tuple(drawn) if stage else tuple(int(self.first[place]) for place in drawn)

    def met(self) -> np.ndarray:
        """First stage first, each unit where it is met first."""
        early = min(self.steps, self.until)
        alone = self.first[_permutation((self.seed, 0, 0), len(self.first))[: early * self.batch]]
        later = _permutation((self.seed, 1, 0), self.count)[: (self.steps - early) * self.batch]
        together = np.concatenate([alone, later])
        _, first = np.unique(together, return_index=True)
        return together[np.sort(first)]


@lru_cache(maxsize=4)
def _uniforms(seed: int, step: int, batch: int) -> np.ndarray:
    """(batch, 2) for one step."""
    return named_generator("weighted classes", seed, step).random((batch, 2))


@dataclass(frozen=True)
class WeightedClasses:
    """Draws with replacement: a unit of `first` with probability `share`, else one of `second`, uniform within.

    The long run of torch's WeightedRandomSampler with weights N / count(class) x (share or 1 - share).

    Attributes:
        seed: of the run.
        first: units of the first class, (F,).
        second: units of the second class, (S,).
        share: probability of the first class, above 0 and below 1.
        batch: units a step.
        steps: of the run.
    """

    seed: int
    first: np.ndarray
    second: np.ndarray
    share: float
    batch: int
    steps: int

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"The share of a class, {self.share}, must lie between 0 and 1, both excluded.")
        if not len(self.first) or not len(self.second):
            raise DataError(
                f"Of {self.units} images, {len(self.first)} were preferred at least once and {len(self.second)} never: "
                "both kinds are needed. Give more pairs."
            )

    @property
    def units(self) -> int:
        """Both classes."""
        return len(self.first) + len(self.second)

    def _drawn(self, step: int) -> np.ndarray:
        which, place = _uniforms(self.seed, step, self.batch).T
        first = self.first[(place * len(self.first)).astype(np.int64)]
        second = self.second[(place * len(self.second)).astype(np.int64)]
        return np.where(which < self.share, first, second)

    def indices(self, step: int, rows: Sequence[int]) -> tuple[int, ...]:
        """See DataOrder."""
        drawn = self._drawn(step)
        return tuple(int(drawn[row]) for row in rows)

    def met(self) -> np.ndarray:
        """Sorted."""
        seen = np.zeros(int(max(self.first.max(), self.second.max())) + 1, dtype=bool)
        for step in range(self.steps):
            seen[self._drawn(step)] = True
        return np.flatnonzero(seen)
