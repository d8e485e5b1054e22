"""The one way in which an image file becomes RGB pixels.

Rules, the same for every scorer:

* the EXIF orientation is applied;
* transparency is composited over white;
* 16-bit greyscale is divided by 257 and rounded (65535 -> 255); 16-bit RGB is reduced to its high byte by
  Pillow's decoder;
* palette, greyscale and bilevel images become the RGB they stand for; CMYK, YCbCr, LAB and HSV go through
  Pillow's built-in conversion; embedded ICC profiles are NOT applied (none of the original scorers does);
* of an animation the first frame counts;
* a float image (mode F) has no stated range and is refused.

The originals convert less: ImageReward and OpenAI's CLIP call `convert("RGB")` after resizing (so a palette
image is resized by its indices), none applies EXIF, `convert("RGB")` shows whatever colour lies under
transparent pixels, and HPSv2 crashes on four channels.
"""

import os
from os import PathLike, fspath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from prefbench.bench.exceptions import DataError
from prefbench.scorers.protocol import ImageSource

__all__ = ["BACKGROUND", "DECODE_RULE", "image_name", "open_rgb"]

BACKGROUND = (255, 255, 255)
"""Colour under transparent pixels. Our choice: the originals show undefined colour there, or crash."""

DECODE_RULE = "exif-transposed, alpha over white, 16-bit/257, no ICC"
"""Part of every scorer's identity."""


def image_name(image: ImageSource, index: int | None = None) -> str:
    """How an error names an image: its path where it has one, else its position."""
    if isinstance(image, Image.Image):
        path = getattr(image, "filename", "")
        return (
            str(path) if path else ("an image in memory" if index is None else f"image {index} (in memory)")
        )
    return fspath(image)


def open_rgb(image: ImageSource) -> Image.Image:
    """Decode by the module's rules.

    Args:
        image: a PIL image (left unchanged) or a path.

    Returns: a PIL image of mode RGB, 8 bits a channel.

    Raises:
        DataError: no such file, not an image, truncated, or a mode without a stated range; the message names
            the file.
    """
    if isinstance(image, Image.Image):
        return _to_rgb(image, image_name(image))
    if not isinstance(image, str | PathLike):
        raise DataError(
            f"An image is given as {type(image).__name__}; scorers take PIL images or paths. "
            "Convert arrays with PIL.Image.fromarray."
        )
    path = fspath(image)
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise DataError(f"Image {path} {what}. Give the path of an image file.")
    try:
        with Image.open(path) as opened:
            return _to_rgb(opened, path)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path} is not an image that Pillow can read. Replace the file or drop its row."
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"Image {path} is refused: {error} Shrink it before scoring.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(
            f"Image {path} cannot be decoded ({error}). The file is truncated or damaged: write it again."
        ) from error


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.width == 0 or image.height == 0:
        raise DataError(f"Image {name} has no pixels ({image.width} x {image.height}). Write it again.")
    image.load()
    upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    if mode == "F":
        raise DataError(
            f"Image {name} holds floating-point values without a stated range (mode F). Convert it to 8 or "
            "16 bits."
        )
    if mode.startswith("I"):
        return _from_16_bit(upright, name)
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (*BACKGROUND, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return upright if mode == "RGB" else upright.convert("RGB")


def _from_16_bit(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(
            f"Image {name} has integer values from {low} to {high}, which is not 16-bit greyscale. Convert "
            "it to 8 or 16 bits."
        )
    return Image.fromarray(np.rint(values / 257).astype(np.uint8), mode="L").convert("RGB")
