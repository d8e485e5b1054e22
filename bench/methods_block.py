"""The "methods" of results.json: win rates of methods, over their trainings and over prompts.

**Paired or crossed.** Trainings of one seed share the order of the data and the noise, and what is drawn for that seed. So where
two methods have the same training seeds, seed s stands against seed s and the differences are the sample. Otherwise every
training of one stands against every one of the other, as independent samples. If trainings of equal seeds resemble one
another there, too, the crossed interval is too wide, never too narrow.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.paired_samples import Ballots, PairedSamples
from prefbench.bench.resamples import stream
from prefbench.bench.tally.two_level import MethodWinRate, method_win_rates
from prefbench.bench.tally.win_rate import Interval
from prefbench.bench.training_groups import TrainingGroup, named_groups, training_groups
from prefbench.bench.verdict import MAJORITY

__all__ = ["METHOD", "groups_of", "methods_block"]

METHOD = (
    "Win rate: mean over the pairs of all trainings. Trainings are paired by their seed where both methods have the same seeds, "
    "else each of one method stands against each of the other. 95 % interval over trainings and prompts: the limits over "
    "prompts, widened by Student's t times the standard error over trainings of each side that has several (added as squares; "
    "Banerjee 1960). A side with one training or without a training record is that checkpoint and not a method. "
    "seed_spread: standard deviation of the win rate of single trainings, n - 1 below."
)

Grid = list[list[tuple[str, str]]]
"""Checkpoints that stand against each other."""


def groups_of(
    checkpoints: Mapping[str, Mapping[str, Any]], told: Mapping[str, Sequence[str]] | None = None
) -> list[TrainingGroup]:
    """Every checkpoint in exactly one group, in the order of the checkpoints.

    Args:
        checkpoints: entries of results.json.
        told: method -> checkpoints, where a user says it; None to go by the training records.

    Raises:
        UsageError: see `named_groups`.
    """
    found = training_groups(checkpoints) if told is None else named_groups(told, checkpoints)
    inside = {name for group in found for name in group.checkpoints}
    alone = [_alone(name, info) for name, info in checkpoints.items() if name not in inside]
    order = list(checkpoints)
    return sorted([*found, *alone], key=lambda group: min(map(order.index, group.checkpoints)))


def methods_block(
    samples: PairedSamples,
    ballots: Ballots,
    groups: Sequence[TrainingGroup],
    resamples: int,
    seed: int,
    *,
    interval: Interval = "percentile",
) -> dict[str, Any] | None:
    """Compare every two groups of which one has several trainings, the later over the earlier.

    Args:
        samples: the scores.
        ballots: what every scorer votes on every comparison.
        groups: from `groups_of`.
        resamples: bootstrap samples of prompts.
        seed: of the bootstrap; every comparison has its own stream.
        interval: over prompts.

    Returns:
        The block (docs/architecture.md); None where no method has several trainings that were compared with something.
    """
    prompts = pd.factorize(samples.about["prompt"], sort=True)[0]
    compared = {*ballots.pairs, *(pair[::-1] for pair in ballots.pairs)}
    judges = (MAJORITY, *samples.scorers)
    entries: list[dict[str, Any]] = []
    for b, a in combinations(groups, 2):
        grid = _grid(a, b)
        if len(_flat(grid)) > 1 and all(pair in compared for pair in _flat(grid)):
            draws = functools.partial(stream, seed, f"methods {a.name} {b.name}")
            rates = _rates(ballots, prompts, grid, resamples, draws, interval)
            entries += [_entry(a, b, judge, rate, grid) for judge, rate in zip(judges, rates, strict=True)]
    if not entries:
        return None
    return {
        "groups": {group.name: list(group.checkpoints) for group in groups},
        "comparisons": entries,
        "method": METHOD,
    }


def _alone(name: str, info: Mapping[str, Any]) -> TrainingGroup:
    seed = (info.get("training") or {}).get("seed")
    return TrainingGroup(name, (name,), None if seed is None else (seed,))


def _paired(a: TrainingGroup, b: TrainingGroup) -> bool:
    """Whether both have the same training seeds, each once."""
    if a.seeds is None or b.seeds is None or len(a.seeds) < 2:
        return False
    return len(set(a.seeds)) == len(a.seeds) == len(b.seeds) and set(a.seeds) == set(b.seeds)


def _grid(a: TrainingGroup, b: TrainingGroup) -> Grid:
    """Which two checkpoints stand against each other: n_a rows of n_b, or where they are paired n rows of one."""
    if _paired(a, b):
        return [[pair] for pair in zip(_by_seed(a), _by_seed(b), strict=True)]
    return [[(x, y) for y in b.checkpoints] for x in a.checkpoints]


def _flat(grid: Grid) -> list[tuple[str, str]]:
    return [pair for row in grid for pair in row]


def _by_seed(group: TrainingGroup) -> list[str]:
    assert group.seeds is not None, "paired groups have seeds"
    return [name for _, name in sorted(zip(map(str, group.seeds), group.checkpoints, strict=True))]


def _rates(
    ballots: Ballots,
    prompts: npt.NDArray[np.int64],
    grid: Grid,
    resamples: int,
    draws: Callable[[], np.random.Generator],
    interval: Interval,
) -> list[MethodWinRate]:
    """The vote's and every scorer's, all from the same draws."""
    places = {pair: (i, 1) for i, pair in enumerate(ballots.pairs)}
    places |= {(y, x): (i, -1) for i, (x, y) in enumerate(ballots.pairs)}
    at, sign = np.array([[places[pair] for pair in row] for row in grid]).transpose(2, 0, 1)
    turned = sign[..., None, None].astype(np.int8)
    vote, counted = ballots.vote[at][..., None] * turned, ballots.counted[at]
    cast = ballots.cast[at].transpose(0, 1, 3, 2) * turned
    # A vote that leaves pairs out has rows of its own; otherwise one call serves all, with the same numbers.
    parts = (
        [(np.concatenate([vote, cast], axis=3), None)] if counted.all() else [(vote, counted), (cast, None)]
    )
    return [
        rate
        for votes, kept in parts
        for rate in method_win_rates(
            votes, prompts, resamples=resamples, rng=draws(), counted=kept, interval=interval
        )
    ]


def _entry(
    a: TrainingGroup,
    b: TrainingGroup,
    scorer: str,
    rate: MethodWinRate,
    grid: Grid,
) -> dict[str, Any]:
    return {
        "a": a.name,
        "b": b.name,
        "scorer": scorer,
        "training_seeds": [_count(a), _count(b)],
        "paired": _paired(a, b),
        "prompts": rate.prompts,
        "win_rate": rate.win_rate,
        "ci95": None if rate.ci95 is None else list(rate.ci95),
        "ci_method": rate.ci_method,
        "per_seed": [
            {"a": x, "b": y, "win_rate": float(single)}
            for (x, y), single in zip(_flat(grid), rate.per_training.flat, strict=True)
        ],
        "seed_spread": rate.seed_spread,
    }


def _count(group: TrainingGroup) -> int | None:
    """How many trainings; None for a checkpoint of which no training is known."""
    return len(group.checkpoints) if group.seeds is not None or len(group.checkpoints) > 1 else None
