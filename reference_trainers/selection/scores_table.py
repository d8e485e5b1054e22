"""Scores of pairs from a table made elsewhere, or by `prefbench select` and `label`: no image is opened.

Columns: `row` (of the source, from 1), `prompt`, and for each scorer NAME_0 and NAME_1, the scores of the two images;
higher is better. A table that prefbench wrote says which data it is of, and is refused for other data; it also says what
its scorers say of themselves, so that a score has the same scale and direction as when it was computed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.selection.image_scores import ImageScores

__all__ = ["DATA_KEY", "SCORERS_KEY", "file_sha256", "read_pair_table", "read_scores", "scorers_as_json"]

DATA_KEY = b"prefbench_data_sha256"
"""In the metadata of our Parquet files: sha256 of prompts, human labels and image names."""
SCORERS_KEY = b"prefbench_scorers"
"""In the metadata of our Parquet files: JSON, scorer -> what `ImageScores` holds beside the values."""
STATED = ("scale", "logit_scale", "higher_is_better")


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scorers_as_json(scores: Mapping[str, ImageScores]) -> bytes:
    """What `read_scores` needs besides the numbers, for the metadata of a table."""
    return json.dumps({n: {key: getattr(s, key) for key in STATED} for n, s in scores.items()}).encode()


def _metadata(path: Path) -> Mapping[bytes, bytes]:
    return (pq.read_schema(path).metadata or {}) if path.suffix.lower() == ".parquet" else {}


def _read(path: Path, columns: Sequence[str], what: str, optional: Sequence[str] = ()) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{what} {path}: there is no such file. Check the path.")
    try:
        if path.suffix.lower() == ".parquet":
            present = pq.read_schema(path).names
            table = pd.read_parquet(path, columns=[name for name in (*columns, *optional) if name in present])
        else:
            table = pd.read_csv(
                path, encoding="utf-8-sig", dtype={"prompt": str}, keep_default_na=False, na_values={}
            )
            present = list(table.columns)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise DataError(
            f"{what} {path} cannot be read as CSV or Parquet ({error}). Write it again."
        ) from None
    absent = [name for name in columns if name not in present]
    if absent:
        raise DataError(
            f"{what} {path} has no column {', '.join(absent)} (it has: {', '.join(present)}). It needs row and prompt, "
            "and for scores SCORER_0 and SCORER_1."
        )
    return table[[*columns, *(name for name in optional if name in present)]]


def read_pair_table(
    path: Path,
    pairs: LabelledPairs,
    columns: Sequence[str],
    *,
    data_sha256: str,
    what: str,
    complete: bool = True,
    optional: Sequence[str] = (),
) -> pd.DataFrame:
    """The rows of a table that belong to `pairs`, in their order.

    Args:
        path: CSV or Parquet with `row`, `prompt` and `columns`.
        pairs: N pairs.
        columns: wanted ones.
        data_sha256: of the pairs as they were opened, human labels in force.
        what: "select" or "scores", for errors.
        complete: whether every pair must be in the table; else absent ones get missing values.
        optional: columns that are read where the table has them.

    Returns: N rows with `columns`, and with those of `optional` that there are.

    Raises:
        DataError: no such file or column, a row that stands twice, is absent, or has another prompt than the data.
    """
    table = _read(path, ["row", "prompt", *columns], what, optional)
    made_of = _metadata(path).get(DATA_KEY)
    if made_of is not None and made_of.decode() != data_sha256:
        raise DataError(
            f"{what} {path} was made of other data than {pairs.source}, or of its ties dealt with otherwise. Make it again "
            "of this data."
        )
    rows = pd.to_numeric(table["row"], errors="coerce")
    wrong = ~rows.isin(np.arange(1, pairs.counts.rows + 1)) | rows.duplicated()
    if wrong.any():
        raise DataError(
            f"{what} {path}: the row {table['row'][wrong].iloc[0]} stands twice, or is no row of {pairs.source} (1 to "
            f"{pairs.counts.rows}). Each row of the data once."
        )
    table = table.set_index(rows.astype(np.int64)).reindex(pairs.rows + 1)
    absent = table["row"].isna().to_numpy()
    if complete and absent.any():
        first = int(pairs.rows[np.flatnonzero(absent)[0]]) + 1
        raise DataError(
            f"{what} {path} lacks {int(absent.sum())} of {len(pairs)} pairs of {pairs.source}; row {first} is the first. "
            "Make the table of the whole data."
        )
    for i, (prompt, own) in enumerate(zip(table["prompt"].tolist(), pairs.prompts, strict=True)):
        if prompt != own and not absent[i]:
            raise DataError(
                f"{what} {path}, row {int(pairs.rows[i]) + 1}: the prompt is {str(prompt)[:60]!r}, and in {pairs.source} it "
                f"is {own[:60]!r}. The table belongs to other data."
            )
    return table.drop(columns=["row", "prompt"]).reset_index(drop=True)


def read_scores(
    path: Path, pairs: LabelledPairs, names: Sequence[str], *, data_sha256: str
) -> dict[str, ImageScores]:
    """Scores by the scorers `names` from a table.

    Raises:
        DataError: as `read_pair_table`, or a score that is no finite number, naming row and image.
    """
    names = list(dict.fromkeys(names))
    columns = [f"{name}_{side}" for name in names for side in (0, 1)]
    table = read_pair_table(path, pairs, columns, data_sha256=data_sha256, what="scores")
    stated: dict[str, dict[str, Any]] = json.loads(_metadata(path).get(SCORERS_KEY, b"{}"))
    unstated = {"scale": None, "logit_scale": None}
    fingerprint = f"table:{file_sha256(path)}"
    found = {}
    for name in names:
        values = np.stack(
            [pd.to_numeric(table[f"{name}_{side}"], errors="coerce").to_numpy(np.float64) for side in (0, 1)],
            axis=1,
        )
        broken = np.argwhere(~np.isfinite(values))
        if len(broken):
            i, side = (int(v) for v in broken[0])
            raise DataError(
                f"scores {path}: {len(broken)} scores of {name} are no finite number; the first is "
                f"{table[f'{name}_{side}'].iloc[i]} for image {side} of row {int(pairs.rows[i]) + 1}. Mend the table."
            )
        found[name] = ImageScores(name, values, fingerprint=fingerprint, **stated.get(name, unstated))
    return found
