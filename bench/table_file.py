"""A table in a file, CSV or Parquet, read without a guess: what is text stays text, and a row that is cut is an error."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from prefbench.bench.exceptions import DataError

__all__ = ["read_table_file"]


def read_table_file(path: Path, *, what: str, columns: Sequence[str]) -> pa.Table:
    """Every column of a table; those of a CSV are text.

    Args:
        path: a Parquet file (recognised by its first bytes) or a CSV in UTF-8, with or without a byte order mark.
        what: the kind of table, for messages: "scores table".
        columns: those that such a table begins with, for messages.

    Raises:
        DataError: the file is missing, unreadable, or names a column twice.
    """
    if not path.is_file():
        raise DataError(f"There is no {what} at {path}. Give the path of a CSV or Parquet file.")
    data = path.read_bytes()
    table = _parse_parquet(data, path) if data[:4] == b"PAR1" else _parse_csv(data, path, what, list(columns))
    repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if repeated:
        raise DataError(
            f"{path}: column {', '.join(map(repr, repeated))} stands in the header twice. Drop one of them."
        )
    return table


def _parse_parquet(data: bytes, path: Path) -> pa.Table:
    try:
        return pa.parquet.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}. Write it again.") from error


def _parse_csv(data: bytes, path: Path, what: str, columns: list[str]) -> pa.Table:
    """All columns as text: pyarrow checks the number of fields, and no text becomes a missing value."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            where = "it begins with the mark of UTF-16"
        else:
            line = data[: error.start].count(b"\n") + 1
            where = f"byte 0x{data[error.start]:02X} at offset {error.start}, line {line}"
        raise DataError(f"{path} is not UTF-8: {where}. Save it again as UTF-8, or as Parquet.") from error
    if not data.strip(b"\xef\xbb\xbf \r\n\t"):
        raise DataError(f"{path} is empty. A {what} begins with a header: {','.join(columns)}.")
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    # A block as long as the file: no row is cut, and row numbers in errors count from the top.
    read = pa.csv.ReadOptions(use_threads=False, block_size=max(len(data), 1))
    header: list[str] = []
    try:
        # Not by pyarrow's reader of streams: where it fails it leaves a thread that can abort the process at its end.
        lines = (line.decode("utf-8-sig") for line in io.BytesIO(data))
        header = next((row for row in csv.reader(lines) if row), [])
        convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        )
        return pa.csv.read_csv(io.BytesIO(data), read, parse, convert)
    except (pa.ArrowInvalid, csv.Error) as error:
        raise DataError(
            f"{path} is not a well-formed CSV:{_separator(header)} {error}. Each row needs one value a column, with commas "
            "between them; a prompt with a comma, quote or line break goes between double quotes, with two "
            "of them for a quote in it."
        ) from error


def _separator(header: list[str]) -> str:
    """What to say of a header of one column that holds another separator."""
    marks = {";": "semicolons", "\t": "tabs"}
    found = [name for mark, name in marks.items() if len(header) == 1 and mark in header[0]]
    return f" its header is separated by {found[0]}, not commas; save it with commas." if found else ""
