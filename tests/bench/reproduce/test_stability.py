"""The reward over the last steps: which checkpoints, and two spreads by hand."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from prefbench.bench.reproduce.arms import ARMS
from prefbench.bench.reproduce.jobs import Size
from prefbench.bench.reproduce.miniature import reproduce_miniature
from prefbench.bench.reproduce.stability import spreads, traced_steps
from prefbench.bench.reproduce.table import print_reproduction


def table(means: dict[str, float]) -> pd.DataFrame:
    """Two prompts whose scores lie 1 to either side of the checkpoint's mean."""
    rows = [
        (name, prompt, "truth", mean + side)
        for name, mean in means.items()
        for prompt, side in (("a", -1), ("b", 1))
    ]
    return pd.DataFrame(rows, columns=["checkpoint", "prompt_id", "scorer", "score"])


def test_spreads_by_hand() -> None:
    """Steps 1, 2, 3 of seed 0 score 1, 2, 3 (deviation 1), of seed 1 score 1, 1, 5 (mean 7/3, deviation sqrt(16/3)).

    Ends are 3 and 5: deviation sqrt(2).
    """
    traces = {
        0: table({"base": 0.5, "step-1": 1, "step-2": 2, "step-3": 3}),
        1: table({"base": 0.5, "step-1": 1, "step-2": 1, "step-3": 5}),
    }
    found = spreads(traces, 3, ["truth"])
    assert (found["steps"], found["prompts"]) == ([1, 2, 3], 2)
    judged = found["judges"]["truth"]
    assert judged["means"] == {"0": [1, 2, 3], "1": [1, 1, 5]}
    assert judged["base"] == 0.5
    assert judged["over_steps"] == pytest.approx((1 + (16 / 3) ** 0.5) / 2)
    assert judged["over_seeds"] == pytest.approx(2**0.5)


def test_one_seed_and_one_step_have_no_spread() -> None:
    found = spreads({0: table({"base": 1, "step-1": 1})}, 1, ["truth"])["judges"]["truth"]
    assert (found["over_steps"], found["over_seeds"]) == (None, None)


def test_the_last_two_fifths_are_followed() -> None:
    assert traced_steps(120) == [72, 84, 96, 108, 120]
    assert [traced_steps(steps) for steps in (1, 2, 5)] == [[1], [1, 2], [1, 2, 3, 4, 5]]
    assert traced_steps(25) == [18, 20, 22, 24, 25]


def test_fifa_and_its_controls_are_followed_in_a_real_run(tmp_path: Path) -> None:
    """Two steps, two prompts: each step's checkpoint is drawn, the last step's trace is what the arm itself drew."""
    assert {arm.name for arm in ARMS if arm.traced} == {"fifa", "fifa_random", "fifa_margin"}
    size = Size(steps=2, limit=2, pairs=40)
    log = Console(file=io.StringIO(), width=80)
    results = reproduce_miniature(
        tmp_path / "out", methods=["fifa"], seeds=1, sweep=False, size=size, console=log
    )
    for arm in results["arms"]:
        assert arm["stability"]["steps"] == [1, 2]
        assert list(arm["stability"]["judges"]) == ["mini:pickscore", "mini:truth"]
        truth = arm["stability"]["judges"]["mini:truth"]
        assert truth["means"]["0"][-1] == pytest.approx(arm["mean_truth"], abs=1e-6)
        assert truth["means"]["0"][0] != truth["means"]["0"][1]
        assert truth["base"] == pytest.approx(results["base"]["mean_truth"], abs=1e-6)
    print_reproduction(Console(file=(text := io.StringIO()), width=80), results)
    assert "Stability of the reward on 2 prompts" in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert "| fifa_random | mini:truth |" in (tmp_path / "out" / "reproduce.md").read_text()
