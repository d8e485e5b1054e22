"""Content-addressed PNG files: `images/ab/abcd….png`, named by the sample's key."""

import io
from pathlib import Path

from PIL import Image

from prefbench.bench.atomic import write_bytes
from prefbench.bench.exceptions import LedgerError
from prefbench.bench.store.keys import pixels_sha256

__all__ = ["ImageStore"]

PNG_LEVEL = 1
"""zlib level: the fastest. A fast GPU would wait for the default, 6."""


class ImageStore:
    """The images of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the image with this key lies, or would lie."""
        return self.folder / key[:2] / f"{key}.png"

    def write(self, key: str, image: Image.Image) -> str:
        """Store an RGB image under `key`, whole or not at all; returns its pixel hash."""
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", compress_level=PNG_LEVEL)
        write_bytes(self.path(key), buffer.getvalue())
        return pixels_sha256(image)

    def read(self, key: str, pixels: str) -> Image.Image:
        """The image with this key, checked against the pixel hash that the ledger holds.

        Raises:
            LedgerError: the file is missing, unreadable, or holds other pixels.
        """
        path = self.path(key)
        remedy = "Start the run in a new folder, or put the file back from a copy."
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise LedgerError(
                f"The ledger lists the image {path}, but it cannot be read ({error}). {remedy}"
            ) from error
        found = pixels_sha256(image)
        if found != pixels:
            raise LedgerError(
                f"{path} holds other pixels ({found[:12]}…) than the ledger ({pixels[:12]}…). {remedy}"
            )
        return image
