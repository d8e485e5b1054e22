"""What decides a score, as one hash.

A fingerprint is the sha256 of the canonical JSON of an *identity*: weights, backbone, resize, normalisation,
dtype, tokenizer, formula, library versions. Two scorers with the same fingerprint give the same number for
the same image and prompt; anything that could change the number changes the fingerprint.
"""

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["canonical_json", "fingerprint_of", "library_versions", "sha256_of_file", "sha256_of_json"]

# The libraries between an image file and a score. Their versions are part of every identity.
LIBRARIES = ("torch", "torchvision", "transformers", "open-clip-torch", "pillow")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no non-finite numbers: equal values give equal text.

    >>> canonical_json({"b": 1, "a": [0.5, None]})
    '{"a":[0.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of_json(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()


def fingerprint_of(identity: dict[str, Any]) -> str:
    """The fingerprint of a scorer: sha256 (64 hex digits) of its identity."""
    return sha256_of_json(identity)


def sha256_of_file(path: Path) -> str:
    """sha256 (hex) of a file, read in pieces: a 4 GB checkpoint does not pass through memory at once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def library_versions() -> dict[str, str | None]:
    """Installed versions of the libraries that take part in a score; None where one is not installed."""
    return {package: _installed_version(package) for package in LIBRARIES}
