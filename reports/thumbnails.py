"""Pictures as data URIs: tiny ones as they are, larger ones as thumbnails of a stated size and quality."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError, features

from prefbench.bench.exceptions import DataError

__all__ = ["QUALITY", "THUMB_SIDE", "TINY_SIDE", "Thumbnail", "picture_format", "thumbnail"]

TINY_SIDE = 64  # pixels; up to here the picture itself goes into the report, shown with hard pixels
THUMB_SIDE = 256  # pixels; longest side of a thumbnail
QUALITY = 80  # of WebP or JPEG


@dataclass(frozen=True)
class Thumbnail:
    """A picture ready for an `img`; `original` says that it is pixel for pixel what was generated."""

    uri: str
    width: int
    height: int
    original: bool


def picture_format(has: Callable[[str], bool | None] = features.check) -> str:
    """WebP, or JPEG where this Pillow was built without WebP; the report names the one used."""
    return "WEBP" if has("webp") else "JPEG"


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def thumbnail(path: Path, format_: str) -> Thumbnail:
    """The picture of one sample.

    Args:
        path: image file.
        format_: "WEBP" or "JPEG", for pictures larger than 64 pixels.

    Raises:
        DataError: the file is missing or is no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            tiny = max(width, height) <= TINY_SIDE
            if tiny and image.format == "PNG":
                return Thumbnail(_uri("png", path.read_bytes()), width, height, original=True)
            picture = image.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(
            f"{path}: the report needs this picture and cannot read it ({type(error).__name__}: {error}). "
            "Run the same `prefbench bench` again: it makes anew what is missing."
        ) from error
    buffer = io.BytesIO()
    if tiny:
        picture.save(buffer, "PNG")
        return Thumbnail(_uri("png", buffer.getvalue()), width, height, original=True)
    large = max(width, height) > THUMB_SIDE
    if large:
        picture.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.LANCZOS)
    picture.save(buffer, format_, quality=QUALITY)
    return Thumbnail(_uri(format_.lower(), buffer.getvalue()), picture.width, picture.height, original=False)
