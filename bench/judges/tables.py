"""Human choices in a table, with scores that were recorded beside them: no image is needed to judge those.

    pairs     prompt, image_0, image_1, label_0 (1, 0.5 or 0)        score columns NAME_0 and NAME_1
    rankings  instance, prompt, image, rank_... (1 = best)           score column NAME
    ratings   prompt, rating_... (higher is better), image           score column NAME

One rank_ or rating_ column an annotator; an empty cell is no judgement. Images of one `instance` are compared, in ratings
those of one prompt where there is no such column.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from prefbench.bench.exceptions import DataError
from prefbench.bench.judges.checks import (
    check_one_row_an_image,
    check_score_columns,
    image_texts,
    one_kind,
    ranks_below_one,
    refuse,
    score_contradictions,
)
from prefbench.bench.judges.choices import HumanChoices, pairs_within
from prefbench.reference_trainers.preferences.image_files import ImageFiles
from prefbench.reference_trainers.preferences.manifest import checked_labels, checked_prompts

__all__ = ["IDENTICAL", "RATING", "UNJUDGED", "annotators", "judged_table", "look_for_image", "pair_table"]

Floats = npt.NDArray[np.float64]

SIDES = ("image_0", "image_1")
PAIR_COLUMNS = ("prompt", *SIDES, "label_0")
RANK, RATING = "rank_", "rating_"
IDENTICAL, UNJUDGED = "pairs of identical images", "pairs that no annotator judged both images of"
"""What is left out and counted."""


def annotators(table: pd.DataFrame) -> list[str]:
    """Columns of ranks, or else of ratings."""
    columns = [str(name) for name in table.columns]
    return [c for c in columns if c.startswith(RANK)] or [c for c in columns if c.startswith(RATING)]


def judged_table(
    path: Path, table: pd.DataFrame, *, form: str, folder: Path, scored: Sequence[str], images: bool
) -> HumanChoices:
    """A table of rankings or ratings: one row an image.

    Args:
        path: of the file, for messages.
        table: its content.
        form: what kind of data it is, for a person.
        folder: of the images.
        scored: score columns to read.
        images: whether the images will be looked at.

    Raises:
        DataError: a missing column; a prompt, number or image that cannot be used, or an image that stands twice among those
            it is compared with, named by row.
    """
    people = annotators(table)
    ranked = people[0].startswith(RANK)
    one_kind(
        path,
        people if ranked else [],
        [c for c in map(str, table.columns) if c.startswith(RATING)] if ranked else [],
    )
    needed = ["prompt", *(["instance"] if ranked else []), *(["image"] if images else [])]
    _need(path, table, needed)
    prompts, problems = checked_prompts(table["prompt"])
    values, found = _numbers(table, people, empty="allowed")
    problems += found
    problems += [
        f"row {i + 1}: no annotator judged it"
        for i in np.flatnonzero(np.isnan(values).all(axis=1))
        if not found
    ]
    problems += ranks_below_one(values, people) if ranked else []
    recorded = _recorded(path, table, {name: [name] for name in scored}, problems)
    group = _groups(table, prompts, problems)
    texts = image_texts(table, "image")
    if not problems:
        check_one_row_an_image(path, group, texts, prompts, RANK if ranked else RATING)
    problems += score_contradictions(prompts, texts, recorded, 1)
    files, numbers = _files(path, table, ["image"], folder, images, problems)
    refuse(path, problems, len(table))
    judgements = (-values if ranked else values).T
    pairs, nobody = pairs_within(group, judgements)
    shown = numbers[:, 0]
    same = files.identical(shown[pairs]) if files else np.zeros(len(pairs), dtype=bool)
    return HumanChoices(
        str(path),
        form,
        prompts,
        group,
        judgements,
        pairs[~same],
        "majority" if ranked else "mean",
        comparable=not ranked,
        names=_names(files, shown, texts),
        read=_reader(path, files, shown),
        recorded=recorded,
        left_out={IDENTICAL: int(same.sum()), UNJUDGED: nobody},
    )


def _groups(table: pd.DataFrame, prompts: Sequence[str], problems: list[str]) -> npt.NDArray[np.int64]:
    """(rows,) equal for images that are compared; an instance of several prompts is a problem."""
    key = table["instance" if "instance" in table.columns else "prompt"]
    group, labels = pd.factorize(key, use_na_sentinel=False)
    for number, texts in pd.Series(prompts).groupby(group):
        if texts.nunique() > 1:
            problems.append(f"instance {labels[int(str(number))]!r} has more than one prompt")
    return group.astype(np.int64)


def pair_table(
    path: Path, table: pd.DataFrame, *, folder: Path, scored: Sequence[str], images: bool
) -> HumanChoices:
    """A table of pairs: one row a pair; arguments and errors as in `judged_table`."""
    _need(path, table, ["prompt", "label_0", *(SIDES if images else [])])
    prompts, problems = checked_prompts(table["prompt"])
    labels, found = checked_labels(table["label_0"])
    problems += found
    recorded = _recorded(path, table, {name: [f"{name}_0", f"{name}_1"] for name in scored}, problems)
    files, numbers = _files(path, table, SIDES, folder, images, problems)
    sides = [image_texts(table, side) for side in SIDES]
    texts = [name for row in zip(*sides, strict=True) for name in row]
    shown = [prompt for prompt in prompts for _ in SIDES]
    problems += score_contradictions(shown, texts, recorded, 2)
    refuse(path, problems, len(table))
    rows = len(table)
    places = np.arange(2 * rows).reshape(rows, 2)
    if files:
        same = files.identical(numbers)
    else:
        same = np.array([bool(one) and one == other for one, other in zip(*sides, strict=True)], dtype=bool)
    flat = numbers.ravel()
    return HumanChoices(
        str(path),
        "pairs",
        shown,
        np.repeat(np.arange(rows), 2),
        np.stack([labels, 1 - labels], axis=1).reshape(1, -1),
        places[~same],
        "majority",
        comparable=False,
        names=_names(files, flat, texts),
        named=all(texts),
        read=_reader(path, files, flat, per_row=2),
        recorded=recorded,
        left_out={IDENTICAL: int(same.sum())},
    )


def look_for_image(path: Path, name: object, places: Sequence[Path]) -> None:
    """One sentence instead of a thousand where all images lie elsewhere, as in every published archive.

    Args:
        path: of the data.
        name: its first image.
        places: folders that it may be in.

    Raises:
        DataError: it is in none.
    """
    if isinstance(name, str) and name.strip() and not any((place / name).is_file() for place in places):
        raise DataError(
            f"{path}: its first image {name} is not in {' or '.join(map(str, places))}. Name the folder that image paths are "
            "relative to with --image-folder, or mend the path."
        )


def _numbers(table: pd.DataFrame, columns: Sequence[str], *, empty: str) -> tuple[Floats, list[str]]:
    """(rows, columns) float64, and a sentence for each cell that is no finite number; empty cells are NaN if allowed."""
    numbers = np.empty((len(table), len(columns)))
    problems = []
    for k, name in enumerate(columns):
        cells = table[name]
        numbers[:, k] = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        blank = cells.isna().to_numpy() | (cells.astype(str).str.strip() == "").to_numpy()
        fine = np.isfinite(numbers[:, k]) | (blank if empty == "allowed" else False)
        problems += [
            f"row {i + 1}: {name} is {_shown(cells.iloc[i])}, not a number" for i in np.flatnonzero(~fine)
        ]
    return numbers, problems


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) and value.strip() else str(value) or "empty"


def _recorded(
    path: Path, table: pd.DataFrame, wanted: Mapping[str, Sequence[str]], problems: list[str]
) -> dict[str, Floats]:
    """Score -> one number an image that is shown, in the order of rows and, within a row, of `wanted`'s columns."""
    pairs = any(len(columns) > 1 for columns in wanted.values())
    check_score_columns(path, list(wanted), _score_columns([str(c) for c in table.columns]), pairs)
    found = {}
    for name, columns in wanted.items():
        numbers, wrong = _numbers(table, columns, empty="refused")
        found[name] = numbers.ravel()
        problems += wrong
    return found


