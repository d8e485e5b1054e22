"""From what the user writes after `prefbench judges` to human choices."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.judges.choices import HumanChoices, pairs_within
from prefbench.bench.judges.tables import (
    IDENTICAL,
    UNJUDGED,
    annotators,
    judged_table,
    look_for_image,
    pair_table,
)
from prefbench.bench.judges.tifa import is_tifa, tifa_table
from prefbench.bench.wording import count
from prefbench.reference_trainers.preferences.hpdv2 import is_hpdv2, load_hpdv2
from prefbench.reference_trainers.preferences.imagereward import is_imagereward, load_imagereward
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.preferences.manifest import read_table
from prefbench.reference_trainers.preferences.opening import (
    DataConfig,
    existing,
    is_miniature,
    open_preferences,
)
from prefbench.reference_trainers.preferences.pickapic import is_pickapic
from prefbench.reference_trainers.preferences.rankings import Rankings

__all__ = ["FORMATS", "json_entries", "open_choices"]

RANKINGS = "rankings.csv"
"""In a folder given as data: the table of rankings."""

MOST_SIMULATED = 50_000
"""Pairs of the miniature world, about 2 ms and 60 kB each."""

IMAGE_KEYS = ("generations", "file_path", "image_path")
"""Where ImageReward, HPD v2 and TIFA name their images."""

FORMATS = (
    "Pick-a-Pic Parquet (a file, or a folder of shards: caption, jpg_0, jpg_1, label_0)",
    "ImageReward's test.json (prompt, generations, ranking)",
    "HPD v2's test.json (prompt, image_path, rank)",
    "TIFA's human_annotations_with_scores.json (text_id, text, image_path, human_scores)",
    "a table (.csv, .jsonl, .parquet) of pairs (prompt, image_0, image_1, label_0), of rankings (instance, prompt, image, "
    "rank_...; also as rankings.csv in a folder) or of ratings (prompt, rating_...)",
    "'miniature' (simulated people)",
)


def open_choices(
    spec: str,
    *,
    scored: Sequence[str] = (),
    images: bool = True,
    image_folder: Path | None = None,
    option: str = "DATA",
) -> HumanChoices:
    """Human choices, with the recorded scores that are asked for.

    Args:
        spec: one of `FORMATS`.
        scored: names of recorded scores: columns NAME, in a table of pairs NAME_0 and NAME_1.
        images: whether the images will be looked at. Without them, tables and TIFA's ratings need none.
        image_folder: what image paths are relative to; None for the data's own folder.
        option: what the user gave `spec` as, for messages.

    Raises:
        UsageError: no such name, too many simulated pairs, a folder that is not there, a score column that the data does
            not have.
        DataError: no such file, an unknown format, or rows that cannot be used, each named.
    """
    if image_folder is not None and not image_folder.is_dir():
        raise UsageError(f"--image-folder {image_folder}: there is no such folder. Check the path.")
    choices = _open(spec, scored, images, image_folder, option)
    if not len(choices.pairs):
        left_out = [
            count(number, what.replace("pairs", "pair", 1), what)
            for what, number in choices.left_out.items()
            if number
        ]
        raise DataError(
            f"{choices.source} has no two images of one prompt that people compared, so there is no pair to judge."
            + (f" Left out: {', '.join(left_out)}." if left_out else "")
        )
    return choices


def _open(
    spec: str, scored: Sequence[str], images: bool, image_folder: Path | None, option: str
) -> HumanChoices:
    if is_miniature(spec):
        _no_recorded(spec, scored)
        _check_size(spec)
        return _from_pairs(open_preferences(spec, DataConfig(ties="keep")), "simulated pairs")
    path = existing(spec, option)
    if path.is_dir():
        if not (path / RANKINGS).is_file():
            return _pickapic(path, scored)
        path = path / RANKINGS
    folder = image_folder or path.parent
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _json(path, scored, images, image_folder)
    if suffix == ".parquet" and is_pickapic(path):
        return _pickapic(path, scored)
    if suffix not in (".csv", ".jsonl", ".parquet"):
        raise _unknown(path, f"the ending {suffix or '(none)'} is of none of them")
    table = read_table(path)
    if people := annotators(table):
        form = "rankings" if people[0].startswith("rank") else "ratings"
        return judged_table(path, table, form=form, folder=folder, scored=scored, images=images)
    if "label_0" in table.columns:
        return pair_table(path, table, folder=folder, scored=scored, images=images)
    has = ", ".join(map(str, table.columns)) or "none"
    raise _unknown(path, f"its columns are {has}: no label_0, rank_... or rating_...")


def _unknown(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is no data with human choices that is known here; {why}. Known: {'; '.join(FORMATS)}."
    )


def _no_recorded(source: str, scored: Sequence[str]) -> None:
    if scored:
        raise UsageError(
            f"--score-column {scored[0]}: {source} carries no recorded scores. Score its images with --scorer, or give a table "
            "with a column for each score."
        )


def _json(path: Path, scored: Sequence[str], images: bool, folder: Path | None) -> HumanChoices:
    entries = json_entries(path)
    if images:
        names = next((entries[0][key] for key in IMAGE_KEYS if key in entries[0]), None)
        first = names[0] if isinstance(names, list) and names else names
        look_for_image(path, first, [folder] if folder else [path.parent, path.parent / path.stem])
    if is_tifa(entries[0]):
        table = tifa_table(path, entries)
        return judged_table(
            path, table, form="TIFA's ratings", folder=folder or path.parent, scored=scored, images=images
        )
    if is_imagereward(entries[0]):
        _no_recorded(str(path), scored)
        return _from_rankings(load_imagereward(path, entries, folder), "ImageReward's rankings")
    if is_hpdv2(entries[0]):
        _no_recorded(str(path), scored)
        return _from_rankings(load_hpdv2(path, entries, folder), "HPD v2's rankings")
    raise _unknown(path, f"its first entry has {', '.join(entries[0]) or 'no keys'}")


def json_entries(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON file: of a list, or the values of an object; DataError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON in UTF-8 ({error}). Fetch it again.") from None
    entries = list(content.values()) if isinstance(content, dict) else content
    if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
        raise _unknown(path, "it is no JSON list of objects")
    return entries


def _pickapic(path: Path, scored: Sequence[str]) -> HumanChoices:
    pairs = open_preferences(str(path), DataConfig(ties="keep"))  # first: a folder may hold something else
    _no_recorded(str(path), scored)
    return _from_pairs(pairs, "Pick-a-Pic pairs")


def _check_size(spec: str) -> None:
    """Refuse more simulated pairs than anybody waits for; all are painted when they are opened."""
    if found := re.fullmatch(r"miniature:([0-9]+)(?:x([0-9]+))?", spec):
        rows, each = int(found[1]), int(found[2] or 2)
        pairs = rows * each * (each - 1) // 2
        if pairs > MOST_SIMULATED:
            raise UsageError(
                f"{spec} is {pairs:,} simulated pairs, and their images are painted one by one: at most {MOST_SIMULATED:,} can "
                "be judged. Give fewer, such as miniature:300."
            )


def _from_pairs(pairs: LabelledPairs, form: str) -> HumanChoices:
    """Two places a pair, image 0 first; kept ties have equal values."""
    n = len(pairs)
    first = np.where(pairs.tied, 0.5, pairs.winner_side == 0)
    rows = pairs.rows.tolist()
    return HumanChoices(
        pairs.source,
        form,
        [prompt for prompt in pairs.prompts for _ in (0, 1)],
        np.repeat(np.arange(n), 2),
        np.stack([first, 1 - first], axis=1).reshape(1, -1).astype(np.float64),
        np.arange(2 * n).reshape(n, 2),
        "majority",
        comparable=False,
        names=[pairs.image_names(row, side) for row in rows for side in (0, 1)],
        read=lambda place: pairs.image(rows[place // 2], place % 2),
        left_out={IDENTICAL: pairs.counts.identical_dropped},
    )


def _from_rankings(rankings: Rankings, form: str) -> HumanChoices:
    """One place an image of each ranking; ranks are turned so that higher is better."""
    lengths = [len(item.images) for item in rankings.items]
    group = np.repeat(np.arange(len(rankings)), lengths)
    numbers = np.concatenate([np.array(item.images) for item in rankings.items])
    most = max(len(item.ranks) for item in rankings.items)
    values = np.full((most, len(group)), np.nan)
    for start, item in zip(np.cumsum([0, *lengths]), rankings.items, strict=False):
        values[: len(item.ranks), start : start + len(item.images)] = -item.ranks
    pairs, nobody = pairs_within(group, values)
    same = rankings.files.identical(numbers[pairs])
    return HumanChoices(
        rankings.source,
        form,
        [item.prompt for item in rankings.items for _ in item.images],
        group,
        values,
        pairs[~same],
        "majority",
        comparable=False,
        names=[rankings.files.name(int(number)) for number in numbers],
        read=lambda place: rankings.files.read(
            int(numbers[place]), f"{rankings.source} entry {int(group[place]) + 1}"
        ),
        left_out={IDENTICAL: int(same.sum()), UNJUDGED: nobody},
    )
