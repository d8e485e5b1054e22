"""One writer a run folder: a lock that the kernel drops when its process dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefbench.bench.exceptions import LedgerError

__all__ = ["LOCK_NAME", "folder_lock"]

LOCK_NAME = "ledger.lock"


@contextmanager
def folder_lock(folder: Path, name: str = LOCK_NAME) -> Iterator[None]:
    """Hold the folder's lock for the length of the block.

    A file of its own: closing another descriptor of the database file would drop SQLite's POSIX locks on it. Whoever
    holds the lock may delete the file.

    Args:
        folder: the run folder.
        name: of the lock's file, relative to the folder; what it lies in must exist.

    Raises:
        LedgerError: another process holds it.
    """
    descriptor = _locked(folder, folder / name)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _locked(folder: Path, path: Path) -> int:
    """Descriptor of the locked file."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(descriptor, path):
                return descriptor
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise LedgerError(
                f"Another process (id {holder}) is writing to the run folder {folder}. Wait for it to end, "
                "stop it, or "
                "give another --out."
            ) from error
        os.close(descriptor)


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether the file is still there: if its holder deleted it in between, nobody else will ever look at this lock."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
