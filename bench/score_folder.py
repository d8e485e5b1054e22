"""The folder that `prefbench score` writes."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.atomic import write_json
from prefbench.bench.exceptions import UsageError
from prefbench.bench.out_folder import check_out
from prefbench.bench.scores_table import write_scores

__all__ = ["check_score_folder", "write_score_folder"]

SCORERS, TABLES = "scorers.json", ("scores.parquet", "scores.csv")
SCHEMA = 1


def check_score_folder(out: Path) -> None:
    """Refuse a folder in which scores would replace what something else wrote.

    Raises:
        UsageError: `out` cannot be written, or holds files and no scorers.json of an earlier `prefbench score`.
    """
    check_out(out)
    others = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if others and not _is_ours(out / SCORERS):
        raise UsageError(
            f"The folder {out} holds something that `prefbench score` did not write "
            f"({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}). Give --out a new or empty folder, or one "
            "of an earlier `prefbench score`."
        )


def write_score_folder(scores: pd.DataFrame, scorers: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Write scorers.json, scores.parquet and scores.csv; other files of the folder stay."""
    described = {"schema": SCHEMA, "prefbench": version("prefbench"), "scorers": scorers}
    # First, because it says whose folder this is: killed between two files, the same command goes through again.
    write_json(out / SCORERS, described)
    for name in TABLES:
        write_scores(scores, out / name)


def _is_ours(path: Path) -> bool:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(described, dict) and {"schema", "prefbench", "scorers"} <= set(described)
