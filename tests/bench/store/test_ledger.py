import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from prefbench.bench.exceptions import LedgerError
from prefbench.bench.store.ledger import CheckpointRow, ImageRow, Ledger, SampleRow, ScoreRow

IMAGE = ImageRow("k1", "p1", 16, 8, "{}")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def _filled(run: Path) -> None:
    with Ledger(run) as ledger:
        ledger.add_checkpoint(CheckpointRow("base", "miniature", {"sha256": "x"}))
        ledger.add_checkpoint(CheckpointRow("a", "lora:x@y", {}))
        ledger.add_images([IMAGE])
        ledger.add_samples([SampleRow("base", "p", 0, "k1"), SampleRow("a", "p", 0, "k1")])
        ledger.add_scores([ScoreRow("s", "toy", "f", 0.1 + 0.2)])


def test_rows_come_back_as_they_went_in(run: Path) -> None:
    _filled(run)
    with Ledger(run, read_only=True) as ledger:
        assert [row.name for row in ledger.checkpoints()] == [
            "base",
            "a",
        ]  # the order given, not the alphabet
        assert ledger.checkpoints()[0].identity == {"sha256": "x"}
        assert ledger.images() == {"k1": IMAGE}
        assert ledger.samples() == [SampleRow("a", "p", 0, "k1"), SampleRow("base", "p", 0, "k1")]
        assert ledger.scores("f") == {"s": 0.1 + 0.2}  # every bit of the float
        assert ledger.scores("g") == {}


def test_writing_a_row_again_changes_nothing(run: Path) -> None:
    _filled(run)
    with Ledger(run) as ledger:
        ledger.add_images([IMAGE._replace(pixels="other")])
        ledger.add_scores([ScoreRow("s", "toy", "f", 9.0)])
        assert ledger.images()["k1"].pixels == "p1"
        assert ledger.scores("f") == {"s": 0.1 + 0.2}


def test_sample_without_checkpoint_or_image_is_refused(run: Path) -> None:
    _filled(run)
    with Ledger(run) as ledger:
        for row in (SampleRow("nobody", "p", 0, "k1"), SampleRow("base", "p", 1, "no image")):
            with pytest.raises(sqlite3.IntegrityError):
                ledger.add_samples([row])


def test_nan_is_refused_by_the_schema(run: Path) -> None:
    with Ledger(run) as ledger, pytest.raises(sqlite3.IntegrityError):
        ledger.add_scores([ScoreRow("s", "toy", "f", float("nan"))])


def test_atomic_block_is_all_or_nothing_and_nests(run: Path) -> None:
    with Ledger(run) as ledger:
        with pytest.raises(RuntimeError, match="first"), ledger.atomic():
            ledger.set_meta("a", "1")
            raise RuntimeError("first")
        assert ledger.meta("a") is None
        with ledger.atomic():
            ledger.set_meta("b", "1")
            with pytest.raises(RuntimeError), ledger.atomic():
                ledger.set_meta("c", "1")
                raise RuntimeError
        assert (ledger.meta("b"), ledger.meta("c")) == ("1", None)


def test_second_writer_is_refused_and_a_reader_is_not(run: Path) -> None:
    with Ledger(run) as ledger:
        ledger.set_meta("a", "1")
        code = f"from prefbench.bench.store.ledger import Ledger; from pathlib import Path; Ledger(Path({str(run)!r}))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"Another process (id {os.getpid()}) is writing" in other.stderr
        with Ledger(run, read_only=True) as reader:
            assert reader.meta("a") == "1"
    with Ledger(run):
        pass  # given back


def test_lock_dies_with_its_process(run: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from prefbench.bench.store.ledger import Ledger\n"
        f"ledger = Ledger(Path({str(run)!r})); ledger.set_meta('a', '1'); print('ready', flush=True); "
        "time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(LedgerError, match=f"id {holder.pid}"):
            Ledger(run)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    with Ledger(run) as ledger:
        assert ledger.meta("a") == "1"


def test_newer_schema_is_refused(run: Path) -> None:
    _filled(run)
    db = sqlite3.connect(run / "ledger.sqlite")
    db.execute("PRAGMA user_version = 99")
    db.close()
    for read_only in (False, True):
        with pytest.raises(LedgerError, match="schema 99; this prefbench knows up to 1"):
            Ledger(run, read_only=read_only)


def test_a_file_that_is_no_ledger_is_refused(run: Path) -> None:
    run.mkdir()
    (run / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match="cannot be read as a ledger"):
        Ledger(run)


def test_reading_makes_no_folder(run: Path) -> None:
    with pytest.raises(LedgerError, match="no run folder"):
        Ledger(run, read_only=True)
    assert not run.exists()
