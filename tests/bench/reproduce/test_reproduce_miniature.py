"""The real machinery at its smallest: one optimizer step, two prompts, forty pairs."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from prefbench.bench.exceptions import UsageError
from prefbench.bench.reproduce.arms import ARMS
from prefbench.bench.reproduce.jobs import Job, Size, do_job, find_done
from prefbench.bench.reproduce.miniature import GUESS_S, plan_miniature, reproduce_miniature

SIZE = Size(steps=1, limit=2, pairs=40)
SFT = next(arm for arm in ARMS if arm.name == "sft")


def run(out: Path, **given: Any) -> tuple[dict[str, Any], str]:
    log = io.StringIO()
    asked = {"methods": ["sft"], "seeds": 1, "sweep": False, "size": SIZE} | given
    return reproduce_miniature(out, console=Console(file=log, width=80), **asked), log.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    out = tmp_path_factory.mktemp("reproduction") / "out"
    results, log = run(out)
    return out, results, log


def test_a_method_is_compared_with_the_base_and_its_control_by_vote_and_truth(finished: tuple) -> None:
    out, results, log = finished
    assert [arm["name"] for arm in results["arms"]] == ["sft", "sft_random_labels"]
    met = [(entry["over"], entry["judge"], entry["pairs"]) for entry in results["arms"][0]["comparisons"]]
    assert met == [
        (other, judge, 2) for other in ("base", "sft_random_labels") for judge in ("majority", "mini:truth")
    ]
    assert results["whole"] is False
    assert json.loads((out / "reproduce.json").read_text()) == results
    assert "| sft | sft_random_labels |" in (out / "reproduce.md").read_text()
    assert "3 jobs in 1 process" in log
    assert "[3/3] sft_random_labels, lr x1, seed 0, reporting prompts: trained" in log


def test_started_again_it_finds_everything_and_other_settings_are_refused(finished: tuple) -> None:
    out, results, _ = finished
    made = {path: path.stat().st_mtime_ns for path in out.rglob("job.json")}
    again, log = run(out)
    assert "3 of 3 jobs were done before." in log
    assert again["arms"] == results["arms"]
    assert made == {path: path.stat().st_mtime_ns for path in out.rglob("job.json")}
    # A job of a version whose suites had no tie rule: it went by what is the default now.
    path = out / "base" / "reporting" / "job.json"
    job = json.loads(path.read_text())
    del job["description"]["suite"]["electorate"]["tie_rule"]
    path.write_text(json.dumps(job))
    assert "3 of 3 jobs were done before." in run(out)[1]
    with pytest.raises(UsageError, match=r"constants\.steps \(1 there, 3 now\)"):
        run(out, size=Size(steps=3, limit=2, pairs=40))


def test_a_plan_counts_what_is_left_and_writes_nothing(finished: tuple, tmp_path: Path) -> None:
    """Sweep: base and two arms of three factors; report: base, done before, and two arms of two seeds, one done."""
    out, _, _ = finished
    plan = plan_miniature(out, methods=["sft"], seeds=2, size=SIZE)
    assert (len(plan.sweep), len(plan.report), plan.missing) == (7, 5, 7 + 2)
    assert plan.seconds_a_job != GUESS_S
    plan_miniature(tmp_path / "new", methods=["sft"], size=SIZE)
    assert not (tmp_path / "new").exists()


def test_killed_and_started_again_it_ends_with_the_same_numbers(finished: tuple, tmp_path: Path) -> None:
    """Killed in the last of three trainings; the others' folders are there from the run that nobody killed."""
    out, last = tmp_path / "killed", Path("arms") / "sft_random_labels"
    shutil.copytree(finished[0], out, ignore=shutil.ignore_patterns("reproduce.*", last.name))
    asked = ["--method", "sft", "--seeds", "1", "--no-sweep", "--steps", "1", "--limit", "2", "--pairs", "40"]
    process = subprocess.Popen(
        [sys.executable, "-m", "prefbench.bench.cli", "reproduce", "miniature", "--out", str(out), *asked],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    begun = out / last / "lr-x1" / "seed-0" / "checkpoint" / "metrics.jsonl"
    while not begun.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "reproduce.json").exists()
    results, log = run(out)
    assert "2 of 3 jobs were done before." in log
    for arm in (*results["arms"], *finished[1]["arms"]):
        del arm["seconds_a_training"]
    assert results["arms"] == finished[1]["arms"]


def test_a_diverged_training_is_a_result_and_is_not_tried_again(tmp_path: Path) -> None:
    job = Job(tmp_path / "job", SFT, 1e30, 0, "reporting", Size(steps=2, limit=2, pairs=40))
    done = do_job(job)
    assert "Step 2" in (done.diverged or "")
    assert find_done(job) == done


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        run(tmp_path)
