"""Image files by number: each file's header is looked at once, before training; pixels are read when needed."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from prefbench.bench.exceptions import DataError
from prefbench.scorers.image_io import open_rgb

__all__ = ["ImageFiles", "UnreadableImageError", "decoded", "read_rgb"]

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for files that are no image, cut short, damaged or far too large."""


class UnreadableImageError(DataError):
    """An image without usable pixels; `problem` says which, in which row, and why."""

    def __init__(self, problem: str, advice: str = "Replace it or delete the row.") -> None:
        super().__init__(f"{problem}. {advice}")
        self.problem = problem


def _reason(error: Exception) -> str:
    """What is wrong with a file, without Pillow's names for the object that it read."""
    if isinstance(error, UnidentifiedImageError):
        return "Pillow does not know the format"
    return str(error).rstrip(".")


def decoded(file: Path | BinaryIO, what: str) -> Image.Image:
    """An RGB image by the one rule of scorers/image_io.py, which the benchmark and the scorers follow too.

    SalesforceAIResearch/DiffusionDPO@5233e75 has convert("RGB"): the same for 8-bit files that are neither
    transparent nor turned by EXIF. Those are composited over white and turned (ours).

    Raises:
        UnreadableImageError: no image, damaged, too large, or of floating-point values; beginning with `what`.
        FileNotFoundError: there is no such file.
    """
    try:
        with Image.open(file) as image:
            return open_rgb(image)
    except FileNotFoundError:
        raise
    except DataError as error:
        raise UnreadableImageError(f"{what} cannot be used: {str(error).rstrip('.')}") from None
    except UNREADABLE as error:
        raise UnreadableImageError(f"{what} cannot be read as an image ({_reason(error)})") from None


def read_rgb(path: Path, where: str) -> Image.Image:
    """An RGB image.

    Raises:
        UnreadableImageError: the file is missing or is no image, naming `where`.
    """
    try:
        return decoded(path, f"{where}: {path}")
    except FileNotFoundError:
        raise UnreadableImageError(
            f"{where}: the image {path} is missing", "Put it there or delete the row."
        ) from None


def _look(path: Path) -> tuple[int, tuple[int, int], str | None]:
    """(bytes, (width, height), why the file cannot be used), by its header only."""
    try:
        size = path.stat().st_size
        with Image.open(path) as image:
            mode, pixels = image.mode, image.size
    except FileNotFoundError:
        return 0, (0, 0), f"image {path} is missing"
    except (UnidentifiedImageError, IsADirectoryError):
        return 0, (0, 0), f"{path} is not an image"
    except UNREADABLE as error:
        return 0, (0, 0), f"{str(path)!r} is not an image that can be read ({_reason(error)})"
    if mode == "F":
        return (
            size,
            pixels,
            f"{path} holds floating-point values without a stated range (mode F); save it as 8-bit RGB",
        )
    return size, pixels, None


class ImageFiles:
    """Files below one folder, numbered in the order in which they are first named.

    Args:
        folder: that relative names are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._pixels: list[tuple[int, int]] = []
        self._problems: dict[int, str] = {}

    def add(self, name: str) -> int:
        """Number of the file; its header is read when it is first named."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._names)
            size, pixels, problem = (
                _look(self._folder / name) if name.strip() else (0, (0, 0), "an image has no name")
            )
            self._names.append(name)
            self._sizes.append(size)
            self._pixels.append(pixels)
            if problem:
                self._problems[number] = problem
        return number

    def problem(self, number: int) -> str | None:
        """Why the file cannot be used, or None."""
        return self._problems.get(number)

    def read(self, number: int, where: str) -> Image.Image:
        """The RGB image; `where` names the row in an error."""
        return read_rgb(self._folder / self._names[number], where)

    def name(self, number: int) -> str:
        """Name and size: what identifies the file in a hash of the data."""
        return f"{self._names[number]}:{self._sizes[number]}"

    def same(self, one: int, other: int) -> bool:
        """Whether both are one file, or files of the same bytes."""
        if one == other:
            return True
        if self._sizes[one] != self._sizes[other]:
            return False
        paths = (self._folder / self._names[number] for number in (one, other))
        first, second = (path.read_bytes() for path in paths)
        return first == second

    def identical(self, numbers: np.ndarray) -> np.ndarray:
        """(N, 2) numbers -> (N,) bool, `same` for each row."""
        return np.array([self.same(int(a), int(b)) for a, b in numbers], dtype=bool)

    def mixed(self, numbers: np.ndarray) -> np.ndarray:
        """(N, 2) numbers -> (N,) bool: the two have other widths or heights, as their headers say."""
        return np.array([self._pixels[a] != self._pixels[b] for a, b in numbers.tolist()], dtype=bool)

    def reader(self, numbers: np.ndarray, where: Callable[[int], str]) -> Callable[[int, int], Image.Image]:
        """(N, 2) numbers -> function of (row, side) that reads the image; `where` names a row."""
        return lambda row, side: self.read(int(numbers[row, side]), where(row))

    def namer(self, numbers: np.ndarray) -> Callable[[int, int], str]:
        """(N, 2) numbers -> function of (row, side) that names the image."""
        return lambda row, side: self.name(int(numbers[row, side]))
