"""Ratings of single images as judgements of pairs: of one rater's two ratings for a prompt the higher wins, equal ones tie."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from prefbench.bench.exceptions import DataError
from prefbench.bench.judges.checks import refuse
from prefbench.bench.people.votes_table import Judgements, check_judgements

__all__ = ["Rating", "judgements_of"]


class Rating(NamedTuple):
    """What one annotator says of one image."""

    annotator: str
    prompt_id: str
    prompt: str
    """"" where the data does not have it."""
    checkpoint: str
    value: float
    """Higher is better; compared within an annotator and a prompt only."""
    where: str
    """Where in the data it stands."""


def judgements_of(source: str, form: str, ratings: Sequence[Rating]) -> Judgements:
    """Every two images of a prompt that one annotator rated.

    Args:
        source: how the user named the data.
        form: what kind of data it is, for a person.
        ratings: one an annotator and image; one image a checkpoint and prompt.

    Raises:
        DataError: an image that an annotator rates twice, a prompt id with two texts, or no two images to compare.
    """
    rated: dict[tuple[str, str], dict[str, Rating]] = {}
    again = []
    for rating in ratings:
        known = rated.setdefault((rating.prompt_id, rating.annotator), {}).setdefault(
            rating.checkpoint, rating
        )
        if known is not rating:
            again.append(f"{rating.where}: {rating.annotator} rates the image again after {known.where}")
    refuse(Path(source), again, len(ratings))
    rows = [
        (
            one.prompt_id,
            one.prompt,
            0,
            one.checkpoint,
            other.checkpoint,
            one.annotator,
            "tie" if one.value == other.value else "a" if one.value > other.value else "b",
            f"{one.where} and {other.where}",
        )
        for group in rated.values()
        for one, other in combinations(group.values(), 2)
    ]
    if not rows:
        raise DataError(f"{source}: nobody rated two images of one prompt, so there is no pair to judge.")
    columns = ["prompt_id", "prompt", "seed", "checkpoint_a", "checkpoint_b", "annotator", "choice", "where"]
    judgements = Judgements(source, form, pd.DataFrame(rows, columns=columns), seeded=False, ordered=False)
    check_judgements(judgements)
    return judgements
