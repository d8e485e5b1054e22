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
BASE, A = CheckpointRow("base", "miniature", {"sha256": "x"}), CheckpointRow("a", "lora:x@y", {})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def _filled(run: Path) -> None:
    with Ledger(run) as ledger:
        ledger.set_checkpoints([BASE, A])
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


def test_scoring_again_changes_nothing_and_an_image_drawn_again_replaces_its_row(run: Path) -> None:
    _filled(run)
    with Ledger(run) as ledger:
        ledger.add_scores([ScoreRow("s", "toy", "f", 9.0)])
        assert ledger.scores("f") == {"s": 0.1 + 0.2}
        again = ImageRow("k1", "p2", 4, 4, '{"device": "cuda"}')
        ledger.add_images([again])
        assert ledger.images() == {"k1": again}
        assert len(ledger.samples()) == 2


def test_checkpoints_can_be_ordered_anew_changed_and_added(run: Path) -> None:
    _filled(run)
    new, changed = CheckpointRow("new", "n", {}), A._replace(spec="b", identity={"sha256": "y"})
    with Ledger(run) as ledger:
        assert ledger.drawn() == {"base", "a"}
        ledger.set_checkpoints([new, changed, BASE])
        assert ledger.checkpoints() == [new, changed, BASE]
        ledger.set_checkpoints([BASE, changed])
        assert ledger.checkpoints() == [BASE, changed]
        with pytest.raises(sqlite3.IntegrityError):
            ledger.set_checkpoints([BASE])  # "a" has samples
        assert ledger.checkpoints() == [BASE, changed]


def test_a_full_disk_is_told_with_the_path_and_costs_nothing_that_was_finished(run: Path) -> None:
    """`max_page_count` is SQLite's own way to a full database: the error is the one of a full disk."""
    _filled(run)
    with Ledger(run) as ledger:
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        many = [ImageRow(f"key {i}", "p" * 64, 1, 1, "{}") for i in range(1000)]
        with pytest.raises(
            LedgerError, match=rf"{run}/ledger\.sqlite cannot be .*full.*what was finished is kept"
        ):
            ledger.add_images(many)
        with pytest.raises(LedgerError), ledger.atomic():
            ledger.set_meta("a", "1")
            ledger.add_images(many)
        assert ledger.images() == {"k1": IMAGE}
        ledger._db.execute("PRAGMA max_page_count = 100000")
        ledger.add_images(many)
    with Ledger(run) as ledger:
        assert (len(ledger.images()), ledger.meta("a")) == (1001, None)


def test_a_disk_that_is_full_at_the_start_is_told_as_such(run: Path) -> None:
    """A limit on the size of files is the nearest to a full disk that needs no rights."""
    code = (
        "import resource; from pathlib import Path; from prefbench.bench.store.ledger import Ledger\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); Ledger(Path({str(run)!r}))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"LedgerError: {run}/ledger.sqlite cannot be opened or written" in made.stderr


def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(LedgerError, match="/proc/nowhere cannot be made here"):
        Ledger(Path("/proc/nowhere"))


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
        with pytest.raises(LedgerError, match="schema 99; this prefbench knows up to 2"):
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
