"""`NAME@upstream`: a scorer whose numbers are computed by the original package, in a process of its own.

It is slower than the port and exists to check it, or to add to a table that was begun with the original. Images that
are plain 8-bit RGB files go to the original as they are; all others (transparent, grey, palette, CMYK, 16-bit, EXIF
orientation, in memory) are decoded by our rule first and handed over as PNG, because the originals crash on them or
show what nobody drew (image_io.py).
"""

import os
import tempfile
import weakref
from collections.abc import Sequence
from importlib.resources import files
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.scorers.batching import check_pairs
from prefbench.scorers.image_io import DECODE_RULE, image_name, open_rgb
from prefbench.scorers.info import ScorerInfo
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.upstream.environments import build_environment, pins, worker_environment
from prefbench.scorers.upstream.original import Original
from prefbench.scorers.upstream.originals import open_original
from prefbench.scorers.upstream.process import Worker
from prefbench.scorers.weights import WeightsArgument

__all__ = ["UpstreamScorer", "load", "start_worker"]

EXIF_ORIENTATION = 0x0112


class UpstreamScorer:
    """The scorer protocol on top of a worker. The process starts at the first call of `score`."""

    def __init__(self, original: Original, worker: Worker, info: ScorerInfo, work: Path) -> None:
        self.info = info
        self.batch_size = 8
        self._original = original
        self._worker = worker
        self._work = work
        weakref.finalize(self, worker.close)

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts have more tokens than the original reads, shape (N,)."""
        return self._original.too_long(prompts)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`. Raises UpstreamError where the process fails twice on the same pairs."""
        check_pairs(images, prompts, self.info.name)
        scores: list[float] = []
        for start in range(0, len(images), self.batch_size):
            chunk = slice(start, start + self.batch_size)
            with tempfile.TemporaryDirectory(dir=self._work) as folder:
                paths = [_as_rgb_file(image, Path(folder), k) for k, image in enumerate(images[chunk])]
                results = self._worker.score(paths, list(prompts[chunk]))
            for index, result in enumerate(results, start):
                if isinstance(result, str):
                    raise DataError(
                        f"Scorer {self.info.name}: the original package gave no score for "
                        f"{image_name(images[index], index)}, prompt {prompts[index][:80]!r}: {result}"
                    )
                scores.append(result)
        return np.array(scores, dtype=np.float64)


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> UpstreamScorer:
    """Make the original's environment where it is missing, and open its weights.

    Args:
        name: of `registry.HAVE_ORIGINALS`, with "@upstream".
        weights: None for the published ones, or a file in the original's own format.
        architecture: as the port's.
        device: torch device. On a GPU hpsv2 computes in half precision, as it does for everybody.
        dtype: "float32": the originals choose for themselves.

    Raises: UsageError, MissingWeightsError, MissingDependencyError.
    """
    if dtype != "float32":
        raise UsageError(f"Scorer {name}: the original package chooses its own precision; leave dtype out.")
    holder = tempfile.TemporaryDirectory(prefix="prefbench-upstream-")
    work = Path(holder.name)
    original = open_original(name, weights, architecture, device, work)
    worker = start_worker(original, device)
    versions = dict(pin.split("==") for pin in pins(original.package))
    runs = (
        f"example in the README of {original.package}, {original.library}=={versions[original.library]}"
        if original.library
        else f"{original.package}=={versions[original.package]} (original package)"
    )
    identity = {
        "scorer": runs,
        "weights": original.weights,
        "architecture": original.architecture,
        "decode": f"RGB files by the original's Pillow; all others: {DECODE_RULE}",
        "device": device.partition(":")[0],
        "versions": versions,
    }
    info = ScorerInfo(
        name=name,
        variant=name.partition("@")[2],
        licence=original.licence,
        scale=original.scale,
        trained_on=original.trained_on,
        identity=identity,
        token_limit=original.token_limit,
    )
    scorer = UpstreamScorer(original, worker, info, work)
    weakref.finalize(scorer, holder.cleanup)
    return scorer


def start_worker(original: Original, device: str, **settings: Any) -> Worker:
    """A worker of an original, not yet started.

    Args:
        original: opened.
        device: torch device.
        settings: added to its own.
    """
    threads = torch.get_num_threads()
    return Worker(
        build_environment(original.package),
        Path(str(files("prefbench.scorers.upstream"))) / "workers" / original.script,
        {**original.settings, **settings},
        worker_environment(device, threads, original.hub_cache),
    )


def _as_rgb_file(image: ImageSource, folder: Path, index: int) -> str:
    """A file that the original opens as what we see."""
    if not isinstance(image, Image.Image) and _is_plain_rgb(image):
        return os.path.abspath(fspath(image))
    path = folder / f"{index}.png"
    open_rgb(image).save(path)
    return str(path)


def _is_plain_rgb(path: str | PathLike[str]) -> bool:
    try:
        with Image.open(path) as opened:
            upright = opened.getexif().get(EXIF_ORIENTATION, 1) == 1
            return opened.mode == "RGB" and "transparency" not in opened.info and upright
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False  # open_rgb says what is wrong with it
