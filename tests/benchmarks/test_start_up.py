"""`prefbench --help` as a whole process."""

import subprocess
import sys
from typing import Any

import pytest


def test_help_as_a_whole_process(benchmark: Any) -> None:
    """Target: under 0.4 s. The bare interpreter beside it says how much of that is Python's own."""
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    command = [sys.executable, "-m", "prefbench.bench.cli", "--help"]
    benchmark.pedantic(
        lambda: subprocess.run(command, check=True, capture_output=True),
        rounds=10,
        warmup_rounds=2,
        iterations=1,
    )
    benchmark.extra_info.update(
        what="`prefbench --help`, whole process",
        case="",
        value=f"{benchmark.stats.stats.median:.2f} s",
        target="under 0.4 s",
    )
