"""What a person sees while a network trains."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["ConsoleProgress", "ProgressReport", "SilentProgress", "metrics_text"]

LINES_PER_RUN = 20
SMOOTHING = 0.9


class ProgressReport(Protocol):
    """Told what happens; decides nothing."""

    def note(self, text: str) -> None:
        """A sentence about what comes next."""
        ...

    def start(self, done: int, total: int) -> None:
        """Training starts with `done` of `total` steps made."""
        ...

    def step(self, metrics: Mapping[str, Any]) -> None:
        """One step is done; the line of metrics.jsonl."""
        ...

    def stop(self) -> None:
        """Training ended, well or not."""
        ...


class SilentProgress:
    """Shows nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def start(self, done: int, total: int) -> None:
        """Nothing."""

    def step(self, metrics: Mapping[str, Any]) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


def metrics_text(loss: float, accuracy: float | None) -> str:
    """Loss and, where pairs are compared, implicit accuracy."""
    return f"loss {loss:.4f}" + ("" if accuracy is None else f"  implicit accuracy {accuracy:.2f}")


class ConsoleProgress:
    """A bar on a terminal; elsewhere a plain line at about every twentieth of the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._started = 0.0
        self._first = self._total = 0
        self._loss: float | None = None
        self._accuracy: float | None = None

    def note(self, text: str) -> None:
        """One line."""
        self._console.print(text, highlight=False, markup=False)

    def start(self, done: int, total: int) -> None:
        """Show the bar."""
        self._started, self._first, self._total = time.perf_counter(), done, total
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("starting", total=total, completed=done, rate="")
        self._bar.start()

    def step(self, metrics: Mapping[str, Any]) -> None:
        """Smooth loss and accuracy a little, so that the bar can be read."""
        self._loss = self._smooth(self._loss, metrics["loss"])
        if metrics["implicit_accuracy"] is not None:
            self._accuracy = self._smooth(self._accuracy, metrics["implicit_accuracy"])
        step = int(metrics["step"])
        seconds = (time.perf_counter() - self._started) / max(1, step - self._first)
        rate = f"{1 / seconds:.1f} steps/s" if seconds < 1 else f"{seconds:.1f} s/step"
        text = metrics_text(self._loss, self._accuracy)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text, rate=rate)
        elif step % max(1, self._total // LINES_PER_RUN) == 0 or step == self._total:
            left = seconds * (self._total - step)
            self.note(f"step {step}/{self._total}  {text}  {rate}  {left:.0f} s left")

    def stop(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @staticmethod
    def _smooth(old: float | None, new: float) -> float:
        return new if old is None else SMOOTHING * old + (1 - SMOOTHING) * new
