"""A user's own prompt set: a CSV with a header, or a text file with one prompt a line."""

import csv
import hashlib
import io
from pathlib import Path

from prefbench.bench.exceptions import DataError
from prefbench.bench.prompts.prompt_set import Prompt, PromptSet

__all__ = ["read_own_prompts"]

COLUMNS = ("prompt", "id", "category", "challenge")


def read_own_prompts(path: Path) -> PromptSet:
    """Read `path`; the set is called after the file, its version is the start of its sha256.

    .txt: one prompt a line, empty lines are skipped, ids are line numbers ("line-00001").
    .csv: UTF-8, comma-separated, with a header; the column `prompt` is needed, `id`, `category` and
    `challenge` are optional. Without `id`, ids are row numbers ("row-00001", the header not counted).

    Raises:
        DataError: no such file, not UTF-8, a NUL byte, an unknown, missing or repeated column, an empty prompt, an id
        that occurs twice.
    """
    if not path.is_file():
        raise DataError(
            f"The prompt file {path} does not exist. Give a .csv with a `prompt` column or a .txt."
        )
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path} line {line} is not UTF-8 text. Save the file as UTF-8.") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path} line {line} has a NUL byte, so it is no text file. Take it out.")
    suffix = path.suffix.lower()
    if suffix == ".txt":
        lines = text.splitlines()
        prompts = [
            Prompt(f"line-{n:05d}", line.strip()) for n, line in enumerate(lines, start=1) if line.strip()
        ]
    elif suffix == ".csv":
        prompts = _read_csv(path, text)
    else:
        raise DataError(
            f"{path}: a prompt set of your own is a .csv or a .txt file, not {suffix or 'a bare file'}."
        )
    digest = hashlib.sha256(data).hexdigest()
    return PromptSet(path.stem, digest[:12], tuple(prompts), digest, "not stated", path.name)


def _read_csv(path: Path, text: str) -> list[Prompt]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = list(reader.fieldnames or [])
    odd = [column for column in columns if column not in COLUMNS]
    twice = [column for column in COLUMNS if columns.count(column) > 1]
    trouble = None
    if "prompt" not in columns:
        trouble = "no column `prompt`"
    elif odd:
        trouble = f"unknown column {odd[0]!r}"
    elif twice:
        trouble = f"column `{twice[0]}` stands in it twice"
    if trouble:
        raise DataError(
            f"{path}: {trouble} (found: {', '.join(columns) or 'nothing'}). Columns: prompt, and optionally "
            "id, category, "
            "challenge."
        )
    prompts = []
    try:
        for number, row in enumerate(reader, start=1):
            if None in row or None in row.values():
                raise DataError(
                    f"{path} line {reader.line_num}: the row has another number of fields than the header "
                    f"({len(columns)}). Put quotation marks around prompts that contain a comma."
                )
            prompts.append(
                Prompt(
                    row.get("id") or f"row-{number:05d}",
                    row["prompt"].strip(),
                    row.get("category") or None,
                    row.get("challenge") or None,
                )
            )
    except csv.Error as error:
        raise DataError(
            f"{path} line {reader.line_num}: {error}. Mend the quotation marks there; a prompt has "
            f"{csv.field_size_limit():,} characters at most."
        ) from error
    return prompts
