"""The folder that `prefbench score` writes."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.atomic import write_json
from prefbench.bench.out_folder import check_own_folder
from prefbench.bench.scores_table import write_scores

__all__ = ["check_score_folder", "write_score_folder"]

SCORERS, TABLES = "scorers.json", ("scores.parquet", "scores.csv")
SCHEMA = 1


def check_score_folder(out: Path) -> None:
    """Refuse a folder in which scores would replace what something else wrote.

    Raises:
        UsageError: `out` cannot be written, or holds files and no scorers.json of an earlier `prefbench score`.
    """
    check_own_folder(out, "score", SCORERS, ("schema", "prefbench", "scorers"))


def write_score_folder(scores: pd.DataFrame, scorers: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Write scorers.json, scores.parquet and scores.csv; other files of the folder stay."""
    described = {"schema": SCHEMA, "prefbench": version("prefbench"), "scorers": scorers}
    # First, because it says whose folder this is: killed between two files, the same command goes through again.
    write_json(out / SCORERS, described)
    for name in TABLES:
        write_scores(scores, out / name)
