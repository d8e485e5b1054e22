"""People beside the scorers: their votes as one more column of a scores table, and the scorers held against them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench.bench.judges.scoring import JudgedScores
from prefbench.bench.people.shown_pairs import ShownPairs

__all__ = ["judged_scorers", "people_table"]


def judged_scorers(pairs: ShownPairs, scores: pd.DataFrame, source: Path) -> list[JudgedScores]:
    """Every scorer's scores of the images that people judged, in the order of `pairs.choices`.

    Args:
        pairs: the judgements, matched to the scores.
        scores: a checked scores table, higher is better.
        source: of the scores, for a person.

    Returns:
        NaN where a scorer has no score of an image.
    """
    about = pairs.about
    places = [
        (checkpoint, prompt_id, seed)
        for prompt_id, seed, a, b in zip(
            about["prompt_id"], about["seed"], about["a"], about["b"], strict=True
        )
        for checkpoint in (a, b)
    ]
    index = pd.MultiIndex.from_tuples(places, names=["checkpoint", "prompt_id", "seed"])
    found = []
    for scorer in dict.fromkeys(scores["scorer"]):
        of_it = scores[scores["scorer"] == scorer].set_index(["checkpoint", "prompt_id", "seed"])["score"]
        info = {"name": scorer, "recorded_in": str(source), "direction": "higher"}
        found.append(JudgedScores(scorer, of_it.reindex(index).to_numpy(dtype=np.float64), info))
    return found


def people_table(pairs: ShownPairs, scores: pd.DataFrame, name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The scores of two checkpoints on the samples that people judged, with the people as one more scorer.

    The people's score of a checkpoint is the share of the annotators of a pair who preferred it, ties half. Both shares
    have one denominator, so that the larger one is the majority's, and equal ones a tie: the people's vote in
    `prefbench compare` is the human majority.

    Args:
        pairs: of one comparison, matched to the scores.
        scores: a checked scores table.
        name: of the people among the scorers.

    Returns:
        The table; {"a", "b", "scorer", "samples": judged, "not_judged": samples of both checkpoints that nobody judged}.
    """
    ((a, b),) = pairs.comparisons
    columns = ["prompt_id", "seed"]
    of_both = scores[scores["checkpoint"].isin((a, b))]
    judged = pd.MultiIndex.from_frame(pairs.about[columns])
    kept = of_both[pd.MultiIndex.from_frame(of_both[columns]).isin(judged)]
    each = {c: pd.MultiIndex.from_frame(of_both.loc[of_both["checkpoint"] == c, columns]) for c in (a, b)}
    samples = each[a].intersection(each[b])
    wins, losses = ((pairs.answers == side).sum(axis=0) for side in (1, -1))
    ties = (pairs.answers == 0).sum(axis=0)
    known = kept.drop(columns=["checkpoint", "scorer", "score"]).drop_duplicates(columns)
    people = [
        pairs.about[columns]
        .merge(known, on=columns, how="left", validate="1:1")
        .assign(
            checkpoint=checkpoint, scorer=name, score=(2 * preferred + ties) / (2 * (wins + losses + ties))
        )
        for checkpoint, preferred in ((a, wins), (b, losses))
    ]
    table = pd.concat([kept, *people], ignore_index=True)[list(scores.columns)]
    about = {"a": a, "b": b, "scorer": name, "samples": len(judged), "not_judged": len(samples) - len(judged)}
    return table, about
