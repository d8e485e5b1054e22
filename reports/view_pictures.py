"""The picture section: every prompt with the scores of all checkpoints, and what the page needs to sort them.

The page itself does no arithmetic. For each pair of checkpoints it gets, per sample pair: each scorer's
vote, the majority vote, and the keys to sort by of view_sorting.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench.bench.wording import nothing_but_zeros
from prefbench.reports.thumbnails import QUALITY, THUMB_SIDE, TINY_SIDE, Thumbnail, picture_format, thumbnail
from prefbench.reports.view_facts import Facts
from prefbench.reports.view_headline import focus
from prefbench.reports.view_numbers import count, decimals_for, plain, scientific
from prefbench.reports.view_sorting import ScoreCube, SortKeys, most_telling, score_cube, sort_keys

__all__ = [
    "MAX_PICTURE_BYTES",
    "MAX_UNITS",
    "PictureSection",
    "pictures",
]

MAX_PICTURE_BYTES = 10_000_000  # base64 characters of all pictures together; keeps the file under about 15 MB
MAX_UNITS = 4_000  # prompt x seed listed in the page; beyond that browsers become slow

ImageKey = tuple[str, str, int]


@dataclass(frozen=True)
class PictureSection:
    """What the section says and the data that the page's script reads."""

    title: str
    notes: tuple[str, ...]
    has_held_out: bool
    data: Mapping[str, Any]


def _embed(
    order: list[int], cube: ScoreCube, facts: Facts, images: Mapping[ImageKey, Path], budget: int
) -> dict[int, list[Thumbnail | None]]:
    """Thumbnails of the first units of `order` that fit into the budget, whole units only."""
    format_ = picture_format()
    embedded: dict[int, list[Thumbnail | None]] = {}
    used = 0
    for unit in order:
        prompt_id, _, seed, _ = cube.units[unit]
        paths = [images.get((name, prompt_id, seed)) for name in facts.checkpoints]
        if not any(paths):
            continue
        row = [None if path is None else thumbnail(path, format_) for path in paths]
        used += sum(len(picture.uri) for picture in row if picture)
        if used > budget:
            break
        embedded[unit] = row
    return embedded


def _ordered_pairs(facts: Facts) -> list[tuple[int, int]]:
    """(later, earlier) of all pairs: the opening pair, those with the baseline, the rest."""
    opening = facts.checkpoints.index(focus(facts))
    pairs = [(j, i) for i, j in combinations(range(len(facts.checkpoints)), 2)]
    return sorted(pairs, key=lambda pair: (pair != (opening, 0), pair[1] != 0))


def _notes(
    cube: ScoreCube, kept: list[int], embedded: dict[int, list[Thumbnail | None]], asked: bool, seeds: int
) -> tuple[str, ...]:
    what = "prompt" if seeds == 1 else "prompt and seed"
    whats = "prompts" if seeds == 1 else "pairs of prompt and seed"
    total = len(cube.units)
    notes = []
    if len(kept) < total:
        notes.append(
            f"{len(kept):,} of {count(total, what, whats)} are listed: the worst losses, clearest wins and "
            "deepest disagreements of every two checkpoints. The others are in the scores table only."
        )
    if not asked:
        notes.append("This report was made from a table of scores: there are no pictures to show.")
        return tuple(notes)
    flat = [picture for row in embedded.values() for picture in row if picture]
    if len(embedded) < len(kept):
        notes.append(
            f"Pictures of {len(embedded):,} of {count(total, what, whats)} are embedded, chosen as the "
            "worst losses, clearest wins and deepest disagreements of every two checkpoints, to keep this "
            "file small."
        )
    originals = sum(picture.original for picture in flat)
    if flat and originals == len(flat):
        notes.append(f"Pictures are embedded as generated (up to {TINY_SIDE} pixels), pixel for pixel.")
    elif flat:
        notes.append(
            f"Pictures are thumbnails: {picture_format().replace('WEBP', 'WebP')}, longest side at most "
            f"{THUMB_SIDE} pixels, quality {QUALITY}. The scorers saw the originals."
        )
    return tuple(notes)


