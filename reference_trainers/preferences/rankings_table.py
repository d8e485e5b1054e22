"""Rankings from a table (CSV, Parquet, JSON lines), one row an image: instance, prompt, image, rank_...

Rows of one `instance` are the images of one prompt; every column whose name begins with rank_ is an annotator's
ranks, 1 = best. The 40 published instances of HPD v2's test split with ten annotators come in this form.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.reference_trainers.preferences.labelled_pairs import problems_error
from prefbench.reference_trainers.preferences.rankings import Rankings, check_rankings

__all__ = ["is_rankings_table", "load_rankings_table"]

COLUMNS = ("instance", "prompt", "image")
PREFIX = "rank_"


def _annotators(table: pd.DataFrame) -> list[str]:
    return [name for name in map(str, table.columns) if name.startswith(PREFIX)]


def is_rankings_table(table: pd.DataFrame) -> bool:
    """Whether a table has the columns of rankings."""
    return set(COLUMNS) <= set(table.columns) and bool(_annotators(table))


def load_rankings_table(path: Path, table: pd.DataFrame, folder: Path | None = None) -> Rankings:
    """Rankings of the table that was read from `path`, in order of first appearance.

    Args:
        path: of the table.
        table: its content.
        folder: of the images; None for that of `path`.

    Raises:
        DataError: two prompts in one instance, ranks that are no numbers, or images that cannot be used.
    """
    annotators, problems = _annotators(table), []
    ranks = table[annotators].apply(pd.to_numeric, errors="coerce")
    for row, column in np.argwhere(ranks.isna().to_numpy()):
        value = table[annotators[column]].iloc[row]
        problems.append(f"row {row + 1}: {annotators[column]} is {value!r}, not a number")
    groups = [part for _, part in table.groupby("instance", sort=False, dropna=False)]
    for part in groups:
        if part["prompt"].nunique(dropna=False) > 1:
            problems.append(f"instance {part['instance'].iloc[0]!r} has more than one prompt")
    if problems:
        raise problems_error(str(path), problems, len(table))
    rows = (
        (part["prompt"].iloc[0], list(part["image"]), ranks.loc[part.index].to_numpy().T) for part in groups
    )
    return check_rankings(str(path), folder or path.parent, rows, "instance")
