"""Names made of content: sample keys, score keys, pixel hashes."""

import hashlib
import json
from typing import Any

from PIL import Image

__all__ = ["canonical_sha256", "pixels_sha256", "score_key"]


def canonical_sha256(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`: sorted keys, no spaces, UTF-8, no NaN.

    >>> canonical_sha256({"b": 1, "a": 2}) == canonical_sha256({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def pixels_sha256(image: Image.Image) -> str:
    """sha256 (hex) of what is seen: mode, size and raw pixels; the file format does not count."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def score_key(pixels: str, prompt: str, fingerprint: str) -> str:
    """Key of one score: pixels x prompt x the scorer's fingerprint."""
    return canonical_sha256({"pixels": pixels, "prompt": prompt, "fingerprint": fingerprint})
