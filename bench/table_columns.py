"""Columns of a table that a user wrote: text and seeds, and the rows that are at fault, named as people count them."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.exceptions import DataError

__all__ = ["SHOWN", "more", "rows_named", "seeds", "texts"]

NAMES = ("checkpoint", "scorer", "checkpoint_a", "checkpoint_b", "annotator")
"""Columns that name something, which is printed and compared letter by letter."""

SHOWN = 5
"""Offenders listed in an error before "and N more"."""


def more(total: int) -> str:
    """What follows the first few offenders: " and 3 more", or nothing."""
    return f" and {total - SHOWN} more" if total > SHOWN else ""


def rows_named(faulty: npt.NDArray[np.bool_]) -> str:
    """The rows of a mask, counted from 1: "rows 2, 5 and 3 more"."""
    rows = np.flatnonzero(faulty) + 1
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:SHOWN]))}{more(len(rows))}"


def texts(column: pd.Series, name: str, source: str, *, may_be_empty: bool) -> npt.NDArray[np.object_]:
    """A column as text, "" for a missing value; DataError with the rows where one is empty and must not be."""
    missing = column.isna().to_numpy()
    values = np.array(
        ["" if gone else str(value) for value, gone in zip(column.tolist(), missing, strict=True)], object
    )
    empty = np.array([not value.strip() for value in values])
    if empty.any() and not may_be_empty:
        raise DataError(f'{source} {rows_named(empty)}: column "{name}" is empty. Fill it or delete the row.')
    if name in NAMES:
        _check_names(values, name, source)
    return values


def _check_names(values: npt.NDArray[np.object_], name: str, source: str) -> None:
    """Refuse names that look like another one, or that would command the terminal they are printed on."""
    odd = {value for value in set(values) if value and (value != value.strip() or not value.isprintable())}
    if odd:
        faulty = np.array([value in odd for value in values])
        raise DataError(
            f'{source} {rows_named(faulty)}: column "{name}" has {sorted(odd)[0]!r}: blanks around a name, or a character that '
            "does not print, make names that look alike and are not. Take them away."
        )


def seeds(column: pd.Series, source: str) -> npt.NDArray[np.int64]:
    """A column of seeds; DataError with the rows where one is no whole number of 64 bits."""
    given = column.tolist()
    whole: list[int | None] = []
    for value in given:
        try:
            fits = isinstance(value, (str, int, np.integer)) or (
                isinstance(value, float) and value.is_integer()
            )
            number = int(value) if fits and not isinstance(value, bool) else None
        except ValueError:
            number = None
        whole.append(number if number is not None and -(2**63) <= number < 2**63 else None)
    faulty = np.array([value is None for value in whole])
    if faulty.any():
        row = int(np.flatnonzero(faulty)[0])
        raise DataError(
            f'{source} {rows_named(faulty)}: column "seed" is not a whole number of 64 bits (row {row + 1} has '
            f"{given[row]!r}). Number the samples of a prompt 0, 1, 2, ..."
        )
    return np.array(whole, dtype=np.int64)
