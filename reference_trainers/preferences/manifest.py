"""Preference pairs from a table (CSV, Parquet, JSON lines): prompt, image_0, image_1 (paths), label_0."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.image_files import ImageFiles
from prefbench.reference_trainers.preferences.labelled_pairs import (
    LabelledPairs,
    Ties,
    labelled_pairs,
    problems_error,
)
from prefbench.reference_trainers.preferences.parquet_images import readable_parquet

__all__ = ["COLUMNS", "checked_labels", "checked_prompts", "load_manifest", "read_table"]

SIDES = ("image_0", "image_1")
COLUMNS = ("prompt", *SIDES, "label_0")


def checked_labels(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Labels as (N,) float64, and a sentence for each row whose label is not 0, 0.5 or 1."""
    labels = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isin(labels, (0.0, 0.5, 1.0)))
    return labels, [f"row {i + 1}: label_0 is {_shown(column.iloc[i])}, not 0, 0.5 or 1" for i in bad]


def _shown(value: object) -> str:
    """Numbers bare, without numpy's names for their types; text in quotes."""
    return repr(value) if isinstance(value, str) else str(value)


def checked_prompts(column: pd.Series, name: str = "prompt") -> tuple[list[str], list[str]]:
    """Prompts, and a sentence for each row without one."""
    prompts = [value if isinstance(value, str) else "" for value in column]
    problems = []
    for i, (text, value) in enumerate(zip(prompts, column, strict=True)):
        if not isinstance(value, str) and not pd.isna(value):
            problems.append(f"row {i + 1}: the {name} is {value!r}, not text")
        elif not text.strip():
            problems.append(f"row {i + 1}: the {name} is empty")
    return prompts, problems


def _json_lines(path: Path) -> pd.DataFrame:
    rows, problems = [], []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                problems.append(f"line {number} is not JSON ({error})")
                continue
            if isinstance(row, dict):
                rows.append(row)
            else:
                problems.append(f"line {number} is no JSON object")
    if problems:
        raise problems_error(str(path), problems, len(rows) + len(problems))
    return pd.DataFrame(rows)


def read_table(path: Path) -> pd.DataFrame:
    """CSV as text, Parquet and JSON lines with their own types.

    Raises:
        DataError: not UTF-8, or not what its suffix says.
    """
    try:
        if path.suffix.lower() == ".parquet":
            with readable_parquet(path):
                return pd.read_parquet(path)
        if path.suffix.lower() == ".jsonl":
            return _json_lines(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            f"{path} cannot be read as CSV: {error}. Its columns must be {', '.join(COLUMNS)}."
        ) from None


def load_manifest(
    path: Path, ties: Ties = "drop", folder: Path | None = None, table: pd.DataFrame | None = None
) -> LabelledPairs:
    """Read and check the whole table before anything is trained.

    Args:
        path: CSV (UTF-8), Parquet, or JSON lines (.jsonl, one object a row). label_0 is 1 where image_0 is preferred,
            0 where image_1 is, 0.5 for a tie.
        ties: what to do with label 0.5.
        folder: of the images; None for that of `path`.
        table: the table, if it was read before.

    Raises:
        DataError: a missing column, or rows with an empty prompt, a label outside {0, 0.5, 1} or an image
            that is missing or no image; each is named by row.
    """
    table = read_table(path) if table is None else table
    absent = [name for name in COLUMNS if name not in table.columns]
    if absent:
        there = ", ".join(map(str, table.columns))
        what = f"has no column {', '.join(absent)} (it has: {there})" if there else "is empty"
        raise DataError(f"{path} {what}. A manifest needs {', '.join(COLUMNS)}.")
    labels, problems = checked_labels(table["label_0"])
    prompts, empty = checked_prompts(table["prompt"])
    problems += empty
    files = ImageFiles(folder or path.parent)
    columns = [[files.add(name if isinstance(name, str) else "") for name in table[side]] for side in SIDES]
    numbers = np.array(columns, dtype=np.int64).T
    for i, row in enumerate(numbers):
        problems += [f"row {i + 1}: {found}" for side in row if (found := files.problem(int(side)))]
    if problems:
        raise problems_error(str(path), problems, len(table))
    return labelled_pairs(
        str(path),
        prompts,
        labels,
        files.reader(numbers, lambda row: f"{path} row {row + 1}"),
        files.namer(numbers),
        ties=ties,
        identical=files.identical(numbers),
        mixed=files.mixed(numbers),
    )
