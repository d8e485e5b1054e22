"""TIFA's ratings (Hu et al., arXiv 2303.11897): two Likert scores an image.

As Yushi-Hu/tifa@8e37050 human_annotations/human_annotations_with_scores.json has them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.judges.checks import refuse
from prefbench.bench.judges.tables import RATING

__all__ = ["is_tifa", "tifa_table"]

TIFA_KEYS = ("text_id", "image_path", "text", "human_scores")
LIKERT = (1, 5)
"""The least and the largest rating."""


def is_tifa(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a JSON file is one of TIFA's."""
    return all(key in entry for key in TIFA_KEYS)


def tifa_table(path: Path, entries: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """TIFA's entries as a table of ratings; an image with fewer scores than others has empty cells.

    Raises:
        DataError: an entry without a key, or whose human_scores are no list of numbers from 1 to 5.
    """
    problems = [
        f"entry {i} has no usable {key}"
        for i, entry in enumerate(entries, start=1)
        for key in TIFA_KEYS
        if key not in entry or (key == "human_scores" and not (isinstance(entry[key], list) and entry[key]))
    ]
    if not problems:
        problems = [
            f"entry {i} has {wrong[0]!r} in human_scores, not a number from 1 to 5"
            for i, entry in enumerate(entries, start=1)
            if (wrong := _wrong(entry["human_scores"]))
        ]
    refuse(path, problems, len(entries))
    rows = []
    for entry in entries:
        scores = {f"{RATING}{k}": score for k, score in enumerate(entry["human_scores"], start=1)}
        known = {
            "instance": entry["text_id"],
            "prompt": entry["text"],
            "image": entry["image_path"],
            **scores,
        }
        rest = {key: value for key, value in entry.items() if key not in (*TIFA_KEYS, "human_avg")}
        rows.append({**rest, **known})
    return pd.DataFrame(rows)


def _wrong(value: Sequence[Any]) -> list[Any]:
    """Those of TIFA's human_scores that are no number from 1 to 5."""
    least, largest = LIKERT
    return [
        score
        for score in value
        if isinstance(score, bool) or not isinstance(score, int | float) or not least <= score <= largest
    ]
