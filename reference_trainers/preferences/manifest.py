"""Preference pairs from a table (CSV, Parquet) with columns prompt, image_0, image_1 (paths), label_0."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.labelled_pairs import (
    LabelledPairs,
    labelled_pairs,
    problems_error,
)

__all__ = ["COLUMNS", "checked_labels", "load_manifest", "read_rgb"]

COLUMNS = ("prompt", "image_0", "image_1", "label_0")


def read_rgb(path: Path, where: str) -> Image.Image:
    """An RGB image.

    Raises:
        DataError: the file is missing or is no image, naming `where`.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{where}: the image {path} is missing. Put it there or delete the row.") from None
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(
            f"{where}: {path} cannot be read as an image ({error}). Replace it or delete the row."
        ) from None


def checked_labels(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Labels as (N,) float64, and a sentence for each row whose label is not 0, 0.5 or 1."""
    labels = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isin(labels, (0.0, 0.5, 1.0)))
    return labels, [f"row {i + 1}: label_0 is {column.iloc[i]!r}, not 0, 0.5 or 1" for i in bad]


def _read_table(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".parquet":
        return pd.read_parquet(path)
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            f"{path} cannot be read as CSV: {error}. Its columns must be {', '.join(COLUMNS)}."
        ) from None


def _image_problem(path: Path) -> str | None:
    """Why the file cannot be used, by its header only; pixels are decoded when they are needed."""
    try:
        with Image.open(path):
            return None
    except FileNotFoundError:
        return f"image {path} is missing"
    except (UnidentifiedImageError, OSError):
        return f"{path} is not an image"


def load_manifest(path: Path) -> LabelledPairs:
    """Read and check the whole table before anything is trained.

    Args:
        path: CSV (UTF-8) or Parquet; image paths are relative to its folder. label_0 is 1 where image_0 is
            preferred, 0 where image_1 is, 0.5 for a tie, which is dropped and counted.

    Raises:
        DataError: a missing column, or rows with an empty prompt, a label outside {0, 0.5, 1} or an image
            that is missing or no image; each is named by row.
    """
    table = _read_table(path)
    absent = [name for name in COLUMNS if name not in table.columns]
    if absent:
        raise DataError(
            f"{path} has no column {', '.join(absent)} (it has: {', '.join(map(str, table.columns))}). A "
            f"manifest needs {', '.join(COLUMNS)}."
        )
    labels, problems = checked_labels(table["label_0"])
    prompts = [value if isinstance(value, str) else "" for value in table["prompt"]]
    problems += [f"row {i + 1}: the prompt is empty" for i, text in enumerate(prompts) if not text.strip()]
    files = [[path.parent / str(name) for name in table[column]] for column in ("image_0", "image_1")]
    seen: dict[Path, str | None] = {}
    for i, pair in enumerate(zip(*files, strict=True)):
        for file in pair:
            if file not in seen:
                seen[file] = _image_problem(file)
            if seen[file]:
                problems.append(f"row {i + 1}: {seen[file]}")
    if problems:
        raise problems_error(str(path), problems, len(table))
    return labelled_pairs(
        source=str(path),
        prompts=prompts,
        label_0=labels,
        image=lambda row, side: read_rgb(files[side][row], f"{path} row {row + 1}"),
        image_names=lambda row, side: f"{table[f'image_{side}'].iloc[row]}:{files[side][row].stat().st_size}",
    )
