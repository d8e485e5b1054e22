"""Worker processes that die, hang, lie or refuse: real processes on this interpreter, answering by script."""

import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from prefbench.bench.exceptions import UpstreamError
from prefbench.scorers.upstream.process import Worker

GOOD = """
import json, os, sys
print(json.dumps({"ready": {"original": "1.0"}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    BEFORE
    print(json.dumps({"id": request["id"], "results": [float(len(p)) for p in request["prompts"]]}), flush=True)
"""


def worker(folder: Path, program: str, **options: Any) -> Worker:
    script = folder / "original.py"
    script.write_text(textwrap.dedent(program))
    return Worker(Path(sys.executable), script, {"folder": str(folder)}, dict(os.environ), **options)


def once(folder: Path, misdeed: str) -> str:
    """A program that commits `misdeed` at its second request, the first time that it lives."""
    mark = folder / "done"
    return GOOD.replace(
        "BEFORE",
        f"if request['id'] == 2 and not os.path.exists({str(mark)!r}): open({str(mark)!r}, 'w').close(); {misdeed}",
    )


def test_scores_are_the_originals_and_its_versions_are_known(tmp_path: Path) -> None:
    with worker(tmp_path, GOOD.replace("BEFORE", "pass")) as original:
        assert original.score(["a.png", "b.png"], ["cat", "mouse"]) == [3.0, 5.0]
        assert original.versions == {"original": "1.0"}


@pytest.mark.parametrize(
    "misdeed",
    [
        "os._exit(9)",
        "print('Traceback: rubbish', flush=True)",
        "print('[1, 2]', flush=True)",
        "print(json.dumps({'id': 77, 'results': [1.0, 2.0]}), flush=True)",
        "print(json.dumps({'id': 2, 'results': [1.0]}), flush=True)",
        "print(json.dumps({'id': 2, 'results': ['NaN', None]}), flush=True)",
        "import time; time.sleep(60)",
    ],
)
def test_a_worker_that_fails_once_is_restarted_and_no_score_is_lost(tmp_path: Path, misdeed: str) -> None:
    with worker(tmp_path, once(tmp_path, misdeed), pair_s=1.0) as original:
        assert original.score(["a", "b"], ["cat", "mouse"]) == [3.0, 5.0]
        assert original.score(["c", "d"], ["horse", "ox"]) == [5.0, 2.0]
        assert original.restarts == 1


def test_a_worker_that_dies_twice_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    program = GOOD.replace(
        "BEFORE", "print('out of memory at layer 7', file=sys.stderr, flush=True); os._exit(3)"
    )
    with worker(tmp_path, program) as original, pytest.raises(UpstreamError) as raised:
        original.score(["a"], ["cat"])
    assert "failed twice: it ended with exit code 3" in str(raised.value)
    assert "out of memory at layer 7" in str(raised.value)


def test_a_worker_that_hangs_is_given_up_after_its_time_and_is_dead_then(tmp_path: Path) -> None:
    program = GOOD.replace(
        "BEFORE", "open(sys.argv[0] + '.pid', 'a').write(f'{os.getpid()} '); import time; time.sleep(600)"
    )
    began = time.monotonic()
    with (
        worker(tmp_path, program, pair_s=0.5) as original,
        pytest.raises(UpstreamError, match="said nothing for 0 s|1 s"),
    ):
        original.score(["a"], ["cat"])
    assert time.monotonic() - began < 60
    pids = [int(pid) for pid in (tmp_path / "original.py.pid").read_text().split()]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_stated_reason_is_told_at_once_without_a_second_try(tmp_path: Path) -> None:
    program = """
    import json, sys
    open(sys.argv[0] + ".starts", "a").write("x")
    print(json.dumps({"failed": "ValueError: these weights do not fit"}), flush=True)
    """
    with (
        worker(tmp_path, program) as original,
        pytest.raises(UpstreamError, match="these weights do not fit"),
    ):
        original.start()
    assert (tmp_path / "original.py.starts").read_text() == "x"


def test_a_pair_that_the_original_cannot_score_is_a_reason_and_the_others_have_numbers(
    tmp_path: Path,
) -> None:
    """Through the workers' own wire.py: one bad image spoils a list, so the list is taken apart."""
    wire = Path(str(pytest.importorskip("prefbench.scorers.upstream.workers.wire").__file__)).parent
    program = f"""
    import sys
    sys.path.insert(0, {str(wire)!r})
    from wire import serve

    def open_original(settings):
        def score(paths, prompt):
            print("chatter on standard output")
            if "bad" in paths:
                raise RuntimeError("four channels")
            return [float(len(path)) if path != "nan" else float("nan") for path in paths]
        return score

    serve(open_original, ("numpy",))
    """
    with worker(tmp_path, program) as original:
        results = original.score(["one", "bad", "three", "nan"], ["cat"] * 4)
    assert results == [3.0, "RuntimeError: four channels", 5.0, "the score is nan"]


def test_the_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL gives the parent no chance to clean up; the closed pipe tells the worker."""
    import subprocess

    script = tmp_path / "original.py"
    script.write_text(GOOD.replace("BEFORE", "pass"))
    parent = f"""
import os, sys
from pathlib import Path
from prefbench.scorers.upstream.process import Worker
w = Worker(Path(sys.executable), Path({str(script)!r}), {{}}, dict(os.environ))
w.start()
print(w._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _is_alive(pid):
        time.sleep(0.05)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
