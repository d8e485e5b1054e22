"""Some of the pairs, with the labels they are to have."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from prefbench.bench.exceptions import DataError
from prefbench.bench.wording import count
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs

__all__ = ["refuse_ties", "subset"]


def subset(
    pairs: LabelledPairs,
    kept: np.ndarray,
    *,
    winner_side: np.ndarray | None = None,
    side_scores: Mapping[str, np.ndarray] | None = None,
) -> LabelledPairs:
    """The pairs at the indices `kept`, in that order; images stay where they are.

    Args:
        pairs: N pairs.
        kept: (K,) indices, or (N,) bool.
        winner_side: (N,) labels that replace those of `pairs`; None to keep them.
        side_scores: scorer -> (N, 2) that replace those of `pairs`; None to keep them.
    """
    index = np.flatnonzero(kept) if kept.dtype == bool else kept
    sides = pairs.winner_side if winner_side is None else winner_side
    scores = pairs.side_scores if side_scores is None else side_scores
    return replace(
        pairs,
        prompts=[pairs.prompts[int(i)] for i in index],
        winner_side=sides[index],
        rows=pairs.rows[index],
        flipped=pairs.flipped[index],
        side_scores={name: values[index] for name, values in scores.items()},
        ties=None if pairs.ties is None else pairs.ties[index],
    )


def refuse_ties(pairs: LabelledPairs, what: str) -> None:
    """Raise DataError where pairs without a winner were kept and `what` orders winner and loser."""
    ties = int(pairs.tied.sum())
    if ties:
        raise DataError(
            f"{pairs.source}: {count(ties, 'tie')} among the pairs (ties=keep), and {what} needs a winner and a loser. "
            "Set ties=drop."
        )