def _score_columns(columns: Sequence[str]) -> list[str]:
    other = (*PAIR_COLUMNS, "instance", "image")
    return [c for c in columns if c not in other and not c.startswith((RANK, RATING))]


def _files(
    path: Path, table: pd.DataFrame, columns: Sequence[str], folder: Path, wanted: bool, problems: list[str]
) -> tuple[ImageFiles | None, npt.NDArray[np.int64]]:
    """The image files and (rows, columns) numbers of them; None and the rows' own numbers where none is looked at."""
    if not wanted:
        return None, np.arange(len(table) * len(columns)).reshape(len(table), len(columns))
    look_for_image(path, table[columns[0]].iloc[0] if len(table) else "", [folder])
    files = ImageFiles(folder)
    named = [[files.add(name if isinstance(name, str) else "") for name in table[c]] for c in columns]
    numbers = np.array(named, dtype=np.int64).T
    for i, row in enumerate(numbers):
        problems += [f"row {i + 1}: {found}" for number in row if (found := files.problem(int(number)))]
    return files, numbers


def _names(files: ImageFiles | None, numbers: npt.NDArray[np.int64], texts: Sequence[str]) -> list[str]:
    """What identifies each shown image: its file, or else its name; where it has none it is like no other."""
    if files:
        return [files.name(int(number)) for number in numbers]
    return [text or f"image {place + 1} without a name" for place, text in enumerate(texts)]


def _reader(
    path: Path, files: ImageFiles | None, numbers: npt.NDArray[np.int64], per_row: int = 1
) -> Callable[[int], Image.Image] | None:
    if files is None:
        return None
    return lambda place: files.read(int(numbers[place]), f"{path} row {place // per_row + 1}")


def _need(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise DataError(
            f"{path} has no column {', '.join(absent)} (it has: {', '.join(map(str, table.columns))}). Add it."
        )
