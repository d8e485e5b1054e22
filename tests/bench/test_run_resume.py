"""A run that is killed with SIGKILL, at work on images and at work on scores, ends as if it had not been."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prefbench.bench.run import run_suite
from prefbench.bench.suite import load_suite

CODE = """
import sys
from pathlib import Path
from prefbench.bench.run import run_suite
from prefbench.bench.suite import load_suite
suite, base, other, out = sys.argv[1:]
run_suite(load_suite(suite), {"base": base, "other": other}, Path(out), device="cpu", batch_size=2,
resamples=1000)
"""
TOTAL = {"images": 24, "scores": 96}  # 2 checkpoints x 12 prompts, x 4 scorers


def _count(out: Path, table: str) -> int:
    try:
        db = sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)
        try:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        finally:
            db.close()
    except sqlite3.OperationalError:
        return 0  # not there yet


def _kill_at(arguments: list[str], out: Path, table: str, rows: int, plugin: Path) -> int:
    """Start a run, kill it when `table` has so many rows; returns the rows it got to."""
    environment = os.environ | {"PYTHONPATH": str(plugin)}
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", CODE, *arguments], env=environment)
    try:
        deadline = time.monotonic() + 120
        while _count(out, table) < rows:
            assert process.poll() is None, f"the run ended before it had {rows} {table}"
            assert time.monotonic() < deadline, f"no {rows} {table} in 120 s"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    return _count(out, table)


@pytest.mark.usefixtures("toy_plugin")
def test_killed_and_started_again_it_ends_with_the_same_bytes(
    suite_file: Path, tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path, toy_plugin: Path
) -> None:
    prompts = [f"a {colour} {animal}" for colour in ("red", "blue", "old") for animal in "ABCD"]
    (tmp_path / "prompts.csv").write_text("\n".join(["prompt", *prompts]) + "\n")
    text = suite_file.read_text().replace("seeds = [0, 1]", "seeds = [7]").replace("steps = 2", "steps = 6")
    suite_file.write_text(text.replace('"toy:red"', '"toy:slow"'))
    suite = load_suite(str(suite_file))
    specs = {"base": str(tiny_pipeline), "other": str(other_pipeline)}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = run_suite(suite, specs, whole, device="cpu", batch_size=2, resamples=1000)

    arguments = [str(suite_file), *specs.values(), str(killed)]
    assert 3 <= _kill_at(arguments, killed, "images", 3, toy_plugin) < TOTAL["images"]
    assert not (killed / "results.json").exists()
    # The first scorer is fast and the second takes a second: the kill falls into the second one's work.
    assert 1 <= _kill_at(arguments, killed, "scores", 1, toy_plugin) < TOTAL["scores"]
    assert not (killed / "results.json").exists()
    results = run_suite(suite, specs, killed, device="cpu", batch_size=2, resamples=1000)

    assert (killed / "scores.parquet").read_bytes() == (whole / "scores.parquet").read_bytes()
    assert results | {"created": ""} == expected | {"created": ""}
    images = [{p.name: p.read_bytes() for p in folder.rglob("*.png")} for folder in (whole, killed)]
    assert images[0] == images[1]
    assert len(images[0]) == TOTAL["images"]
    assert json.loads((killed / "results.json").read_text()) == results
