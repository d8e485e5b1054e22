"""Scores tables whose outcome can be told by hand."""

import pandas as pd

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]


def table(votes, *, scorers=("one",), category=None, names=("base", "mine")):
    """A scores table; votes[scorer][prompt] is a list of 1, 0, -1 over seeds: the second checkpoint against the first.

    The first checkpoint scores 0 throughout, so the second one's mean score is its mean vote.

    Args:
        votes: as above.
        scorers: names.
        category: of each prompt; None for no such column.
        names: of the two checkpoints.
    """
    rows = []
    for scorer, of_scorer in zip(scorers, votes, strict=True):
        for p, of_prompt in enumerate(of_scorer):
            for seed, vote in enumerate(of_prompt):
                about = (f"p{p}", f"a cat, number {p}", seed, scorer)
                rows += [(names[0], *about, 0.0), (names[1], *about, float(vote))]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    if category is not None:
        frame["category"] = frame["prompt_id"].map({f"p{p}": name for p, name in enumerate(category)})
    return frame


def outcomes(wins=0, ties=0, losses=0):
    """One prompt for each, with one seed."""
    return [[1]] * wins + [[0]] * ties + [[-1]] * losses
