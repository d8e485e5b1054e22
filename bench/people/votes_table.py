"""A table of votes: one row a judgement, read, checked and brought into one form.

Columns `prompt_id` (or `prompt`), `seed` (or none, where each prompt has one), `checkpoint_a` and `checkpoint_b` (the two
that were shown, a first or on the left), `annotator`, `choice`. Like a scores table it is refused, never repaired.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.bench.exceptions import DataError
from prefbench.bench.judges.checks import refuse
from prefbench.bench.people.columns import COLUMNS, meanings, named_columns
from prefbench.bench.table_columns import seeds, texts
from prefbench.bench.table_file import read_table_file

__all__ = ["Judgements", "check_judgements", "read_votes"]


@dataclass(frozen=True)
class Judgements:
    """One row a judgement, as it was written.

    Attributes:
        source: how the user named the data.
        form: what kind of data it is, for a person.
        table: `columns.COLUMNS`, `choice` one of a, b and tie; `prompt_id` or `prompt` "" where there is no such
            column; and `where`, which says where in the data a judgement stands.
        seeded: whether the data names seeds; `seed` is 0 where it does not.
        ordered: whether `checkpoint_a` was shown first.
        unread: columns of the data that were not read.
    """

    source: str
    form: str
    table: pd.DataFrame
    seeded: bool
    ordered: bool
    unread: list[str] = field(default_factory=list)


def read_votes(path: Path) -> Judgements:
    """Read a table of votes, CSV or Parquet.

    Raises:
        DataError: it is no such table, or has rows that cannot be used; each is named by row and column.
    """
    if path.is_dir():
        raise DataError(
            f"{path} is a folder, not a table of votes. Give the file; of an earlier `prefbench import-votes` that is "
            f"{path / 'votes.parquet'}. A folder of ratings is read with --format."
        )
    given = read_table_file(path, what="table of votes", columns=COLUMNS).to_pandas()
    names = named_columns(path, [str(name) for name in given.columns])
    if not len(given):
        raise DataError(f"{path} has a header and no rows. A table of votes needs a row for each judgement.")
    table = pd.DataFrame(index=range(len(given)))
    for column in COLUMNS:
        if column == "seed":
            has = column in names
            table[column] = seeds(given[names[column]], str(path)) if has else np.zeros(len(given), np.int64)
        elif column in names:
            # A file of ours has empty prompts where the votes came without any text.
            empty = column == "prompt" and "prompt_id" in names
            table[column] = texts(given[names[column]], names[column], str(path), may_be_empty=empty)
        else:
            table[column] = ""
    table["where"] = [f"row {row}" for row in range(1, len(table) + 1)]
    table["choice"] = _choices(path, table, names["choice"])
    unread = [str(name) for name in given.columns if str(name) not in names.values()]
    judgements = Judgements(str(path), "Votes on pairs", table, "seed" in names, ordered=True, unread=unread)
    check_judgements(judgements)
    return judgements


def _choices(path: Path, table: pd.DataFrame, column: str) -> list[str]:
    found, problems = [], []
    columns = ("choice", "checkpoint_a", "checkpoint_b")
    rows = zip(*(table[name].tolist() for name in columns), strict=True)
    for row, (choice, a, b) in enumerate(rows, start=1):
        meant = meanings(choice, a, b)
        found.append(meant[0] if meant else "")
        if not meant:
            problems.append(f"row {row}: {column} is {choice!r}, not a, b, tie, {a!r} or {b!r}")
        if len(meant) > 1:
            problems.append(
                f"row {row}: {column} is {choice!r}, which can mean {' and '.join(meant)} of {a!r} and {b!r}"
            )
    refuse(path, problems, len(table))
    return found


def check_judgements(judgements: Judgements) -> None:
    """Refuse what no reader of the numbers could see.

    Raises:
        DataError: a checkpoint against itself, a prompt id with two texts, or two judgements of one pair by one annotator.
    """
    table, source = judgements.table, Path(judgements.source)
    alike = table[table["checkpoint_a"] == table["checkpoint_b"]]
    refuse(
        source,
        [
            f"{where}: checkpoint_a and checkpoint_b are both {name!r}"
            for where, name in zip(alike["where"], alike["checkpoint_a"], strict=True)
        ],
        len(table),
    )
    refuse(source, _two_texts(table), len(table))
    refuse(source, _repeated(table), len(table))


def _two_texts(table: pd.DataFrame) -> list[str]:
    first: dict[str, tuple[str, str]] = {}
    problems = []
    named = table[table["prompt_id"] != ""]
    columns = ("prompt_id", "prompt", "where")
    for prompt_id, prompt, where in zip(*(named[name].tolist() for name in columns), strict=True):
        text, at = first.setdefault(prompt_id, (prompt, where))
        if prompt != text:
            problems.append(
                f"{where}: the prompt of prompt_id {prompt_id!r} is {prompt!r}, in {at} it is {text!r}"
            )
    return problems


def _repeated(table: pd.DataFrame) -> list[str]:
    first: dict[tuple[str, ...], str] = {}
    problems = []
    columns = ("prompt_id", "prompt", "seed", "checkpoint_a", "checkpoint_b", "annotator", "where")
    for prompt_id, prompt, seed, a, b, annotator, where in zip(
        *(table[name].tolist() for name in columns), strict=True
    ):
        known = first.setdefault((prompt_id or prompt, str(seed), *sorted((a, b)), annotator), where)
        if known != where:
            problems.append(
                f"{where}: {annotator!r} judges {a!r} and {b!r} for the prompt {prompt_id or prompt!r}, seed {seed}, again after "
                f"{known}"
            )
    return problems
