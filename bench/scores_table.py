"""The scores table: one row a (checkpoint, prompt, seed, scorer), read, checked and written.

Columns `checkpoint, prompt_id, prompt, seed, scorer, score`, and optional `category, challenge`; CSV
(UTF-8, comma) or Parquet. Everything after scoring works from such a table alone.

A table is refused, never repaired: a missing or unknown column, an empty field, a score that is no finite
number, a seed that is no whole number, an entry given twice, or a prompt id with two texts (or two
categories) is an error that names the row. Rows are counted from 1 after the header. The same text under
two ids is fine: statistics treat it as one prompt.
"""

import csv
import difflib
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench import atomic
from prefbench.bench.exceptions import DataError
from prefbench.bench.table_columns import SHOWN, more, rows_named, seeds, texts
from prefbench.bench.table_file import read_table_file

__all__ = ["OPTIONAL", "REQUIRED", "check_complete", "check_scores", "read_scores", "write_scores"]

REQUIRED = ("checkpoint", "prompt_id", "prompt", "seed", "scorer", "score")
OPTIONAL = ("category", "challenge")
ENTRY = ["checkpoint", "prompt_id", "seed", "scorer"]
"""What identifies a row."""


def read_scores(path: Path) -> pd.DataFrame:
    """Read and check a scores table.

    Args:
        path: a Parquet file (recognised by its first bytes) or a CSV in UTF-8, with or without a byte order
            mark.

    Returns:
        Columns `REQUIRED` and those of `OPTIONAL` that are present, in that order; `seed` int64, `score`
        float64, text elsewhere.

    Raises:
        DataError: the file is missing, unreadable, or not a valid scores table.
    """
    if path.is_dir():
        raise DataError(
            f"{path} is a folder, not a scores table. Give a CSV or Parquet file; of a run folder or of `prefbench score` "
            f"that is {path / 'scores.parquet'}."
        )
    table = read_table_file(path, what="scores table", columns=REQUIRED)
    return check_scores(table.to_pandas(), source=str(path))


def check_scores(frame: pd.DataFrame, *, source: str = "the scores table") -> pd.DataFrame:
    """Check every row and give the columns their types.

    Args:
        frame: a table with at least the required columns; scores and seeds as numbers or as text.
        source: how errors name the table.

    Returns:
        A new frame, typed and ordered as `read_scores` describes, with index 0, 1, ...

    Raises:
        DataError: the first kind of fault found, with its rows.
    """
    _check_columns([str(name) for name in frame.columns], source)
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in frame.columns]
    if not len(frame):
        raise DataError(f"{source} has a header and no rows. A scores table needs a row for each score.")
    out = pd.DataFrame(index=range(len(frame)))
    for name in columns:
        if name == "score":
            out[name] = _scores(frame[name], source)
        elif name == "seed":
            out[name] = seeds(frame[name], source)
        else:
            out[name] = texts(frame[name], name, source, may_be_empty=name in OPTIONAL)
    _check_duplicates(out, source)
    for name in ("prompt", *(c for c in OPTIONAL if c in columns)):
        _check_one_per_prompt(out, name, source)
    return out


def check_complete(frame: pd.DataFrame, *, source: str = "the scores table") -> None:
    """Refuse a table in which some checkpoint lacks a (prompt, seed, scorer) that the rest of the table has.

    Win rates are over the same pairs for every checkpoint and the vote is over the same voters on every
    pair; leaving out what is missing would compare checkpoints on different prompts.

    Raises:
        DataError: how many entries are missing, and the first few.
    """
    names = [pd.factorize(frame[column], sort=True) for column in ("checkpoint", "scorer")]
    sample, samples = pd.factorize(pd.MultiIndex.from_frame(frame[["prompt_id", "seed"]]), sort=True)
    (checkpoint, checkpoints), (scorer, scorers) = names
    present = np.zeros((len(checkpoints), len(samples), len(scorers)), dtype=bool)
    present[checkpoint, sample, scorer] = True
    holes = np.argwhere(~present)
    if not len(holes):
        return
    listed = [
        f"({checkpoints[c]}, prompt {samples[s][0]}, seed {samples[s][1]}, {scorers[k]})"
        for c, s, k in holes[:SHOWN]
    ]
    raise DataError(
        f"{source}: {len(holes)} of {present.size} scores are missing (checkpoint, prompt, seed, scorer): "
        f"{', '.join(listed)}{more(len(holes))}. Every checkpoint needs every prompt, seed and scorer that "
        "another has: score what is missing, leave such (prompt, seed) out for all checkpoints with "
        "--drop-incomplete, or delete scorers."
    )


