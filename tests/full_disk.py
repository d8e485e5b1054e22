"""A disk that is full at a certain step of a training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from prefbench.reference_trainers.run_folder import RunFolder


@contextmanager
def full_disk_at(step: int) -> Iterator[None]:
    """The block must end with the error: its metrics of `step` cannot be written, all before it were."""
    log = RunFolder.log

    def fail(self: RunFolder, metrics: Mapping[str, Any]) -> None:
        if metrics["step"] == step:
            raise OSError("no space left on device")
        log(self, metrics)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "log", fail)
        with pytest.raises(OSError, match="no space"):
            yield
