"""Tiny pictures are embedded byte for byte, larger ones as thumbnails of a stated size."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prefbench.bench.exceptions import DataError
from prefbench.reports.thumbnails import THUMB_SIDE, TINY_SIDE, picture_format, thumbnail


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


def test_a_tiny_png_is_embedded_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (TINY_SIDE, TINY_SIDE), (1, 2, 3)).save(path)
    made = thumbnail(path, "WEBP")
    assert made.uri.startswith("data:image/png;base64,")
    assert decoded(made.uri) == path.read_bytes()
    assert made.original


def test_a_tiny_picture_of_another_kind_keeps_every_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    shown = Image.open(io.BytesIO(decoded(thumbnail(path, "WEBP").uri)))
    assert np.array_equal(np.asarray(shown), pixels)


@pytest.mark.parametrize("format_", ["WEBP", "JPEG"])
def test_a_large_picture_becomes_a_thumbnail_with_its_proportions(tmp_path: Path, format_: str) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (1024, 512), (200, 30, 30, 255)).save(path)
    made = thumbnail(path, format_)
    shown = Image.open(io.BytesIO(decoded(made.uri)))
    assert shown.size == (THUMB_SIDE, THUMB_SIDE // 2) == (made.width, made.height)
    assert shown.format == format_
    assert not made.original


def test_a_picture_is_never_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (100, 80)).save(path)
    made = thumbnail(path, "WEBP")
    assert (made.width, made.height) == (100, 80)


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.effect_mandelbrot((300, 300), (-3, -2.5, 2, 2.5), 50).save(path)
    assert thumbnail(path, "WEBP") == thumbnail(path, "WEBP")


def test_the_format_follows_what_this_pillow_can_write() -> None:
    assert picture_format(lambda name: name == "webp") == "WEBP"
    assert picture_format(lambda name: False) == "JPEG"


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n broken"])
def test_a_missing_or_broken_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gone.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"gone\.png: the report needs this picture and cannot read it"):
        thumbnail(path, "WEBP")
