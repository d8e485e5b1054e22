"""What is refused in a table of human choices, named by row (row 1 is the first after the header)."""

import math
from collections.abc import Mapping, Sequence
from os.path import normpath
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.judges.wording import listed
from prefbench.bench.registry import unknown_name
from prefbench.bench.wording import count

__all__ = [
    "check_one_row_an_image",
    "check_score_columns",
    "image_texts",
    "one_kind",
    "ranks_below_one",
    "refuse",
    "score_contradictions",
]

Floats = npt.NDArray[np.float64]

SHOWN = 5
SAME_SCORE = 1e-5
"""Recorded scores of one image that differ by less, relative to the larger, are one score: computed in other batches."""


def refuse(path: Path, problems: Sequence[str], rows: int) -> None:
    """Raises DataError with the first of the problems, if there are any."""
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(
            f"{path}: {count(len(problems), 'problem')} in {count(rows, 'row')} (row 1 is the first after "
            f"the header): {'; '.join(problems[:SHOWN])}{more}. Mend or delete these rows; nothing was judged."
        )


def image_texts(table: pd.DataFrame, column: str) -> list[str]:
    """Names of images as they are written, "" where there is none or no such column."""
    if column not in table.columns:
        return [""] * len(table)
    return [normpath(name) if isinstance(name, str) and name.strip() else "" for name in table[column]]


def one_kind(path: Path, ranks: Sequence[str], ratings: Sequence[str]) -> None:
    """Raises DataError for a table with ranks and ratings: 1 is the best of the ones and the worst of the others."""
    if ranks and ratings:
        raise DataError(
            f"{path} has ranks ({', '.join(ranks)}) and ratings ({', '.join(ratings)}), and one command judges by one of "
            "them. Keep the columns of one kind."
        )


def ranks_below_one(values: Floats, columns: Sequence[str]) -> list[str]:
    """A sentence for each rank below 1; `values` is (rows, columns), NaN where there is none."""
    return [
        f"row {row + 1}: {columns[column]} is {values[row, column]:g}, and ranks begin with 1, the best"
        for row, column in np.argwhere(values < 1)
    ]


def check_one_row_an_image(
    path: Path, group: npt.NDArray[np.int64], names: Sequence[str], prompts: Sequence[str], kind: str
) -> None:
    """Refuse an image that would be compared with itself.

    Args:
        path: of the table.
        group: (rows,) equal for images that are compared.
        names: of the images, "" where there is none.
        prompts: one a row.
        kind: beginning of an annotator's column.

    Raises:
        DataError: an image on two rows of a group.
    """
    rows: dict[tuple[int, str], list[int]] = {}
    for row, (number, name) in enumerate(zip(group.tolist(), names, strict=True)):
        if name:
            rows.setdefault((number, name), []).append(row)
    repeated = [(name, found) for (_, name), found in rows.items() if len(found) > 1]
    if repeated:
        told = [
            f"rows {listed([str(row + 1) for row in found])} are the image {name} of the prompt {prompts[found[0]]!r}"
            for name, found in repeated[:SHOWN]
        ]
        more = f"; and {len(repeated) - SHOWN} more" if len(repeated) > SHOWN else ""
        raise DataError(
            f"{path}: an image would be compared with itself: {'; '.join(told)}{more}. A table of this kind has one row an "
            f"image, one column an annotator ({kind}anna, {kind}ben); an image that was judged again has another `instance`. "
            "Put the judgements of an image side by side; nothing was judged."
        )


def score_contradictions(
    prompts: Sequence[str], names: Sequence[str], recorded: Mapping[str, Floats], images_a_row: int
) -> list[str]:
    """A sentence for each image that has two scores under one prompt.

    Args:
        prompts: one an image that is shown, S.
        names: of the images, S, "" where there is none.
        recorded: score -> (S,).
        images_a_row: how many of them stand in one row.
    """
    problems = []
    for score, values in recorded.items():
        first: dict[tuple[str, str], int] = {}
        for place, (prompt, name) in enumerate(zip(prompts, names, strict=True)):
            known = first.setdefault((prompt, name), place) if name else place
            one, other = float(values[known]), float(values[place])
            if not math.isclose(one, other, rel_tol=SAME_SCORE) and not (
                math.isnan(one) or math.isnan(other)
            ):
                rows = listed(list(dict.fromkeys(str(at // images_a_row + 1) for at in (known, place))))
                problems.append(
                    f"row{'s' if ' ' in rows else ''} {rows}: {score} of the image {name} for the prompt {prompt!r} is {one:g} "
                    f"and {other:g}"
                )
    return problems


def check_score_columns(path: Path, scored: Sequence[str], columns: Sequence[str], pairs: bool) -> None:
    """Refuse a score that the table does not have, with the name that was meant.

    Args:
        path: of the table.
        scored: names of scores that are asked for.
        columns: those that may hold scores.
        pairs: whether a score NAME has two columns, NAME_0 and NAME_1.

    Raises:
        UsageError: no such score.
    """
    sides = ("_0", "_1") if pairs else ("",)
    stems = dict.fromkeys(c.removesuffix(side) for side in sides for c in columns if c.endswith(side))
    known = [stem for stem in stems if all(stem + side in columns for side in sides)]
    for name in scored:
        if name in known:
            continue
        plain, colon, ending = name.rpartition(":")
        if colon:
            raise UsageError(
                f"--score-column {name}: after a score's name only :lower (lower is better) can stand, not :{ending}. Write "
                f"{plain} or {plain}:lower."
            )
        absent = [name + side for side in sides if name + side not in columns]
        if pairs and len(absent) == 1:
            there = next(name + side for side in sides if name + side in columns)
            raise UsageError(
                f"--score-column {name}: {path} has {there} but no {absent[0]}; a score of pairs has a column for either image. "
                f"Add {absent[0]}."
            )
        raise unknown_name(f"score column of {path.name}", name, known)
