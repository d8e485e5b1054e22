"""Votes and sort keys of every pair of samples, from the scores table.

Voters are those of the pair of checkpoints: a scorer that one of the two was trained against is none. Ties are what the
results say that they are.

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
from prefbench.bench.tally.votes import decide
from prefbench.bench.tally.votes import votes as cast_votes
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
    counted: np.ndarray
    """False where the tie rule leaves the unit out of the vote."""
    margin: np.ndarray
    doubt: np.ndarray
    against: np.ndarray


def sort_keys(cube: ScoreCube, later: int, earlier: int, facts: Facts) -> SortKeys:
    """Votes and sort keys of one pair of checkpoints, given by their places."""
    voting = facts.voting(facts.checkpoints[later], facts.checkpoints[earlier])
    voters = [k for k, judge in enumerate(facts.judges) if judge.name in voting]
    difference = cube.scores[later] - cube.scores[earlier]
    spread = cube.scores.std(axis=(0, 2))[:, None]
    standard = np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    limits = np.array([[facts.tie_tolerance.get(judge.name, 0.0)] for judge in facts.judges])
    votes = cast_votes(cube.scores[later], cube.scores[earlier], tolerance=limits)
    outcome = decide(votes[voters], tie_rule=facts.tie_rule)
    majority = outcome.signs.astype(int)
    held_out = standard[len(facts.voters) :]
    held = held_out.mean(axis=0) if len(held_out) else np.zeros(difference.shape[1])
    return SortKeys(
        votes=votes,
        majority=majority,
        counted=outcome.counted,
        margin=standard[voters].mean(axis=0),
        doubt=np.minimum(
            standard[voters].clip(min=0).sum(axis=0), (-standard[voters]).clip(min=0).sum(axis=0)
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
