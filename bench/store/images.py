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

    def has(self, key: str) -> bool:
        """Whether the file is there; what is in it is looked at by `read`."""
        return self.path(key).is_file()

    def tidy(self) -> None:
        """Remove what killed processes left of files that were not whole. Call it as the only writer."""
        for path in self.folder.glob("*/.*.png.*"):
            path.unlink()

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
        remedy = "run the same `prefbench bench` again: it makes this picture anew."
        if not self.has(key):
            raise LedgerError(f"The picture {path} is gone. Put it back, or {remedy}")
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise LedgerError(
                f"The ledger lists the image {path}, but it cannot be read ({error}). Delete it and {remedy}"
            ) from error
        found = pixels_sha256(image)
        if found != pixels:
            raise LedgerError(
                f"{path} holds other pixels ({found[:12]}…) than the ledger ({pixels[:12]}…). Delete it and {remedy}"
            )
        return image
