"""Stored baselines: one checkpoint's scores under a name, in a folder that can be committed, and their course over releases."""

from pathlib import Path

__all__ = ["DEFAULT_FOLDER"]

DEFAULT_FOLDER = Path("baselines")
"""Where the commands look for them; here, so that `--help` need not import pandas."""
