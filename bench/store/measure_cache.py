"""Scores, replies and embeddings on disk, so that nothing is computed or asked twice.

A key is a hash of all that decides the value (image, prompt, fingerprint; model, template, prompt), so one file
serves every data set and every run. Values are written as they come: an interrupted command goes on where it was.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefbench.bench.exceptions import DataError

__all__ = ["MeasureCache"]

FILE_NAME = "measures.sqlite"
SCHEMA = 1
KEYS_A_QUERY = 500
BUSY_S = 60.0
HINT = "Name another folder in PREFBENCH_CACHE, or delete the file: everything in it can be made again"


class MeasureCache:
    """key -> number, text or bytes; use it as a context manager. Several processes may share it.

    Args:
        folder: of all caches (`user_cache.cache_folder`).

    Raises:
        DataError: the file cannot be opened, or a newer prefbench wrote it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        with self._named():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise DataError(
                    f"The cache {self.path} has schema {version}, this prefbench knows {SCHEMA}. {HINT}."
                )
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS measures (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID"
            )
            self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which file it was that could not be read or written."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"The cache {self.path} cannot be used ({error}). {HINT}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The values of those keys that are there."""
        found: dict[str, Any] = {}
        for start in range(0, len(keys), KEYS_A_QUERY):
            part = keys[start : start + KEYS_A_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, value FROM measures WHERE key IN ({marks})"
            with self._named():
                found |= dict(self._db.execute(query, part))
        return found

    def put(self, values: Mapping[str, float | str | bytes]) -> None:
        """Write all of `values` or none; a key that is there keeps its value."""
        with self._named(), self._whole():
            self._db.executemany(
                "INSERT INTO measures VALUES (?, ?) ON CONFLICT DO NOTHING", list(values.items())
            )

    @contextmanager
    def _whole(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk has ended it already
                self._db.execute("ROLLBACK")
            raise
