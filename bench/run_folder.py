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
from prefbench.bench.store.folder_lock import LOCK_NAME
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.ledger import FILE_NAME, CheckpointRow, Ledger
from prefbench.bench.suite import Suite, suite_text, with_defaults

__all__ = [
    "IMAGES",
    "REPORT",
    "RESULTS",
    "SCORES",
    "SUITE",
    "check_is_no_folder",
    "claim",
    "find_ledger",
    "open_checkpoints",
]

SUITE, RESULTS, SCORES, REPORT, IMAGES = (
    "suite.toml",
    "results.json",
    "scores.parquet",
    "report.html",
    "images",
)

TRAINED_AGAINST = "trained_against."
"""Fields that decide nothing that is drawn or scored, and checkpoints may join later: added and changed, never forgotten."""

GATE = "gate"
"""Table of the suite that decides no number at all: it may change from run to run."""

BESIDE = ("checkpoints", LOCK_NAME)
"""What may lie in a folder that becomes a run folder: `demo` keeps its checkpoints there."""


def find_ledger(out: Path) -> bool:
    """Whether `out` is a run folder already.

    Raises:
        LedgerError: it is something else with files in it, or a folder stands where the run writes a file.
    """
    if out.exists() and not out.is_dir():
        raise LedgerError(f"--out {out} is a file. Give a folder, new or of an earlier run.")
    if (out / FILE_NAME).is_file():
        for name in (SUITE, RESULTS, SCORES, REPORT):
            check_is_no_folder(out / name)
        return True
    others = sorted(path.name for path in out.iterdir() if path.name not in BESIDE) if out.exists() else []
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        raise LedgerError(
            f"{out} has no {FILE_NAME} but has {', '.join(others[:5])}{more}: it is not a run folder. Give "
            "--out a new or empty folder."
        )
    return False


def check_is_no_folder(path: Path) -> None:
    """Raises LedgerError where a file is to be written and a folder stands."""
    if path.is_dir():
        raise LedgerError(f"{path} is a folder, and a file of that name is to be written. Move it away.")


def check_suite(ledger: Ledger, suite: Suite, sets: Sequence[PlannedSet]) -> None:
    """Refuse to go on with another suite, or with prompts that changed.

    Raises:
        LedgerError: naming the fields that differ.
    """
    stored = ledger.meta("suite")
    if stored is None:
        return
    before = with_defaults(json.loads(stored))
    there, here = (_flat(_by_file_name(fields)) for fields in (before, suite.model_dump()))
    differ = [
        key
        for key in sorted(there | here)
        if there.get(key) != here.get(key) and not (key.startswith(TRAINED_AGAINST) and key in here)
        if key.partition(".")[0] != GATE
    ]
    remedy = "Give another --out, or the suite with which the folder was made (its suite.toml)."
    if differ:
        fields = "; ".join(f"{key} is {there.get(key)!r} there and {here.get(key)!r} now" for key in differ)
        raise LedgerError(f"The run folder {ledger.path.parent} belongs to another suite: {fields}. {remedy}")
    now = [planned.as_dict() for planned in sets]
    for old, new in zip(json.loads(ledger.meta("prompt_sets") or "[]"), now, strict=True):
        if old != new:
            raise LedgerError(
                f"The prompt set {old['name']} changed since the run folder {ledger.path.parent} was made: "
                "sha256 "
                f"{old['sha256'][:12]}… there, {new['sha256'][:12]}… now. Give another --out."
            )


def open_checkpoints(
    ledger: Ledger | None, given: Mapping[str, str], fewest: int = 2
) -> dict[str, Checkpoint]:
    """Checkpoints of the run; the first is the baseline.

    A checkpoint in the ledger stays as soon as its images are drawn. Before that, an input fault may have stopped the run:
    it may be mended or, not named any more, left out.

    Raises:
        LedgerError: a drawn checkpoint's name stands for other weights than before.
        UsageError: fewer than `fewest` checkpoints, or an order that contradicts the ledger's.
    """
    drawn = ledger.drawn() if ledger else set()
    rows = {row.name: row for row in ledger.checkpoints() if row.name in drawn} if ledger else {}
    specs = {name: given.get(name) or rows[name].spec for name in _in_order(list(rows), list(given))}
    if len(specs) < fewest:
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
                f"(it was {rows[name].spec} with other contents), and its images are drawn. Put its old contents "
                "back and give the new ones a name and a place of their own, or give another --out."
            )
        opened[name] = checkpoint
    return opened


def _in_order(there: list[str], given: list[str]) -> list[str]:
    """The order given where it names every checkpoint of the folder; else the folder's, then the new ones."""
    if set(there) <= set(given):
        return given
    order = there + [name for name in given if name not in there]
    if given != sorted(given, key=order.index):
        raise UsageError(
            f"--checkpoint names {', '.join(given)} in this order, and the run folder has {', '.join(there)}. The "
            "first is the baseline: name them all in the order that you want, or only the new ones."
        )
    return order


def claim(
    ledger: Ledger, suite: Suite, sets: Sequence[PlannedSet], checkpoints: Mapping[str, Checkpoint]
) -> None:
    """Write the suite and the checkpoints into the folder, all or nothing; what killed runs left half-written goes."""
    folder = ledger.path.parent
    for name in (SUITE, RESULTS, SCORES, REPORT):
        for path in folder.glob(f".{name}.*"):
            path.unlink()
    ImageStore(folder / IMAGES).tidy()
    with ledger.atomic():
        ledger.set_meta("suite", json.dumps(suite.model_dump(), sort_keys=True))
        ledger.set_meta("prompt_sets", json.dumps([planned.as_dict() for planned in sets]))
        ledger.set_checkpoints([CheckpointRow(n, c.spec, c.identity) for n, c in checkpoints.items()])
    write_text(folder / SUITE, suite_text(suite))


def _by_file_name(suite: dict[str, Any]) -> dict[str, Any]:
    """With prompt files by their names: wherever they lie, their contents are compared by sha256."""
    return suite | {"prompts": [Path(name).name for name in suite["prompts"]]}


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return flat
