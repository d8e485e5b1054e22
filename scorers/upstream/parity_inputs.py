"""Images and prompts on which an original and its port are compared: what people have, and what breaks things."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["PROMPTS", "write_images"]

PROMPTS: dict[str, str] = {
    "empty": "",
    "one word": "cat",
    "a sentence": "a red bicycle leaning against a yellow wall, 35mm photo",
    "35 tokens": "a " + "cat and dog " * 11,
    "77 tokens": "the " + "cat and a dog in rain " * 12 + "at",
    "300 tokens": "a cat, a dog, " * 75,
    "emoji": "a 🐱 on a 🛹, crème brûlée — naïve “quotes”",
    "right to left": "قطة سوداء على سجادة חתול שחור",
    "HTML entities": "black &amp; white &lt;cat&gt; &quot;portrait&quot;",
    "spaces and case": "  A   CAT\n\tand\ta Dog  ",
}
"""Name -> text. Token counts are about those of CLIP's and BERT's vocabularies."""


def write_images(folder: Path) -> dict[str, Path]:
    """Write every image and return name -> file; the same bytes each time.

    Args:
        folder: exists.
    """
    return {name: _save(folder, name, *make()) for name, make in IMAGES.items()}


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A textured RGB picture: waves of several lengths, an edge and noise; uint8 (height, width, 3)."""
    noise = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [np.sin(x / (3 + 5 * k) + seed) + np.cos(y / (4 + 7 * k) + k) for k in range(3)]
    channels = np.stack(
        [60 * waves[k] + 50 * (x + y > (width + height) / 2) + 110 for k in range(3)], axis=-1
    )
    return np.clip(channels + noise.normal(0, 12, channels.shape), 0, 255).astype(np.uint8)


def _rgb(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(picture(width, height, seed))


def _rgba() -> Image.Image:
    image = _rgb(300, 260, 3).convert("RGBA")
    alpha = np.tile(np.linspace(0, 255, 300).astype(np.uint8), (260, 1))
    image.putalpha(Image.fromarray(alpha))
    return image


def _sixteen_bits() -> Image.Image:
    grey = picture(280, 280, 4)[..., 0].astype(np.uint16) * 257
    return Image.fromarray(grey)


def _rotated() -> tuple[Image.Image, str, dict[str, object]]:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees before it is shown
    return _rgb(320, 200, 5), "jpg", {"exif": exif, "quality": 95}


Made = tuple[Image.Image, str, dict[str, object]]

IMAGES: dict[str, Callable[[], Made]] = {
    "512 x 512": lambda: (_rgb(512, 512, 0), "png", {}),
    "JPEG 640 x 427": lambda: (_rgb(640, 427, 1), "jpg", {"quality": 90}),
    "exactly 224": lambda: (_rgb(224, 224, 2), "png", {}),
    "smaller, 100 x 80": lambda: (_rgb(100, 80, 3), "png", {}),
    "one side 224, 160 x 224": lambda: (_rgb(160, 224, 4), "png", {}),
    "strip 1000 x 50": lambda: (_rgb(1000, 50, 5), "png", {}),
    "one pixel high": lambda: (_rgb(300, 1, 6), "png", {}),
    "WebP 333 x 500": lambda: (_rgb(333, 500, 7), "webp", {"lossless": True}),
    "greyscale": lambda: (_rgb(300, 260, 2).convert("L"), "png", {}),
    "palette": lambda: (_rgb(300, 260, 2).quantize(64), "png", {}),
    "transparent": lambda: (_rgba(), "png", {}),
    "CMYK": lambda: (_rgb(300, 260, 2).convert("CMYK"), "jpg", {"quality": 95}),
    "16-bit greyscale": lambda: (_sixteen_bits(), "png", {}),
    "EXIF-rotated": _rotated,
}


def _save(folder: Path, name: str, image: Image.Image, suffix: str, options: dict[str, object]) -> Path:
    safe = "".join(letter if letter.isalnum() else "-" for letter in name)
    path = folder / f"{safe}.{suffix}"
    image.save(path, **options)  # type: ignore[arg-type]
    return path
