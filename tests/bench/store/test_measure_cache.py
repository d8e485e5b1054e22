"""What is kept on disk, and files that cannot be used."""

import sqlite3
from pathlib import Path

import pytest

from prefbench.bench.exceptions import DataError
from prefbench.bench.store.measure_cache import FILE_NAME, MeasureCache


def test_numbers_texts_and_bytes_come_back_as_they_were(tmp_path: Path):
    values = {"number": 0.1 + 0.2, "text": '{"a": "日本"}', "bytes": b"\0\1"}
    with MeasureCache(tmp_path / "new" / "folder") as cache:
        cache.put(values)
    with MeasureCache(tmp_path / "new" / "folder") as cache:
        assert cache.get(["text", "absent", "number", "bytes"]) == values


def test_more_keys_than_one_query_takes(tmp_path: Path):
    with MeasureCache(tmp_path) as cache:
        cache.put({str(i): float(i) for i in range(1234)})
        assert cache.get([str(i) for i in range(2000)]) == {str(i): float(i) for i in range(1234)}


def test_the_first_value_of_a_key_stays(tmp_path: Path):
    with MeasureCache(tmp_path) as cache:
        cache.put({"a": 1.0})
        cache.put({"a": 2.0, "b": 3.0})
        assert cache.get(["a", "b"]) == {"a": 1.0, "b": 3.0}


def test_two_that_are_open_at_once_see_one_anothers_values(tmp_path: Path):
    with MeasureCache(tmp_path) as one, MeasureCache(tmp_path) as other:
        one.put({"a": 1.0})
        other.put({"b": 2.0})
        assert one.get(["a", "b"]) == other.get(["a", "b"]) == {"a": 1.0, "b": 2.0}


def test_a_value_that_cannot_be_written_leaves_nothing_of_its_batch(tmp_path: Path):
    with MeasureCache(tmp_path) as cache:
        with pytest.raises(DataError, match="cannot be used"):
            cache.put({"a": 1.0, "b": None})
        assert cache.get(["a", "b"]) == {}
        cache.put({"a": 2.0})
        assert cache.get(["a"]) == {"a": 2.0}


def test_a_file_that_is_no_database_or_of_a_newer_prefbench_is_named(tmp_path: Path):
    (tmp_path / FILE_NAME).write_text("this is no database, but it is long enough to be read as one" * 20)
    with pytest.raises(DataError, match=rf"{FILE_NAME} cannot be used .*PREFBENCH_CACHE"):
        MeasureCache(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    with MeasureCache(tmp_path):
        pass
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="has schema 99, this prefbench knows 1"):
        MeasureCache(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be used"):
        MeasureCache(tmp_path / "file" / "cache")
