"""How long work says what it is doing, without knowing who listens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

__all__ = ["Advance", "Stages", "noted", "silent"]

Advance = Callable[[int], None]
"""Called with the number of units just done."""

Stages = Callable[[str, int, str], AbstractContextManager[Advance]]
"""stage(name, total, unit): the block gets an `Advance`. `prefbench.bench.progress` has one with bars."""

LINES = 10


@contextmanager
def silent(name: str, total: int, unit: str) -> Iterator[Advance]:
    """Say nothing."""
    yield lambda units: None


def noted(note: Callable[[str], None]) -> Stages:
    """Stages as plain lines, about ten a stage."""

    @contextmanager
    def stage(name: str, total: int, unit: str) -> Iterator[Advance]:
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            before, done = done, done + units
            if total and done * LINES // total != before * LINES // total:
                note(f"{name}: {done} of {total} {unit}")

        yield advance

    return stage
