"""Worker processes of one torch thread each: on few cores faster than one process with all of them."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["one_thread", "run_in_workers"]

POLL_S = 0.5

R = TypeVar("R")


def run_in_workers(
    work: Callable[..., R],
    tasks: Mapping[str, tuple[Any, ...]],
    workers: int,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, R]]:
    """Call `work` once a task, in fresh processes; yields (name, result) as the tasks end.

    The first error stops the tasks that wait, lets those that run go on to their end, and is raised; an interrupt ends
    those as well. A worker whose
    parent dies, however it dies, ends too: two processes never write one folder.

    Args:
        work: a module-level function.
        tasks: name -> its arguments; begun in this order.
        workers: processes.
        meanwhile: called every half second, and after every task.
    """
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    with pool:
        running = {pool.submit(work, *arguments): name for name, arguments in tasks.items()}
        try:
            while running:
                done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
                meanwhile()
                # Results first: what is done at the same moment as an error is not lost.
                ended = [future for future in running if future in done]
                for future in sorted(ended, key=lambda future: future.exception() is not None):
                    yield running.pop(future), future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                for worker in multiprocessing.active_children():
                    worker.terminate()
            raise


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread inside the block, as in a worker: a sum's last bit depends on the number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal: end at once and without a traceback; the parent says what happened.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
