"""Votes and sort keys of every pair of samples, from the scores table.

- margin: mean over the voters of the score difference divided by that scorer's standard deviation over all
samples.
- doubt: the smaller of what speaks for and what speaks against, both as sums of such standardised
differences; 0 where
  no voter contradicts another.
- against: how far the held-out scorers contradict the vote, as minus the vote times their mean standardised
difference.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefbench.bench.exceptions import DataError
from prefbench.reports.view_facts import Facts
from prefbench.reports.view_numbers import count

__all__ = ["ScoreCube", "SortKeys", "most_telling", "score_cube", "sort_keys"]


@dataclass(frozen=True)
class ScoreCube:
    """The scores table as an array.

    Attributes:
        units: (prompt_id, prompt, seed, category) of each row of the cube, in order of first appearance; U
        of them. scores: (checkpoints, scorers, U), float64, higher is better for every scorer.
        shown: the same with the scorers' own signs.
    """

    units: tuple[tuple[str, str, int, str], ...]
    scores: np.ndarray
    shown: np.ndarray


def score_cube(facts: Facts, scores: pd.DataFrame) -> ScoreCube:
    """Scores by checkpoint, scorer and unit.

    Raises:
        DataError: a sample without a score, or a checkpoint or scorer that the table lacks.
    """
    names = [judge.name for judge in facts.judges]
    table = scores[scores["checkpoint"].isin(facts.checkpoints) & scores["scorer"].isin(names)]
    keys = pd.MultiIndex.from_arrays([table["prompt_id"].astype(str), table["seed"].astype(int)])
    codes, uniques = pd.factorize(keys)
    cube = np.full((len(facts.checkpoints), len(names), len(uniques)), np.nan)
    rows = pd.Categorical(table["checkpoint"], facts.checkpoints).codes
    columns = pd.Categorical(table["scorer"], names).codes
    cube[rows, columns, codes] = table["score"].to_numpy(dtype=float)
    holes = np.argwhere(np.isnan(cube))
    if len(holes):
        checkpoint, scorer, unit = holes[0]
        prompt_id, seed = uniques[unit]
        raise DataError(
            f"The scores table has no score for checkpoint {facts.checkpoints[checkpoint]!r}, prompt_id "
            f"{prompt_id!r}, seed {seed}, scorer {names[scorer]!r} ({count(len(holes), 'hole')}). Complete "
            "the table."
        )
    first = np.unique(codes, return_index=True)[1]
    prompts = table["prompt"].astype(str).to_numpy()[first]
    has_category = "category" in table.columns
    categories = (
        table["category"].fillna("").astype(str).to_numpy()[first] if has_category else [""] * len(first)
    )
    units = tuple(
        (str(key[0]), str(prompt), int(key[1]), str(category))
        for key, prompt, category in zip(uniques, prompts, categories, strict=True)
    )
    signs = np.array([-1.0 if judge.lower_is_better else 1.0 for judge in facts.judges])
    return ScoreCube(units, cube * signs[None, :, None], cube)


@dataclass(frozen=True)
class SortKeys:
    """Of one pair of checkpoints, later over earlier; arrays over units, `votes` (scorers, U) of -1, 0, 1."""

    votes: np.ndarray
    majority: np.ndarray
    margin: np.ndarray
    doubt: np.ndarray
    against: np.ndarray


def sort_keys(cube: ScoreCube, later: int, earlier: int, voters: int) -> SortKeys:
    """Votes and sort keys of one pair of checkpoints; the first `voters` scorers of the cube vote."""
    difference = cube.scores[later] - cube.scores[earlier]
    spread = cube.scores.std(axis=(0, 2))[:, None]
    standard = np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    votes = np.sign(difference).astype(int)
    majority = np.sign(votes[:voters].sum(axis=0))
    held = standard[voters:].mean(axis=0) if len(standard) > voters else np.zeros(difference.shape[1])
    return SortKeys(
        votes=votes,
        majority=majority,
        margin=standard[:voters].mean(axis=0),
        doubt=np.minimum(
            standard[:voters].clip(min=0).sum(axis=0), (-standard[:voters]).clip(min=0).sum(axis=0)
        ),
        against=-majority * held,
    )


def most_telling(keys: list[SortKeys], units: int) -> list[int]:
    """All units, most telling first.

    Taken in turn: the worst loss, the clearest win, the deepest doubt and the strongest contradiction by a
    held-out scorer, of each pair of checkpoints in turn.
    """
    queues = [
        iter(np.argsort(order, kind="stable").tolist())
        for key in keys
        for order in (key.margin, -key.margin, -key.doubt, -key.against)
    ]
    seen: dict[int, None] = {}
    while len(seen) < units:
        for queue in queues:
            unit = next((candidate for candidate in queue if candidate not in seen), None)
            if unit is not None:
                seen[unit] = None
    return list(seen)
