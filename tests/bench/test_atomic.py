"""Whole or not at all."""

import errno
from pathlib import Path

import pytest

from prefbench.bench.atomic import new_folder, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_full_disk_names_the_file_that_was_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(tmp_path / "results.json", "x")
    assert caught.value.filename == str(tmp_path / "results.json")
    assert list(tmp_path.iterdir()) == []


def test_text_keeps_every_character_and_makes_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "é.txt"
    write_text(path, "naïve 😀\n")
    assert path.read_bytes() == "naïve 😀\n".encode()


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with pytest.raises(RuntimeError), new_folder(target) as work:
        (work / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    for content in ("first", "second"):
        with new_folder(target) as work:
            (work / content).write_text(content)
            assert not (target / content).exists()
    assert [p.name for p in target.iterdir()] == ["second"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
