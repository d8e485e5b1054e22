"""Samples without a score: counted, and left out of a comparison for all checkpoints alike where the user asks for it."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.exceptions import DataError

__all__ = ["Incomplete", "drop_incomplete"]

Incomplete = Literal["refuse", "drop"]
"""What is done with samples that lack a score."""


def drop_incomplete(
    frame: pd.DataFrame,
    *,
    samples: Sequence[tuple[str, int]] | None = None,
    checkpoints: Sequence[str] | None = None,
    scorers: Sequence[str] | None = None,
    source: str = "the scores table",
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """The rows of those (prompt, seed) that have a score of every checkpoint by every scorer.

    Args:
        frame: a checked scores table.
        samples: every (prompt_id, seed) that there should be; None for those of which the table has any score. One without
            a single score can be missed by nobody who knows the table alone.
        checkpoints: all that there should be, likewise.
        scorers: likewise.
        source: how errors name the table.

    Returns:
        The rows, and what was left out: {"samples", "of", "missing": checkpoint -> scorer -> number of missing scores};
        None if nothing was.

    Raises:
        DataError: no sample is complete.
    """
    wanted = _places(samples if samples is not None else zip(frame["prompt_id"], frame["seed"], strict=True))
    rows = _places(checkpoints if checkpoints is not None else sorted(frame["checkpoint"].unique()))
    columns = _places(scorers if scorers is not None else sorted(frame["scorer"].unique()))
    sample = np.array(
        [wanted[each] for each in zip(frame["prompt_id"], frame["seed"], strict=True)], dtype=np.int64
    )
    present = np.zeros((len(wanted), len(rows), len(columns)), dtype=bool)
    present[sample, frame["checkpoint"].map(rows), frame["scorer"].map(columns)] = True
    whole: npt.NDArray[np.bool_] = np.asarray(present.all(axis=(1, 2)))
    if whole.all():
        return frame, None
    if not whole.any():
        raise DataError(
            f"{source}: not one of {len(whole)} samples (prompt, seed) has a score of every checkpoint by every scorer. "
            "Leave out the scorer that has none, or score again."
        )
    absent = (~present).sum(axis=0)
    missing = {
        name: {scorer: int(absent[i, k]) for scorer, k in columns.items() if absent[i, k]}
        for name, i in rows.items()
        if absent[i].any()
    }
    left_out = {"samples": int((~whole).sum()), "of": len(whole), "missing": missing}
    return frame[whole[sample]].reset_index(drop=True), left_out


def _places(names: Any) -> dict[Any, int]:
    return {name: k for k, name in enumerate(dict.fromkeys(names))}
