"""What a person sees while a network trains."""

import io
from typing import Any

import pytest
from rich.console import Console

from prefbench.reference_trainers import progress
from prefbench.reference_trainers.progress import ConsoleProgress

STEPS: list[dict[str, Any]] = [{"step": i, "loss": 0.5, "implicit_accuracy": 0.75} for i in range(1, 41)]


def shown(terminal: bool, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> str:
    """The output of 40 steps of half a second each."""
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock) / 2)
    out = io.StringIO()
    report = ConsoleProgress(Console(file=out, force_terminal=terminal, width=100))
    report.start(0, len(STEPS))
    for metrics in STEPS:
        report.step({**metrics, **changes})
    report.stop()
    return out.getvalue()


def test_a_terminal_shows_a_bar_with_loss_accuracy_and_rate(monkeypatch: pytest.MonkeyPatch):
    text = shown(True, monkeypatch)
    assert "loss 0.5000  implicit accuracy 0.75" in text
    assert "40/40" in text
    assert "2.0 steps/s" in text


def test_elsewhere_there_are_about_twenty_plain_lines(monkeypatch: pytest.MonkeyPatch):
    lines = shown(False, monkeypatch).splitlines()
    assert len(lines) == 20
    assert lines[0] == "step 2/40  loss 0.5000  implicit accuracy 0.75  2.0 steps/s  19 s left"
    assert lines[-1].startswith("step 40/40")


def test_a_method_that_compares_no_pairs_shows_no_accuracy(monkeypatch: pytest.MonkeyPatch):
    assert "accuracy" not in shown(False, monkeypatch, implicit_accuracy=None)
