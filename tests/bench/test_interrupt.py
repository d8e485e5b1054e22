"""Ctrl-C, as a real signal to a real process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMANDS = {
    "train": (
        "train sft --backbone miniature --data miniature:40 --steps 100000 --batch 2 --out out",
        "out/metrics.jsonl",
    ),
    "bench": (
        "bench miniature --checkpoint base=miniature --checkpoint again=miniature --out out",
        "out/images",
    ),
}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_an_interrupted_command_says_so_and_ends_with_130(name: str, tmp_path: Path) -> None:
    command, sign_of_work = COMMANDS[name]
    process = subprocess.Popen(
        [sys.executable, "-m", "prefbench.bench.cli", *command.split()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        preexec_fn=_listen,
    )
    try:
        _interrupt(process, tmp_path / sign_of_work)
    finally:
        process.kill()


def _listen() -> None:
    """A shell that starts the tests in the background has told them, and so their children, to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interrupt(process: "subprocess.Popen[str]", sign_of_work: Path) -> None:
    deadline = time.monotonic() + 120
    while not sign_of_work.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"no {sign_of_work} within two minutes"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130, error
    assert "Interrupted. Nothing is half-written." in " ".join(error.split())
    assert "Traceback" not in error
