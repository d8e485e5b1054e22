from pathlib import Path

import pytest
from rich.console import Console

from prefbench.bench import demo
from prefbench.bench.exceptions import UsageError
from prefbench.bench.out_folder import check_only_own, check_out


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    check_out(tmp_path / "new" / "below")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    check_out(tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_files_and_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match=r"--out .*file cannot be written: it is a file"):
        check_out(tmp_path / "file")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot be written: it is a link that leads nowhere"):
        check_out(tmp_path / "link")
    for bad in (tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match="cannot be written"):
            check_out(bad)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_is_replaced_as_a_whole_is_not_the_current_one_and_holds_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").write_text("ours")
    check_only_own(tmp_path, "history", ["page.html", "not there"])
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"`prefbench history` did not write \(thesis.tex\)"):
        check_only_own(tmp_path, "history", ["page.html"])
    (tmp_path / "thesis.tex").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"--out \. is the folder you are in"):
        check_only_own(Path("."), "history", ["page.html"])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc takes no folder")
def test_proc_takes_no_folder() -> None:
    with pytest.raises(UsageError, match="--out /proc/x cannot be written"):
        check_out(Path("/proc/x"))


def test_the_demo_looks_at_its_folder_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_train_arms", lambda *_: pytest.fail("training was started"))
    (tmp_path / "file").write_text("kept")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoints").write_text("kept")
    for out in (tmp_path / "file", tmp_path / "out"):
        with pytest.raises(UsageError, match="it is a file"):
            demo.run_demo(out, quick=True, seed=0, workers=1, console=Console(quiet=True))
