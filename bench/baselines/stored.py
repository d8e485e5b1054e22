"""One stored baseline: a folder NAME with `scores.parquet` and `baseline.json`.

`scores.parquet` is a scores table of one checkpoint, called NAME. Text columns are dictionaries, so a prompt's text stands in
the file once; scores are split by byte before zstd, since most come from float32 and end in zeros.

`baseline.json` is what a reviewer reads in a diff: where the scores come from, all that decides whether others may be compared
with them, and the means. It holds the sha256 of `scores.parquet` and one over the record itself: what was edited by hand,
merged wrongly or cut off on the way is refused.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from prefbench.bench.baselines.provenance import Provenance, provenance_of
from prefbench.bench.baselines.source import SCORES, ScoreSource
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.paired_samples import LARGEST
from prefbench.bench.scores_table import check_scores
from prefbench.bench.store.keys import canonical_sha256

__all__ = ["RECORD", "StoredBaseline", "checkpoint_rows", "parquet_bytes", "read_stored", "record_of"]

RECORD = "baseline.json"
FORMAT, SCHEMA = "prefbench baseline", 1

DICTIONARY_BYTES = 64 * 2**20
"""Room for the dictionary of prompts; beyond the usual 1 MB pyarrow would write every text again for every score."""


@dataclass(frozen=True)
class StoredBaseline:
    """A baseline as it was read back, whole and unchanged."""

    path: Path
    record: Mapping[str, Any]
    """The dict of baseline.json."""
    scores: pd.DataFrame
    """A checked scores table of one checkpoint, called as the baseline is."""

    @property
    def name(self) -> str:
        """The name it was saved under."""
        return str(self.record["name"])

    @property
    def saved(self) -> str:
        """When, ISO time in UTC."""
        return str(self.record["saved"])

    @cached_property
    def provenance(self) -> Provenance:
        """What decides whether it may be compared."""
        source = self.record["source"]
        known = {
            "suite": self.record["suite"],
            "checkpoints": {self.name: self.record["checkpoint"]},
            "scorers": self.record["scorers"],
            "prefbench": source["prefbench"],
            "created": source["created"],
        }
        bare = self.record["suite"] is None
        return provenance_of(
            self.scores,
            self.name,
            None if bare else known,
            source=f"the baseline {self.name}",
            origin=str(self.record["sha256"]),
            scorers=self.record["scorers"],
        )


def checkpoint_rows(source: ScoreSource, checkpoint: str, name: str) -> pd.DataFrame:
    """The scores of one checkpoint as they are stored: under the baseline's name, sorted.

    Raises:
        DataError: it lacks a score that its scorers gave it elsewhere, or that another checkpoint of the table has; or a score
            so large that no mean can be taken.
    """
    rows = source.scores[source.scores["checkpoint"] == checkpoint]
    samples = source.scores[["prompt_id", "seed"]].drop_duplicates()
    wanted = len(samples) * source.scores["scorer"].nunique()
    if len(rows) < wanted:
        raise DataError(
            f"{source.path}: checkpoint {checkpoint!r} lacks {wanted - len(rows):,} of {wanted:,} scores: it needs every prompt, "
            "seed and scorer of the table. Score what is missing; or make a comparison with --drop-incomplete and save from "
            "its folder."
        )
    huge = rows[rows["score"].abs() > LARGEST]
    if len(huge):
        raise DataError(
            f"{source.path}: scorer {huge['scorer'].iloc[0]!r} gives prompt {huge['prompt_id'].iloc[0]} a score of "
            f"{huge['score'].iloc[0]:.4g}: sums of such numbers overflow, and no scorer means them. Score it again."
        )
    # Equal neighbours cost nothing in the file. Scorers stay in the order of the table.
    place = {scorer: k for k, scorer in enumerate(dict.fromkeys(rows["scorer"]))}
    table = rows.assign(checkpoint=name, place=rows["scorer"].map(place))
    table = table.sort_values(["place", "seed"], kind="stable").drop(columns="place")
    empty = [column for column in ("category", "challenge") if column in table and not table[column].any()]
    return table.drop(columns=empty).reset_index(drop=True)


def parquet_bytes(scores: pd.DataFrame) -> bytes:
    """The scores as a small Parquet file; equal scores give equal bytes (of one version of pyarrow)."""
    table = pa.Table.from_pandas(scores, preserve_index=False).replace_schema_metadata(None)
    numbers = {"score": "BYTE_STREAM_SPLIT", "seed": "DELTA_BINARY_PACKED"}
    buffer = io.BytesIO()
    pa.parquet.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=9,
        use_dictionary=[column for column in table.column_names if column not in numbers],
        column_encoding=numbers,
        dictionary_pagesize_limit=DICTIONARY_BYTES,
        row_group_size=max(1, len(table)),
        write_statistics=False,
    )
    return buffer.getvalue()


def record_of(
    name: str,
    source: ScoreSource,
    checkpoint: str,
    scores: pd.DataFrame,
    data: bytes,
    now: datetime | None = None,
) -> dict[str, Any]:
    """The dict of baseline.json.

    Args:
        name: of the baseline.
        source: where the scores come from.
        checkpoint: its name there.
        scores: as they are stored.
        data: the bytes of scores.parquet.
        now: time of saving, None for the clock's.
    """
    results = source.results or {}
    suite = results.get("suite")
    means = {
        str(scorer): float(mean)
        for scorer, mean in scores.groupby("scorer", sort=False)["score"].mean().items()
    }
    record = {
        "format": FORMAT,
        "schema": SCHEMA,
        "name": name,
        "saved": (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
        "prefbench": version("prefbench"),
        "source": {
            "kind": source.kind,
            "checkpoint": checkpoint,
            "created": results.get("created"),
            "prefbench": results.get("prefbench"),
        },
        "suite": suite,
        "checkpoint": dict(results["checkpoints"][checkpoint]) if results else None,
        "scorers": {scorer: dict(source.scorers.get(scorer) or {"name": scorer}) for scorer in means},
        "means": means,
        "scores": {
            "file": SCORES,
            "sha256": sha256(data).hexdigest(),
            "rows": len(scores),
            "prompts": int(scores["prompt_id"].nunique()),
            "distinct_prompts": int(scores["prompt"].nunique()),
            "seeds": sorted(map(int, scores["seed"].unique())),
        },
    }
    return record | {"sha256": canonical_sha256(record)}


def read_stored(path: Path) -> StoredBaseline:
    """Read one baseline back and check every byte.

    Raises:
        UsageError: the folder is no baseline.
        DataError: it is of a newer format, damaged, or was changed since it was saved.
    """
    if not (path / RECORD).is_file():
        raise UsageError(
            f"{path} is no stored baseline: it has no {RECORD}. `prefbench baseline save` makes one; `prefbench baseline list` "
            "shows those of a folder."
        )
    record = read_record(path)
    data = _read(path / SCORES) if (path / SCORES).is_file() else b""
    if sha256(data).hexdigest() != record["scores"]["sha256"]:
        what = (
            "was changed or cut off since it was saved (its sha256 is another)"
            if data
            else "is missing or empty"
        )
        raise DataError(f"{path / SCORES} {what}. {RESTORE}")
    try:
        frame = pa.parquet.read_table(io.BytesIO(data)).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path / SCORES} is not a readable Parquet file: {error}. {RESTORE}") from error
    return StoredBaseline(path, record, check_scores(frame, source=str(path / SCORES)))


RESTORE = "Take the baseline from version control again, or save it again with --replace."


def read_record(path: Path) -> dict[str, Any]:
    """The dict of `path`/baseline.json, unchanged since it was saved under this folder's name.

    Raises:
        DataError: it is not.
    """
    file = path / RECORD
    try:
        record = json.loads(_read(file).decode("utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON ({error}). {RESTORE}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(
            f"{file} is not the record of a baseline: `prefbench baseline save` writes it. {RESTORE}"
        )
    if record.get("schema") != SCHEMA:
        raise DataError(
            f"{file} has schema {record.get('schema')!r}; this version of prefbench reads schema {SCHEMA}. Use the prefbench "
            f"that wrote it ({record.get('prefbench')}), or save the baseline again with --replace."
        )
    told = record.get("sha256")
    if told != canonical_sha256({key: value for key, value in record.items() if key != "sha256"}):
        raise DataError(f"{file} was changed since it was saved: its sha256 is another. {RESTORE}")
    if record["name"] != path.resolve().name:
        raise DataError(
            f"{path} holds the baseline {record['name']!r}: the folder was renamed or copied. Give it its name back, or save the "
            "baseline under the new name."
        )
    return record


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
