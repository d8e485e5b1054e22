"""The folder of a gate: gate.json, junit.xml, gate.md and thumbnails, whole or not at all."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefbench.bench import atomic
from prefbench.bench.out_folder import check_only_own, check_own_folder
from prefbench.reports.gate_markdown import gate_markdown
from prefbench.reports.junit import junit_xml

__all__ = ["WRITTEN", "add_gate", "check_gate_folder", "write_gate"]

WRITTEN = ("gate.json", "gate.md", "junit.xml", "pictures")


def check_gate_folder(out: Path) -> None:
    """Refuse to replace anything but an earlier gate's folder.

    Raises:
        UsageError: it cannot be written, or holds something else.
    """
    check_only_own(out, "gate", WRITTEN)
    check_own_folder(out, "gate", "gate.json", ("schema", "outcome", "rules"))


def write_gate(out: Path, report: Mapping[str, Any], pictures: Mapping[str, bytes] | None = None) -> None:
    """Write the folder; an earlier gate's is replaced.

    Args:
        out: looked at with `check_gate_folder`.
        report: what gate.json holds.
        pictures: path in the folder -> contents.
    """
    with atomic.new_folder(out) as folder:
        _write(folder, report, pictures or {})


def add_gate(out: Path, report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """Write the same into the run folder of a sequential gate: each file whole or not at all, gate.json last."""
    shutil.rmtree(out / "pictures", ignore_errors=True)
    _write(out, report, pictures)


def _write(folder: Path, report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    for path, data in pictures.items():
        atomic.write_bytes(folder / path, data)
    atomic.write_text(folder / "junit.xml", junit_xml(report))
    atomic.write_text(folder / "gate.md", gate_markdown(report))
    atomic.write_json(folder / "gate.json", report)
