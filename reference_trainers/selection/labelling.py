"""Labels of the pairs as a composition asks for them."""

from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.selection.composition import Composition
from prefbench.reference_trainers.selection.image_scores import ImageScores
from prefbench.reference_trainers.selection.labels import LabelOutcome, aggregate, higher_wins, majority_vote
from prefbench.reference_trainers.selection.scores_table import read_pair_table

__all__ = ["label_pairs"]


def label_pairs(
    pairs: LabelledPairs, cfg: Composition, scores: dict[str, ImageScores], *, data_sha256: str
) -> LabelOutcome | None:
    """The labels that `cfg.labels` gives N pairs, or None where the human labels stand.

    Args:
        pairs: human labels in force.
        cfg: which rule.
        scores: of every scorer in `cfg.label_scorers`.
        data_sha256: of `pairs`.

    Raises:
        DataError: a tie without a rule; a scorer that cannot be normalised; a table that does not fit.
    """
    if cfg.labels == "human":
        return None
    if cfg.labels.startswith("file:"):
        return _from_file(Path(cfg.labels.partition(":")[2]).expanduser(), pairs, data_sha256)
    voters = np.stack([scores[name].oriented for name in cfg.label_scorers])
    human = pairs.winner_side
    if cfg.labels.startswith("scorer:"):
        return higher_wins(voters[0], human)
    if cfg.labels == "majority":
        return majority_vote(voters, human, cfg.tie_rule)
    return aggregate(cfg.labels, voters, human, seed=cfg.label_seed)  # type: ignore[arg-type]


def _from_file(path: Path, pairs: LabelledPairs, data_sha256: str) -> LabelOutcome:
    """Column `winner`: 0 or 1, the preferred image; empty, or no such row, for a pair without a label."""
    table = read_pair_table(path, pairs, ["winner"], data_sha256=data_sha256, what="labels", complete=False)
    winner = pd.to_numeric(table["winner"].replace("", None), errors="coerce").to_numpy(
        np.float64, na_value=np.nan
    )
    stated = table["winner"].notna() & (table["winner"].astype(str) != "")
    bad = stated.to_numpy() & ~np.isin(winner, (0, 1))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"labels {path}, row {int(pairs.rows[at]) + 1}: winner is {table['winner'].iloc[at]}, not 0 or 1. Leave it "
            "empty where there is no label."
        )
    kept = ~np.isnan(winner)
    verdict = np.where(kept, np.where(winner == 0, 1.0, -1.0), 0.0)
    return LabelOutcome(np.where(kept, winner, pairs.winner_side).astype(np.int64), kept, verdict, ~kept)
