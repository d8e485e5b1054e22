"""Samples without a score: counted, and left out of a comparison for all checkpoints alike where the user asks for it."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.exceptions import DataError

__all__ = ["Incomplete", "drop_incomplete"]

Incomplete = Literal["refuse", "drop"]
"""What is done with samples that lack a score."""


def drop_incomplete(
    frame: pd.DataFrame, *, source: str = "the scores table"
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """The rows of those (prompt, seed) that have a score of every checkpoint by every scorer.

    Args:
        frame: a checked scores table.
        source: how errors name it.

    Returns:
        The rows, and what was left out: {"samples", "of", "missing": checkpoint -> scorer -> number of missing scores};
        None if nothing was.

    Raises:
        DataError: no sample is complete.
    """
    codes = {name: pd.factorize(frame[name], sort=True) for name in ("checkpoint", "scorer")}
    sample, samples = pd.factorize(pd.MultiIndex.from_frame(frame[["prompt_id", "seed"]]))
    (checkpoint, checkpoints), (scorer, scorers) = codes["checkpoint"], codes["scorer"]
    present = np.zeros((len(samples), len(checkpoints), len(scorers)), dtype=bool)
    present[sample, checkpoint, scorer] = True
    whole: npt.NDArray[np.bool_] = np.asarray(present.all(axis=(1, 2)))
    if whole.all():
        return frame, None
    missing = {
        str(name): {
            str(judge): int(count)
            for judge, count in zip(scorers, (~present[:, k]).sum(axis=0), strict=True)
            if count
        }
        for k, name in enumerate(checkpoints)
    }
    missing = {name: judges for name, judges in missing.items() if judges}
    if not whole.any():
        raise DataError(
            f"{source}: not one of {len(whole)} samples (prompt, seed) has a score of every checkpoint by every scorer. "
            "Leave out the scorer that has none, or score again."
        )
    left_out = {"samples": int((~whole).sum()), "of": len(whole), "missing": missing}
    return frame[whole[sample]].reset_index(drop=True), left_out
