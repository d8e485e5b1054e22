"""A line a stage on the terminal: what is done, how fast, how long still."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["Advance", "Stages", "shown_on", "silent"]

Advance = Callable[[int], None]
"""Called with the number of steps just done."""

Stages = Callable[[str, int, str], AbstractContextManager[Advance]]
"""stage(name, total, unit): told by a run what it does; the block gets an `Advance`."""


class _Rate(ProgressColumn):
    """Steps a second, or nothing before the first."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


@contextmanager
def silent(name: str, total: int, unit: str) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda steps: None


@contextmanager
def shown_on(console: Console, *, transient: bool = False) -> Iterator[Stages]:
    """Show every stage on `console`, finished ones above the current one.

    `transient` takes them away at the end; where that cannot be, in a file, nothing is shown.
    """
    if transient and not console.is_terminal:
        yield silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console, expand=True, transient=transient)

    @contextmanager
    def stage(name: str, total: int, unit: str) -> Iterator[Advance]:
        progress.start()  # not before: without a stage, stopping prints an empty line above the error
        task = progress.add_task(escape(name), total=total, unit=unit)
        yield lambda steps: progress.advance(task, steps)

    try:
        yield stage
    finally:
        if progress.tasks:
            progress.stop()