def write_scores(frame: pd.DataFrame, path: Path) -> None:
    """Check a table and write it whole or not at all: Parquet for a `path` in .parquet, CSV for .csv.

    Raises:
        DataError: another ending, or a table that `check_scores` refuses.
    """
    table = check_scores(frame)
    if path.suffix == ".parquet":
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False, compression="zstd")
        atomic.write_bytes(path, buffer.getvalue())
    elif path.suffix == ".csv":
        # All text in quotes: the default leaves a carriage return in a prompt bare, which no reader survives.
        atomic.write_text(path, table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC))
    else:
        raise DataError(
            f"A scores table is written as .csv or .parquet, not {path.name!r}. Change the file's ending."
        )


def _check_columns(names: list[str], source: str) -> None:
    missing = [name for name in REQUIRED if name not in names]
    odd = [name for name in names if name not in REQUIRED + OPTIONAL]
    if missing:
        near = [(name, difflib.get_close_matches(name, odd, n=1, cutoff=0.6)) for name in missing]
        near += [(name, [o for o in odd if o.strip().lower() == name]) for name in missing]
        hints = dict.fromkeys(f" Is {found[0]!r} meant to be {name!r}?" for name, found in near if found)
        if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
            hints = dict.fromkeys([" Its values look separated by something other than a comma."])
        raise DataError(
            f"{source} lacks the column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, names))}.{''.join(hints)} Needed: {', '.join(REQUIRED)}; optional: "
            f"{', '.join(OPTIONAL)}."
        )
    if odd:
        raise DataError(
            f"{source} has columns that a scores table does not know: {', '.join(map(repr, odd))}. Drop "
            f"them, or rename what is meant for slices to {' or '.join(map(repr, OPTIONAL))}."
        )


def _number(value: object) -> float:
    """The value as a float, NaN where it is not a number. Python's parser is exact, pandas' is not."""
    if value is None or value is pd.NA or isinstance(value, (bool, np.bool_)):
        return float("nan")
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _scores(column: pd.Series, source: str) -> npt.NDArray[np.float64]:
    given = column.tolist()
    values = np.array([_number(value) for value in given], dtype=np.float64)
    faulty = ~np.isfinite(values)
    if faulty.any():
        row = int(np.flatnonzero(faulty)[0])
        raise DataError(
            f'{source} {rows_named(faulty)}: column "score" is not a finite number (row {row + 1} has '
            f"{given[row]!r}). Score these samples again or delete them for all checkpoints; a failed score "
            "is not a zero. Or delete these rows alone and compare with --drop-incomplete, which leaves the samples out for all "
            "checkpoints."
        )
    return values


def _check_duplicates(frame: pd.DataFrame, source: str) -> None:
    again = frame.duplicated(ENTRY, keep="first").to_numpy()
    if not again.any():
        return
    row = int(np.flatnonzero(again)[0])
    entry = frame.loc[row, ENTRY]
    same = (frame[ENTRY] == entry).all(axis=1).to_numpy()
    raise DataError(
        f"{source} {rows_named(again)}: an entry is given again. The first: checkpoint {entry['checkpoint']!r}, "
        f"prompt_id {entry['prompt_id']!r}, seed {entry['seed']}, scorer {entry['scorer']!r} stands in "
        f"{rows_named(same)}. Keep one of each; several images of one prompt need different seeds."
    )


def _check_one_per_prompt(frame: pd.DataFrame, name: str, source: str) -> None:
    """One prompt id has one text, one category and one challenge."""
    kinds = frame[["prompt_id", name]].drop_duplicates()
    twice = kinds["prompt_id"].duplicated(keep=False)
    if not twice.any():
        return
    prompt_id = kinds.loc[twice, "prompt_id"].iloc[0]
    first, second = kinds.loc[kinds["prompt_id"] == prompt_id].iloc[:2].itertuples()
    total = kinds.loc[twice, "prompt_id"].nunique()
    raise DataError(
        f"{source}: prompt_id {prompt_id!r} has two values in column {name!r}: {first[2]!r} in row "
        f"{first.Index + 1} and {second[2]!r} in row "
        f"{second.Index + 1}{f' ({total} such ids)' if total > 1 else ''}. Give different prompts different "
        "ids, or make the rows agree."
    )
