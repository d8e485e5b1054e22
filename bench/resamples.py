"""How many bootstrap samples an interval is made of, and from which draws: one rule for every command."""

import hashlib
from typing import get_args

import numpy as np

from prefbench.bench.exceptions import UsageError
from prefbench.bench.registry import unknown_name
from prefbench.bench.tally.win_rate import Interval

__all__ = ["FEWEST_RESAMPLES", "MOST_RESAMPLES", "check_resamples", "interval_named", "stream"]

FEWEST_RESAMPLES = 1000
"""Below this the ends of a 95 % interval are themselves guesses: at 1000, 25 draws lie beyond each."""

MOST_RESAMPLES = 1_000_000


def check_resamples(resamples: int) -> None:
    """Raises UsageError for too few samples to tell an interval by, or so many that they only cost memory."""
    if not FEWEST_RESAMPLES <= resamples <= MOST_RESAMPLES:
        raise UsageError(
            f"resamples is {resamples}; an interval needs at least {FEWEST_RESAMPLES} (10000 is usual), and more than "
            f"{MOST_RESAMPLES:,} only cost memory."
        )


def interval_named(name: str) -> Interval:
    """The bootstrap interval of that name.

    Raises:
        UsageError: there is none.
    """
    names: dict[str, Interval] = {known: known for known in get_args(Interval)}
    if name not in names:
        raise unknown_name("interval", name, list(names))
    return names[name]


def stream(seed: int, name: str) -> np.random.Generator:
    """The draws of one slice or block: its own for each name, so that adding one does not change another.

    Args:
        seed: of the bootstrap, 0 or more.
        name: of the slice or block. Equal seeds and names give equal draws.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
