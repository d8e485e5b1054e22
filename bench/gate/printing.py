"""A gate's report for a terminal of 80 columns or more: the verdict first."""

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.gate.sequential import Look
from prefbench.bench.gate.wording import WORDS, errors_text, look_text, p_note, p_text, shown_p

__all__ = ["conclude", "print_gate", "print_look"]

STYLES = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def print_gate(console: Console, report: Mapping[str, Any]) -> None:
    """Print verdict, rules, and what would decide the open ones.

    Args:
        console: where to print; its width is used.
        report: what gate.json holds.
    """
    style = STYLES[report["outcome"]]
    console.print(Text(f"{WORDS[report['outcome']]}: {report['sentence']}", style=f"bold {style}"))
    console.print()
    console.print(_table(report))
    for entry in report["rules"]:
        told = [entry["note"] or "", (entry["needed"] or {}).get("text", "")]
        text = " ".join(part for part in told if part)
        if text and (entry["outcome"] != "pass" or entry["kind"] in ("failure_cap", "slowdown")):
            console.print()
            console.print(Text.assemble((f"{entry['name']}: ", "bold"), text))
    footnote = " ".join(filter(None, [p_note(report), errors_text(report)]))
    if footnote:
        console.print()
        console.print(Text(footnote, style="dim"))
    for text in report["remarks"]:
        console.print()
        console.print(Text(text))
    for warning in report["warnings"]:
        console.print()
        console.print(Text.assemble(("Warning: ", "bold yellow"), warning["text"]))


def conclude(console: Console, report: Mapping[str, Any], out: Path) -> int:
    """Print what was written; returns the gate's exit code, whether or not anybody could be told.

    A reader that goes away (`| head`) or a full disk behind standard output is not the release's fault: the outcome is in `out`.
    """
    try:
        print_gate(console, report)
        console.print(f"\nWritten: {out}", markup=False, highlight=False, soft_wrap=True)
        console.file.flush()
    except (
        OSError,
        SystemExit,
    ) as error:  # rich ends the process with 1 where a pipe is closed, and 1 means "failed"
        os.dup2(os.open(os.devnull, os.O_WRONLY), console.file.fileno())
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            print(
                f"The gate is written to {out}; standard output cannot be: {error.strerror}.", file=sys.stderr
            )
    return int(report["exit_code"])


def print_look(console: Console, look: Look, of_prompts: int) -> None:
    """One look of a sequential gate, on a line."""
    entry = {"prompts": look.prompts, "rules": {name: asdict(each) for name, each in look.standings.items()}}
    console.print(Text(look_text(entry, of_prompts)))


def _table(report: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for i, header in enumerate(("outcome", "rule", "estimate", "asked", "p")):
        fixed = header in ("outcome", "p")
        table.add_column(Text(header), justify="left" if i < 2 else "right", overflow="fold", no_wrap=fixed)
    for entry in report["rules"]:
        p = shown_p(entry)
        table.add_row(
            Text(entry["outcome"], style=STYLES[entry["outcome"]]),
            Text(entry["name"]),
            Text(entry["shown"]["estimate"]),
            Text(entry["shown"]["threshold"]),
            Text(p_text(p)),
        )
    return table
