import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from prefbench.bench.worker_pool import one_thread, run_in_workers

PARENT = """
import multiprocessing, time
from pathlib import Path
from prefbench.bench.worker_pool import run_in_workers

def tell():
    Path({out!r}).write_text(" ".join(str(child.pid) for child in multiprocessing.active_children()))

if __name__ == "__main__":
    list(run_in_workers(time.sleep, {{"long": (300,)}}, 1, meanwhile=tell))
"""


def test_results_come_as_they_end_and_the_first_error_is_raised() -> None:
    """Nine may have ended at the same moment as the error, or never begun."""
    tasks = {"four": (4.0,), "minus": (-1.0,), "nine": (9.0,)}
    found = []
    with pytest.raises(ValueError, match="math domain|nonnegative"):
        for entry in run_in_workers(math.sqrt, tasks, 1):
            found.append(entry)
    assert found in ([("four", 2.0)], [("four", 2.0), ("nine", 3.0)])


def test_one_thread_holds_inside_the_block_only() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def start_parent(tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """A process with one worker that sleeps, in a process group of their own; and the worker's id."""
    script, out = tmp_path / "parent.py", tmp_path / "pids"
    script.write_text(PARENT.format(out=str(out)))
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    while not (out.exists() and out.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    worker = int(out.read_text())
    time.sleep(1)
    assert _alive(worker)
    return parent, worker


def assert_ends(worker: int) -> None:
    deadline = time.monotonic() + 60  # it may still be importing torch
    while _alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent, worker = start_parent(tmp_path)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert_ends(worker)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
@pytest.mark.parametrize("to_group", [True, False], ids=["ctrl-c", "kill -INT"])
def test_an_interrupt_ends_parent_and_worker_and_only_the_parent_speaks(
    to_group: bool, tmp_path: Path
) -> None:
    """A terminal's Ctrl-C reaches both; a signal to the parent alone must not wait for 300 s of work."""
    parent, worker = start_parent(tmp_path)
    started = Path(f"/proc/{worker}/task")
    while (
        len(list(started.iterdir())) < 2
    ):  # its watcher runs: from there on it takes signals as a worker does
        time.sleep(0.05)
    if to_group:
        os.killpg(parent.pid, signal.SIGINT)
    else:
        parent.send_signal(signal.SIGINT)
    error = parent.communicate(timeout=60)[1]
    assert_ends(worker)
    assert error.count("KeyboardInterrupt") == 1, error