def _texts(cube: ScoreCube, kept: list[int]) -> list[list[list[str]]]:
    """Scores as shown, (checkpoint, scorer, unit); decimals by each scorer's spread."""
    spreads = cube.shown.std(axis=(0, 2))
    digits = [decimals_for(float(spread)) for spread in spreads]
    tiny = [nothing_but_zeros(cube.shown[:, k].ravel().tolist(), places) for k, places in enumerate(digits)]
    return [
        [
            [scientific(value) if tiny[k] else plain(value, digits[k]) for value in row[kept].tolist()]
            for k, row in enumerate(checkpoint)
        ]
        for checkpoint in cube.shown
    ]


def _milli(values: np.ndarray) -> list[int]:
    """Thousandths as integers: enough to sort by, and short in the file."""
    return [round(1000 * float(value)) for value in values]


def _sign_text(values: np.ndarray) -> str:
    return "".join("-0+"[int(value) + 1] for value in values)


def _vote_text(key: SortKeys, kept: list[int]) -> str:
    """The majority as `_sign_text`; "x" where the tie rule leaves a unit out."""
    signs = _sign_text(key.majority[kept])
    return "".join(sign if counts else "x" for sign, counts in zip(signs, key.counted[kept], strict=True))


def _pair_data(facts: Facts, later: int, earlier: int, key: SortKeys, kept: list[int]) -> dict[str, Any]:
    position = {judge.name: k for k, judge in enumerate(facts.judges)}
    return {
        "votes": [_sign_text(row[kept]) for row in key.votes],
        "vote": _vote_text(key, kept),
        "barred": [
            position[name] for name in facts.barred(facts.checkpoints[later], facts.checkpoints[earlier])
        ],
        "margin": _milli(key.margin[kept]),
        "doubt": _milli(key.doubt[kept]),
        "against": _milli(key.against[kept]),
    }


def pictures(
    facts: Facts,
    scores: pd.DataFrame,
    images: Mapping[ImageKey, Path] | None,
    *,
    max_units: int = MAX_UNITS,
    max_picture_bytes: int = MAX_PICTURE_BYTES,
) -> PictureSection:
    """The section and its data, for at most `max_units` units and about `max_picture_bytes` of pictures.

    Raises:
        DataError: the scores table has a hole, or a picture cannot be read.
    """
    cube = score_cube(facts, scores)
    pairs = _ordered_pairs(facts)
    keys = {pair: sort_keys(cube, *pair, facts) for pair in pairs}
    order = most_telling(list(keys.values()), len(cube.units))[:max_units]
    embedded = _embed(order, cube, facts, images, max_picture_bytes) if images else {}
    kept = sorted(order)
    seeds = len({unit[2] for unit in cube.units})
    flat = [picture for row in embedded.values() for picture in row if picture]
    data = {
        "checkpoints": list(facts.checkpoints),
        "left": 0,
        "right": facts.checkpoints.index(focus(facts)),
        "scorers": [{"name": j.name, "votes": j.votes, "blind": j.prompt_blind} for j in facts.judges],
        "pictures": bool(embedded),
        "pixelated": bool(flat) and all(picture.original for picture in flat),
        "units": [
            {
                "id": cube.units[u][0],
                "prompt": cube.units[u][1],
                "seed": str(cube.units[u][2]) if seeds > 1 else None,
                "category": cube.units[u][3],
            }
            for u in kept
        ],
        "scores": _texts(cube, kept),
        "pairs": {
            f"{later},{earlier}": _pair_data(facts, later, earlier, key, kept)
            for (later, earlier), key in keys.items()
        },
        "images": [
            [picture.uri if picture else None for picture in embedded[u]] if u in embedded else None
            for u in kept
        ],
    }
    return PictureSection(
        title="Pictures" if images else "Prompts",
        notes=_notes(cube, kept, embedded, bool(images), seeds),
        has_held_out=bool(facts.held_out),
        data=data,
    )
