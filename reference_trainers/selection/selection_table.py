"""The reasons as a table: one row a pair, every term of its score, its labels, its rank, kept or not."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from prefbench.bench.atomic import write_bytes
from prefbench.bench.exceptions import UsageError
from prefbench.bench.out_folder import check_out as check_out_folder
from prefbench.reference_trainers.selection.composing import Composed
from prefbench.reference_trainers.selection.scores_table import DATA_KEY, SCORERS_KEY, scorers_as_json

__all__ = ["check_out", "reasons_table", "write_reasons"]

NO_LABEL = "no label: tied, or none in the given file"


def check_out(path: Path) -> None:
    """Raise UsageError for a file name that is no Parquet file's, is taken, or stands where nothing can be written."""
    if path.suffix.lower() != ".parquet" or path.is_dir():
        raise UsageError(f"--out {path} must be the name of a .parquet file, such as {path.stem}.parquet.")
    if path.exists():
        raise UsageError(f"--out {path} is there already. Give another name, or delete it to make it anew.")
    try:
        check_out_folder(path.parent)
    except UsageError:
        raise UsageError(f"--out {path} cannot be written: nothing can be put into {path.parent}.") from None


def _spread(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Values of the pairs that have a label, over all pairs: NaN elsewhere."""
    out = np.full(len(kept), np.nan)
    out[kept] = values
    return out


def reasons_table(composed: Composed) -> pd.DataFrame:
    """N rows, in the order of the data.

    Columns: row (of the source, from 1), prompt, image_0 and image_1 (what identifies them), human_winner (0 or 1, as
    the data says), winner (the label in force, empty without one), relabelled, flipped, verdict (of a vote; > 0 for
    image 0), SCORER_0 and SCORER_1 for every scorer, the selection's terms raw and normalised, score, rank (1 is best),
    kept, reason (why a pair has no label or no score).
    """
    opened, labelled, selection = composed.opened, composed.labelled, composed.selection
    has_label = np.ones(len(opened), dtype=bool) if composed.outcome is None else composed.outcome.kept
    winner = _spread(labelled.winner_side, has_label)
    flipped = np.zeros(len(opened), dtype=bool)
    flipped[has_label] = labelled.flipped
    voted = opened.winner_side if composed.outcome is None else composed.outcome.winner_side
    columns: dict[str, object] = {
        "row": opened.rows + 1,
        "prompt": list(opened.prompts),
        "image_0": [opened.image_names(row, 0) for row in opened.rows.tolist()],
        "image_1": [opened.image_names(row, 1) for row in opened.rows.tolist()],
        "human_winner": opened.winner_side.astype(np.int8),
        "winner": pd.array(winner, dtype="Int8"),
        "relabelled": has_label & (voted != opened.winner_side),
        "flipped": flipped,
    }
    if composed.outcome is not None:
        columns["verdict"] = composed.outcome.verdict
    for name, scores in composed.scores.items():
        columns[f"{name}_0"], columns[f"{name}_1"] = scores.values.T
    reason = np.where(has_label, "", NO_LABEL).astype(object)
    kept = has_label.copy()
    if composed.ratings is not None:
        ratings, place = composed.ratings
        columns["prompt_rating"] = _spread(ratings.rating[place], has_label)
        columns["prompt_harmlessness"] = _spread(ratings.harmlessness[place], has_label)
    if selection is not None:
        columns |= {name: _spread(values, has_label) for name, values in selection.terms.items()}
        columns["score"] = _spread(selection.score, has_label)
        rank = _spread(selection.rank, has_label)
        columns["rank"] = pd.array(np.where(rank > 0, rank, np.nan), dtype="Int64")
        kept[has_label] = selection.kept
        reason[has_label] = selection.reason
    return pd.DataFrame(columns | {"kept": kept, "reason": reason})


def write_reasons(composed: Composed, path: Path) -> None:
    """Write the table as Parquet, whole or not at all, with the hash of the data that it is of and its scorers' scales."""
    check_out(path)
    table = pa.Table.from_pandas(reasons_table(composed), preserve_index=False)
    metadata = {
        **(table.schema.metadata or {}),
        DATA_KEY: composed.data_sha256.encode(),
        SCORERS_KEY: scorers_as_json(composed.scores),
    }
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), buffer)
    write_bytes(path, buffer.getvalue())
