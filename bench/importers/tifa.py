"""TIFA's human ratings (Hu et al., arXiv 2303.11897) as judgements of pairs, and the scores beside them as a scores table.

Reads Yushi-Hu/tifa@8e37050 human_annotations/human_annotations_with_scores.json: two ratings from 1 to 5 for each image, and
caption metrics, CLIPScore and TIFA by five models. The file numbers the two ratings of an image and does not name the
raters: "rating 1" of different images need not be one person.

    python -m prefbench.bench.importers.tifa human_annotations_with_scores.json --out tifa_scores.parquet
    prefbench import-votes human_annotations_with_scores.json --format tifa --scores tifa_scores.parquet --out people
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.exceptions import DataError, PrefbenchError
from prefbench.bench.judges.checks import refuse
from prefbench.bench.judges.opening import json_entries
from prefbench.bench.judges.tables import RATING
from prefbench.bench.judges.tifa import is_tifa, tifa_table
from prefbench.bench.people.ratings import Rating, judgements_of
from prefbench.bench.people.votes_table import Judgements
from prefbench.bench.scores_table import check_complete, check_scores, write_scores

__all__ = ["main", "read_judgements", "read_scores"]

KNOWN = ("instance", "prompt", "image")
"""Columns of `tifa_table` besides the ratings; what is left are scores."""


def read_judgements(path: Path) -> Judgements:
    """The ratings, each image's k-th as those of "rating k".

    Raises:
        DataError: no such file, or one that is not as above; the entry is named.
    """
    table, models = _read(path)
    people = [name for name in table.columns if str(name).startswith(RATING)]
    ratings = [
        Rating(
            f"rating {name.removeprefix(RATING)}",
            str(row["instance"]),
            str(row["prompt"]),
            model,
            float(row[name]),
            f"entry {number}",
        )
        for number, (row, model) in enumerate(zip(table.to_dict("records"), models, strict=True), start=1)
        for name in people
        if pd.notna(row[name])
    ]
    return judgements_of(str(path), "TIFA's ratings", ratings)


def read_scores(path: Path) -> pd.DataFrame:
    """The scores beside the ratings: a checked scores table, `checkpoint` the model, `prompt_id` the text_id, seed 0.

    Raises:
        DataError: as `read_judgements`; or a score that is not a finite number, or is missing for an image.
    """
    table, models = _read(path)
    scorers = [name for name in table.columns if name not in KNOWN and not str(name).startswith(RATING)]
    rows = [
        {
            "checkpoint": model,
            "prompt_id": str(row["instance"]),
            "prompt": str(row["prompt"]),
            "seed": 0,
            "scorer": str(scorer),
            "score": row[scorer],
        }
        for row, model in zip(table.to_dict("records"), models, strict=True)
        for scorer in scorers
    ]
    frame = check_scores(pd.DataFrame(rows), source=str(path))
    check_complete(frame, source=str(path))
    return frame


def _read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The entries as a table, and the model of each."""
    if not path.is_file():
        raise DataError(f"There is no file {path}. Give TIFA's human_annotations_with_scores.json.")
    entries = json_entries(path)
    if not is_tifa(entries[0]):
        raise DataError(
            f"{path} is not TIFA's human_annotations_with_scores.json: its first entry has {', '.join(entries[0]) or 'no keys'}."
        )
    table = tifa_table(path, entries)
    models = [_model(entry) for entry in entries]
    problems = [
        f"entry {number} has the image {entry['image_path']!r}, which is not its text_id, _ and a model"
        for number, (entry, model) in enumerate(zip(entries, models, strict=True), start=1)
        if not model
    ]
    refuse(path, problems, len(entries))
    return table, models


def _model(entry: Mapping[str, Any]) -> str:
    """mini_dalle of coco_669925_mini_dalle.jpg, whose text_id is coco_669925; "" where it cannot be told."""
    name, prefix = Path(str(entry["image_path"])).stem, f"{entry['text_id']}_"
    return name.removeprefix(prefix) if name.startswith(prefix) else ""


def main(arguments: list[str] | None = None) -> int:
    """Write the scores of FILE to the table named by --out (.csv or .parquet); exit code 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m prefbench.bench.importers.tifa",
        description="Convert the scores beside TIFA's human ratings to a scores table.",
    )
    parser.add_argument("file", type=Path, help="human_annotations_with_scores.json")
    parser.add_argument("--out", type=Path, required=True, help="scores table to write: .csv or .parquet")
    given = parser.parse_args(arguments)
    try:
        frame = read_scores(given.file)
        write_scores(frame, given.out)
    except PrefbenchError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    counts = frame[["checkpoint", "prompt_id", "scorer"]].nunique()
    print(
        f"{given.out}: {len(frame):,} scores of {counts['checkpoint']} checkpoints, {counts['prompt_id']} prompts, by "
        f"{counts['scorer']} scorers ({', '.join(sorted(frame['scorer'].unique()))})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
