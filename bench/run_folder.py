"""The run folder: does it belong to this suite, and which checkpoints are in it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.bench.atomic import write_text
from prefbench.bench.checkpoints.checkpoint import Checkpoint
from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.exceptions import LedgerError, UsageError
from prefbench.bench.plan import PlannedSet
from prefbench.bench.store.ledger import FILE_NAME, CheckpointRow, Ledger
from prefbench.bench.suite import Suite, suite_text

__all__ = ["IMAGES", "REPORT", "RESULTS", "SCORES", "SUITE", "claim", "find_ledger", "open_checkpoints"]

SUITE, RESULTS, SCORES, REPORT, IMAGES = (
    "suite.toml",
    "results.json",
    "scores.parquet",
    "report.html",
    "images",
)


def find_ledger(out: Path) -> bool:
    """Whether `out` is a run folder already.

    Raises:
        LedgerError: it is something else, and the run would overwrite files in it.
    """
    if out.exists() and not out.is_dir():
        raise LedgerError(f"--out {out} is a file. Give a folder, new or of an earlier run.")
    if (out / FILE_NAME).is_file():
        return True
    taken = [name for name in (SUITE, RESULTS, SCORES, REPORT, IMAGES) if (out / name).exists()]
    if taken:
        raise LedgerError(
            f"{out} has no {FILE_NAME} but has {', '.join(taken)}: it is not a run folder, and the run "
            "would overwrite that. "
            "Give another --out."
        )
    return False


def check_suite(ledger: Ledger, suite: Suite, sets: Sequence[PlannedSet]) -> None:
    """Refuse to go on with another suite, or with prompts that changed.

    Raises:
        LedgerError: naming the fields that differ.
    """
    stored = ledger.meta("suite")
    if stored is None:
        return
    there, here = _flat(json.loads(stored)), _flat(suite.model_dump())
    differ = [key for key in sorted(there | here) if there.get(key) != here.get(key)]
    remedy = "Give another --out, or the suite with which the folder was made (its suite.toml)."
    if differ:
        fields = "; ".join(f"{key} is {there.get(key)!r} there and {here.get(key)!r} now" for key in differ)
        raise LedgerError(f"The run folder {ledger.path.parent} belongs to another suite: {fields}. {remedy}")
    before = json.loads(ledger.meta("prompt_sets") or "[]")
    now = [planned.as_dict() for planned in sets]
    for old, new in zip(before, now, strict=True):
        if old != new:
            raise LedgerError(
                f"The prompt set {old['name']} changed since the run folder {ledger.path.parent} was made: "
                "sha256 "
                f"{old['sha256'][:12]}… there, {new['sha256'][:12]}… now. Give another --out."
            )


def open_checkpoints(ledger: Ledger | None, given: Mapping[str, str]) -> dict[str, Checkpoint]:
    """Checkpoints of the run: those in the ledger, then the new ones; the first is the baseline.

    Raises:
        LedgerError: a name stands for other weights than before.
        UsageError: fewer than two checkpoints.
    """
    rows = {row.name: row for row in ledger.checkpoints()} if ledger else {}
    specs = {name: row.spec for name, row in rows.items()} | dict(given)
    if len(specs) < 2:
        raise UsageError(
            f"A benchmark compares at least two checkpoints; this one has {len(specs)}. Add --checkpoint "
            "NAME=SPEC, for example "
            "the base it was trained from."
        )
    opened = {}
    for name, spec in specs.items():
        checkpoint = open_checkpoint(name, spec)
        if name in rows and rows[name].identity != checkpoint.identity:
            raise LedgerError(
                f"The checkpoint {name!r} ({spec}) is not the one that this run folder knows by that name "
                f"(it was {rows[name].spec} "
                "with other contents). Give the new one another name, or another --out."
            )
        opened[name] = checkpoint
    return opened


def claim(
    ledger: Ledger, suite: Suite, sets: Sequence[PlannedSet], checkpoints: Mapping[str, Checkpoint]
) -> None:
    """Write the suite and the checkpoints into the folder, all or nothing."""
    known = {row.name for row in ledger.checkpoints()}
    with ledger.atomic():
        ledger.set_meta("suite", json.dumps(suite.model_dump(), sort_keys=True))
        ledger.set_meta("prompt_sets", json.dumps([planned.as_dict() for planned in sets]))
        for name, checkpoint in checkpoints.items():
            if name not in known:
                ledger.add_checkpoint(CheckpointRow(name, checkpoint.spec, checkpoint.identity))
    write_text(ledger.path.parent / SUITE, suite_text(suite))


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return flat
