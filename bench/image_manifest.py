"""A list of finished images to score, read and checked.

A manifest is a CSV (UTF-8) with the columns `image, prompt` and optional `checkpoint, prompt_id, seed,
category, challenge`. Paths are relative to the manifest. Where a column is absent, `checkpoint` is "images",
a prompt's id is its place among the distinct prompts, and `seed` counts the images of a prompt; these are
names and change no score.
"""

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

from prefbench.bench.exceptions import DataError
from prefbench.bench.scores_table import check_scores

__all__ = ["Manifest", "read_manifest"]

REQUIRED = ("image", "prompt")
OPTIONAL = ("checkpoint", "prompt_id", "seed", "category", "challenge")
SCORED = ("checkpoint", "prompt_id", "prompt", "seed", "category", "challenge")
NOT_CSV = (".json", ".jsonl", ".parquet", ".html", ".toml")
SHOWN = 5
"""Offenders listed in an error before "and N more"."""


@dataclass(frozen=True)
class Manifest:
    """Checked rows of a manifest, in its order."""

    path: Path
    images: list[Path]
    frame: pd.DataFrame
    """Columns checkpoint, prompt_id, prompt, seed and, where given, category and challenge."""


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and check every row, image headers included.

    Raises:
        DataError: missing file, wrong encoding, unknown or missing column, a row of another length, an empty
            prompt or image, an image that does not exist or is none, an entry given twice. Rows count from 1
            after the header.
    """
    header, rows = _read_rows(path)
    _check_header(header, path)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    for name in REQUIRED:
        _refuse(
            path,
            [i for i, value in enumerate(columns[name]) if not value.strip()],
            f'column "{name}" is empty',
        )
    images = [path.parent / value for value in columns["image"]]
    _refuse(
        path, [i for i, image in enumerate(images) if not image.is_file()], "there is no such image", images
    )
    faults = [_header_fault(image) for image in images]
    for fault in dict.fromkeys(filter(None, faults)):
        _refuse(path, [i for i, found in enumerate(faults) if found == fault], fault, images)
    prompts = columns["prompt"]
    checkpoints = columns.get("checkpoint", ["images"] * len(rows))
    ids = columns.get("prompt_id") or _prompt_ids(prompts)
    frame = pd.DataFrame({"checkpoint": checkpoints, "prompt_id": ids, "prompt": prompts})
    frame["seed"] = (
        columns["seed"] if "seed" in columns else frame.groupby(["checkpoint", "prompt_id"]).cumcount()
    )
    for name in ("category", "challenge"):
        if name in columns:
            frame[name] = columns[name]
    # The table's own rules (duplicates, types, one text an id), before anything is scored.
    checked = check_scores(frame.assign(scorer="unscored", score=0.0), source=str(path))
    return Manifest(path, images, checked[[name for name in SCORED if name in checked.columns]])


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    if not path.is_file():
        raise DataError(f"There is no manifest at {path}. Give a CSV file with the columns image,prompt.")
    if path.suffix.lower() in NOT_CSV:
        raise DataError(f"{path} is not a CSV. Give the manifest: a CSV file with the columns image,prompt.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        if not _header_fault(path):
            raise DataError(
                f"{path} is an image. Give the manifest: a CSV file with the columns image,prompt and a row for each "
                "image."
            ) from None
        if isinstance(error, UnicodeDecodeError):
            raise DataError(f"{path} is not UTF-8 (byte {error.start}). Save it again as UTF-8.") from error
        raise DataError(
            f"{path} is not a well-formed CSV: {error}. Put text with commas between double quotes."
        ) from error
    lines = [line for line in lines if line]
    if not lines:
        raise DataError(f"{path} is empty. A manifest begins with a header: image,prompt.")
    header, rows = lines[0], lines[1:]
    mark = next((mark for mark in ";\t|" if mark in header[0]), None)
    if mark and len(header) == 1:
        raise DataError(
            f"{path} has one column, {header[0]!r}: its values look separated by {mark!r} instead of a comma. Save it "
            "again with commas between the values."
        )
    if not rows:
        raise DataError(f"{path} has a header and no rows. A manifest needs a row for each image.")
    odd = [i for i, row in enumerate(rows) if len(row) != len(header)]
    _refuse(path, odd, f"the number of values is not {len(header)}, as in the header")
    return header, rows


def _check_header(header: list[str], path: Path) -> None:
    known = REQUIRED + OPTIONAL
    odd = [name for name in header if name not in known]
    missing = [name for name in REQUIRED if name not in header]
    if not odd and not missing and len(set(header)) == len(header):
        return
    hints = [
        f"Is {name!r} meant to be {near[0]!r}? "
        for name in odd
        if (near := difflib.get_close_matches(name.lower(), known, n=1))
    ]
    twice = sorted({name for name in header if header.count(name) > 1})
    problems = [f"lacks the column {', '.join(map(repr, missing))}"] if missing else []
    problems += [f"has columns that a manifest does not know: {', '.join(map(repr, odd))}"] if odd else []
    problems += [f"has {', '.join(map(repr, twice))} twice in its header"] if twice else []
    raise DataError(
        f"{path} {' and '.join(problems)}. {''.join(hints)}Needed: {', '.join(REQUIRED)}; optional: "
        f"{', '.join(OPTIONAL)}."
    )


def _refuse(path: Path, rows: list[int], what: str, values: Sequence[object] | None = None) -> None:
    if not rows:
        return
    listed = ", ".join(f"{i + 1}{f' ({values[i]})' if values else ''}" for i in rows[:SHOWN])
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    raise DataError(
        f"{path} row{'s' if len(rows) > 1 else ''} {listed}{more}: {what}. Mend or delete "
        f"{'these rows' if len(rows) > 1 else 'this row'}; nothing was scored."
    )


def _header_fault(path: Path) -> str:
    """Why a file's header is not that of an image to score; "" if it is."""
    try:
        with Image.open(path):
            return ""
    except Image.DecompressionBombError:
        return "more pixels than Pillow opens (its guard against decompression bombs); shrink it"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return "not an image"


def _prompt_ids(prompts: Sequence[str]) -> list[str]:
    place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    digits = max(4, len(str(len(place))))
    return [f"prompt-{place[prompt]:0{digits}d}" for prompt in prompts]
