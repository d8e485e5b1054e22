"""One writer a run folder: a lock that the kernel drops when its process dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefbench.bench.exceptions import LedgerError

__all__ = ["folder_lock"]

LOCK_NAME = "ledger.lock"


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock for the length of the block.

    A file of its own: closing another descriptor of the database file would drop SQLite's POSIX locks on it.

    Raises:
        LedgerError: another process holds it.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise LedgerError(
                f"Another process (id {holder}) is writing to the run folder {folder}. Wait for it to end, "
                "stop it, or "
                "give another --out."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
