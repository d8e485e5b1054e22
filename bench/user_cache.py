"""Where prefbench keeps what can be made again: encodings, scores, ratings, compiled templates, the originals' environments."""

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder(given: str | None = None) -> Path:
    """`given`, else $PREFBENCH_CACHE, else prefbench/ in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    if given is not None:
        return Path(given).expanduser()
    if own := os.environ.get("PREFBENCH_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefbench"
