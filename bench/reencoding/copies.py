"""Copies of images that look the same and are other files: lossless, and lossy at a quality at which nobody sees it."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from prefbench.bench.exceptions import DataError, MissingDependencyError
from prefbench.bench.image_manifest import Manifest
from prefbench.bench.progress import Stages
from prefbench.scorers.image_io import open_rgb

__all__ = ["ENCODINGS", "GIVEN", "LOSSLESS", "LOSSY", "Copies", "Encoding", "count_different", "write_copies"]

GIVEN = "as given"
"""The image file itself."""

SAME = math.inf
"""PSNR of two equal pictures."""


@dataclass(frozen=True)
class Encoding:
    """One way to write a picture."""

    name: str
    """Pillow's name of the format and the quality."""
    suffix: str
    lossless: bool
    options: dict[str, Any] = field(default_factory=dict)
    """As Pillow's `save` takes them."""
    longest: int | None = None
    """Longest side that the format holds, in pixels."""


# Settings are ours. JPEG at 95 with colour in full resolution (4:4:4); WebP's lossy form always halves that of colour
# (4:2:0), which only sharp edges between strong colours show. Together they move a picture in two different ways.
ENCODINGS = (
    Encoding("png", ".png", True, {"compress_level": 1}),
    Encoding("jpeg 95", ".jpg", False, {"quality": 95, "subsampling": 0}, longest=65_500),
    Encoding("webp 95", ".webp", False, {"quality": 95, "method": 4}, longest=16_383),
)
LOSSLESS = tuple(encoding for encoding in ENCODINGS if encoding.lossless)
LOSSY = tuple(encoding for encoding in ENCODINGS if not encoding.lossless)


@dataclass(frozen=True)
class Copies:
    """What was written, each list in the manifest's order."""

    paths: dict[str, list[Path]]
    """Encoding -> files."""
    psnr: dict[str, np.ndarray]
    """Encoding -> PSNR of each copy in dB over the three channels, infinite where it equals the picture."""
    pixels: list[str]
    """sha256 of each picture's size and pixels: equal where a picture repeats, whatever its file is called."""


def write_copies(manifest: Manifest, folder: Path, stages: Stages) -> Copies:
    """Decode every image by the scorers' rules and write it in every encoding.

    Args:
        manifest: checked.
        folder: where the copies go.
        stages: shows progress.

    Raises:
        DataError: an image that cannot be decoded, or is too large for a format, with its row.
        MissingDependencyError: this Pillow cannot write one of the formats.
    """
    for name in ("jpg", "webp"):
        if not features.check(name):
            raise MissingDependencyError(f"This Pillow was built without {name}. Install a wheel of Pillow.")

    def copy(row: int) -> tuple[str, list[float]]:
        picture = _picture(manifest, row)
        return _pixels(picture), [
            _write(picture, encoding, _path(folder, encoding, row), manifest, row) for encoding in ENCODINGS
        ]

    rows = range(len(manifest.images))
    found = []
    with (
        ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
        stages("re-encoding", len(rows), "images") as advance,
    ):
        for one in pool.map(copy, rows):
            found.append(one)
            advance(1)
    table = np.array([psnr for _, psnr in found])
    paths = {encoding.name: [_path(folder, encoding, row) for row in rows] for encoding in ENCODINGS}
    psnr = {encoding.name: table[:, k] for k, encoding in enumerate(ENCODINGS)}
    return Copies(paths, psnr, [pixels for pixels, _ in found])


def count_different(manifest: Manifest, enough: int) -> int:
    """Different pictures of a manifest; it is read until there are `enough`.

    Raises:
        DataError: an image that cannot be decoded, with its row.
    """
    seen: set[str] = set()
    for row in range(len(manifest.images)):
        seen.add(_pixels(_picture(manifest, row)))
        if len(seen) == enough:
            break
    return len(seen)


def _picture(manifest: Manifest, row: int) -> Image.Image:
    try:
        return open_rgb(manifest.images[row])
    except DataError as error:
        raise DataError(f"{manifest.path} row {row + 1}: {error} Nothing was scored.") from error


def _pixels(picture: Image.Image) -> str:
    return sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()


def _path(folder: Path, encoding: Encoding, row: int) -> Path:
    return folder / f"{row + 1:06d}{encoding.suffix}"


def _write(picture: Image.Image, encoding: Encoding, path: Path, manifest: Manifest, row: int) -> float:
    if encoding.longest and max(picture.size) > encoding.longest:
        raise DataError(
            f"{manifest.path} row {row + 1}: {manifest.images[row]} has a side of {max(picture.size)} pixels, and "
            f"{encoding.name} holds {encoding.longest} at most. Leave such images out: a few hundred others are enough."
        )
    picture.save(path, **encoding.options)
    return _psnr(picture, open_rgb(path))


def _psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(255^2 / mean squared difference)."""
    error = float(((np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)) ** 2).mean())
    return SAME if error == 0 else 10 * math.log10(255**2 / error)
