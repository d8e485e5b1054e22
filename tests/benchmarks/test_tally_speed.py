"""The tally of a million images by five scorers, and `compare` as a whole process."""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.comparison_entries import comparison_entries
from prefbench.bench.paired_samples import Ballots, PairedSamples, cast_votes

CHECKPOINTS, PROMPTS, SEEDS, SCORERS, SLICES, RESAMPLES = 10, 10_000, 10, 5, 30, 10_000
TALLY_S, TALLY_MB, COMPARE_S = 10, 1000, 2


def _million() -> PairedSamples:
    """Scores of ten checkpoints on 10,000 prompts with ten seeds; every prompt is in two of 30 slices."""
    rng = np.random.default_rng(0)
    shape = (CHECKPOINTS, PROMPTS, SEEDS, SCORERS)
    scores = (rng.normal(size=(CHECKPOINTS, PROMPTS, 1, 1)) + rng.normal(size=shape)).reshape(
        CHECKPOINTS, -1, SCORERS
    )
    number = np.repeat(np.arange(PROMPTS), SEEDS)
    about = pd.DataFrame({
        "prompt_id": [f"p{p:05}" for p in number],
        "seed": np.tile(np.arange(SEEDS), PROMPTS),
        "prompt": [f"a photo of object number {p}" for p in number],
        "category": [f"kind {p % (SLICES // 2):02}" for p in number],
        "challenge": [f"task {p // 7 % (SLICES // 2):02}" for p in number],
    })  # fmt: skip
    names = [f"checkpoint {c}" for c in range(CHECKPOINTS)]
    return PairedSamples(names, [f"scorer {k}" for k in range(SCORERS)], SCORERS, scores, about)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tally_once() -> None:
    """Prints the seconds of one tally against the baseline, and the memory that it added."""
    samples = _million()
    pairs = [(name, samples.checkpoints[0]) for name in samples.checkpoints[1:]]
    before, started = _peak_mb(), time.perf_counter()
    ballots = Ballots(pairs, cast_votes(samples, pairs, set()), SCORERS)
    entries, _ = comparison_entries(samples, ballots, None, RESAMPLES, 0)
    seconds = time.perf_counter() - started
    assert len(entries) == len(pairs) * (SCORERS + 1) * (SLICES + 1)
    print(seconds, _peak_mb() - before)


def test_tally_of_a_million_images_by_five_scorers(benchmark: Any) -> None:
    """Votes, win rates, mean differences, intervals and tests in every slice, in a process of its own."""
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    found: list[str] = []

    def tally() -> None:
        done = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
        found.append(done.stdout)

    benchmark.pedantic(tally, rounds=3, iterations=1)
    seconds, megabytes = np.median([list(map(float, line.split())) for line in found], axis=0)
    benchmark.extra_info.update(
        what="tally with 10,000 resamples and 30 slices",
        case=f"{CHECKPOINTS * PROMPTS * SEEDS:,} images of {PROMPTS:,} prompts, {SCORERS} scorers",
        value=f"{seconds:.1f} s, {megabytes:,.0f} MB",
        target=f"under {TALLY_S} s and {TALLY_MB:,} MB",
    )


def test_compare_as_a_whole_process(tmp_path: Path, benchmark: Any) -> None:
    """10,000 rows: two checkpoints, 1,000 prompts, five scorers, ten categories; report included."""
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    rng = np.random.default_rng(0)
    rows = pd.MultiIndex.from_product(
        [["base", "mine"], range(1000), ["a", "b", "c", "d", "e"]],
        names=["checkpoint", "prompt_id", "scorer"],
    ).to_frame(index=False)
    rows = rows.assign(
        prompt=rows["prompt_id"].map("text {}".format),
        seed=0,
        score=rng.normal(size=len(rows)) + 0.1 * (rows["checkpoint"] == "mine"),
        category=rows["prompt_id"].map(lambda p: f"kind {p % 10}"),
    )
    rows.to_csv(tmp_path / "scores.csv", index=False)
    command = [
        sys.executable,
        "-m",
        "prefbench.bench.cli",
        "compare",
        "scores.csv",
        "--a",
        "mine",
        "--b",
        "base",
    ]

    def compare() -> None:
        subprocess.run([*command, "--out", "out"], check=True, capture_output=True, cwd=tmp_path)

    benchmark.pedantic(compare, rounds=5, warmup_rounds=1, iterations=1)
    benchmark.extra_info.update(
        what="`prefbench compare`, whole process",
        case=f"{len(rows):,} rows of CSV, 10 slices, 10,000 resamples, report",
        value=f"{benchmark.stats.stats.median:.2f} s",
        target=f"under {COMPARE_S} s",
    )


if __name__ == "__main__":
    tally_once()
