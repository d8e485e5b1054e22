"""The SQLite ledger of a run folder: what is done, so that a killed run goes on where it was.

Plain SQL, write-ahead log, foreign keys on, one writer (see `folder_lock`). A row is written only after the
file it speaks of.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from prefbench.bench.exceptions import LedgerError
from prefbench.bench.store.folder_lock import folder_lock
from prefbench.bench.store.migrations import MIGRATIONS

__all__ = ["CheckpointRow", "DrawingRow", "ImageRow", "Ledger", "SampleRow", "ScoreRow"]

FILE_NAME = "ledger.sqlite"

OLDEST, DRAWINGS_SINCE = 1, 2
"""Schemas: the oldest that can be read, and the first with `drawings`."""

_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
"""What SQLite reports when the disk is at fault and not the file."""


class CheckpointRow(NamedTuple):
    """One checkpoint of the run; `identity` is what decides its pixels."""

    name: str
    spec: str
    identity: dict[str, Any]


class ImageRow(NamedTuple):
    """One stored image: sample key, pixel hash, size, and what it was made with."""

    key: str
    pixels: str
    width: int
    height: int
    made_with: str


class DrawingRow(NamedTuple):
    """One batch that was drawn, and how long it took."""

    checkpoint: str
    made_with: str
    """As in `ImageRow`."""
    hardware: str
    """The processor's or GPU's name."""
    warm_up: bool
    """Whether it was the first after the checkpoint was loaded."""
    images: int
    """Drawn at once, those among them that fill the batch up."""
    seconds: float


class SampleRow(NamedTuple):
    """One sample and the key of its image."""

    checkpoint: str
    prompt_id: str
    seed: int
    image: str


class ScoreRow(NamedTuple):
    """One score under its key (see `keys.score_key`)."""

    key: str
    scorer: str
    fingerprint: str
    score: float


class Ledger:
    """An open ledger; use it as a context manager.

    Args:
        folder: the run folder. It is made if it does not exist, unless `read_only`.
        read_only: look, do not lock and do not migrate. An older ledger is read as it is: what it lacks is empty.

    Raises:
        LedgerError: another process writes to it, it is no ledger, or a newer prefbench wrote it.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / FILE_NAME
        self._depth = 0
        self._read_only = read_only
        self._stack = ExitStack()
        if read_only and not self.path.is_file():
            raise LedgerError(
                f"{folder} is no run folder: it has no {FILE_NAME}. Give the --out of a `prefbench bench`."
            )
        with _disk_errors(self.path), ExitStack() as building:
            if not read_only:
                _make_folder(folder)
                building.enter_context(folder_lock(folder))
            self._db = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}",
                uri=True,
                isolation_level=None,
            )
            building.callback(self._db.close)
            try:
                self._prepare(read_only)
            except sqlite3.DatabaseError as error:
                if _is_of_disk(error):
                    raise
                raise LedgerError(
                    f"{self.path} cannot be read as a ledger ({error}). Move the folder away and start the "
                    "run anew."
                ) from error
            self._stack = building.pop_all()

    def _prepare(self, read_only: bool) -> None:
        self._db.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            self._db.execute("PRAGMA journal_mode = WAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise LedgerError(
                f"{self.path} has schema {version}; this prefbench knows up to {len(MIGRATIONS)}. "
                "Upgrade prefbench to the version that wrote it."
            )
        self._version = version if read_only else len(MIGRATIONS)
        if read_only:
            if version < OLDEST:
                raise LedgerError(
                    f"{self.path} has schema {version}: it was never finished. Run `prefbench bench` on the folder once."
                )
            return
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            with self.atomic():
                for statement in statements:
                    self._db.execute(statement)
                self._db.execute(
                    f"PRAGMA user_version = {number}"
                )  # transactional, as every write to the header

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and give the lock back."""
        if not self._read_only:
            # At rest the ledger is one file, so that a copy of the folder on a read-only medium can be read. While
            # a reader looks on, the log stays; the next writer tidies up.
            with suppress(sqlite3.OperationalError, sqlite3.ProgrammingError):
                self._db.execute("PRAGMA journal_mode = DELETE")
        self._stack.close()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All of the block or none of it. Nests by savepoint; the first error is the one that is seen."""
        name, outermost = f"level_{self._depth}", self._depth == 0
        with _disk_errors(self.path):
            self._db.execute("BEGIN IMMEDIATE" if outermost else f"SAVEPOINT {name}")
            self._depth += 1
            try:
                yield
                self._db.execute("COMMIT" if outermost else f"RELEASE {name}")
            except BaseException:
                if self._db.in_transaction:  # a full disk ends the transaction by itself
                    self._db.execute("ROLLBACK" if outermost else f"ROLLBACK TO {name}")
                    if not outermost:
                        self._db.execute(f"RELEASE {name}")
                raise
            finally:
                self._depth -= 1

    def meta(self, key: str) -> str | None:
        """A run-wide value, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Set a run-wide value."""
        with self.atomic():
            self._db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

    def checkpoints(self) -> list[CheckpointRow]:
        """The run's checkpoints in order; the first is the baseline."""
        rows = self._db.execute("SELECT name, spec, identity FROM checkpoints ORDER BY position")
        return [CheckpointRow(name, spec, json.loads(identity)) for name, spec, identity in rows]

    def set_checkpoints(self, rows: Sequence[CheckpointRow]) -> None:
        """The run's checkpoints, in this order. One that is left out is dropped: it must have no samples."""
        with self.atomic():
            kept = json.dumps([row.name for row in rows])
            self._db.execute(
                "DELETE FROM checkpoints WHERE name NOT IN (SELECT value FROM json_each(?))", (kept,)
            )
            self._db.execute("UPDATE checkpoints SET position = -1 - position")  # out of the way
            self._db.executemany(
                "INSERT INTO checkpoints VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "position = excluded.position, spec = excluded.spec, identity = excluded.identity",
                [
                    (row.name, position, row.spec, json.dumps(row.identity, sort_keys=True))
                    for position, row in enumerate(rows)
                ],
            )

    def drawn(self) -> set[str]:
        """Names of the checkpoints that have samples: all their images are drawn."""
        return {name for (name,) in self._db.execute("SELECT DISTINCT checkpoint FROM samples")}

    def add_images(self, images: Iterable[ImageRow]) -> None:
        """Record images whose files are written. The row of an image that was drawn again is replaced."""
        with self.atomic():
            self._db.executemany(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET pixels = excluded.pixels, "
                "width = excluded.width, height = excluded.height, made_with = excluded.made_with",
                images,
            )

    def add_drawing(self, row: DrawingRow) -> None:
        """Record how long a batch took; its checkpoint must be listed."""
        with self.atomic():
            self._db.execute(
                "INSERT INTO drawings (checkpoint, identity, made_with, hardware, warm_up, images, seconds) "
                "SELECT name, identity, ?, ?, ?, ?, ? FROM checkpoints WHERE name = ?",
                (*row[1:], row.checkpoint),
            )

    def drawings(self) -> list[DrawingRow]:
        """Every batch of the checkpoints as they are now, in the order drawn; none from before these were recorded."""
        if self._version < DRAWINGS_SINCE:
            return []
        rows = self._db.execute(
            "SELECT d.checkpoint, d.made_with, d.hardware, d.warm_up, d.images, d.seconds FROM drawings AS d "
            "JOIN checkpoints AS c ON c.name = d.checkpoint AND c.identity = d.identity ORDER BY d.number"
        )
        return [DrawingRow(a, b, c, bool(d), e, f) for a, b, c, d, e, f in rows]

    def add_samples(self, samples: Iterable[SampleRow]) -> None:
        """Record which image each sample has; its checkpoint and image must be listed."""
        with self.atomic():
            self._db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", samples)

    def add_scores(self, scores: Iterable[ScoreRow]) -> None:
        """Record scores; a NaN is refused by the schema (SQLite stores it as NULL)."""
        with self.atomic():
            self._db.executemany("INSERT INTO scores VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", scores)

    def images(self) -> dict[str, ImageRow]:
        """All images by key."""
        return {row[0]: ImageRow(*row) for row in self._db.execute("SELECT * FROM images")}

    def samples(self) -> list[SampleRow]:
        """All samples."""
        query = "SELECT checkpoint, prompt_id, seed, image FROM samples ORDER BY checkpoint, prompt_id, seed"
        return [SampleRow(*row) for row in self._db.execute(query)]

    def scores(self, fingerprint: str) -> Mapping[str, float]:
        """All scores made with this fingerprint, by key."""
        return dict(self._db.execute("SELECT key, score FROM scores WHERE fingerprint = ?", (fingerprint,)))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # below a place like /proc
        raise LedgerError(f"The folder {folder} cannot be made here. Give another --out.") from error


def _is_of_disk(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK  # the low byte is the primary code


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's complaints about the disk into one paragraph with the path."""
    try:
        yield
    except sqlite3.Error as error:
        if not _is_of_disk(error):
            raise
        raise LedgerError(
            f"{path} cannot be opened or written: {error}. See that its disk has room and the folder may be written, "
            "then run the same command again: what was finished is kept."
        ) from error
