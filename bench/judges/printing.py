"""Sheets and sentences on a terminal of 80 columns or more, and as a Markdown page."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.judges.sheets import Sheet, headline, sheets, statements
from prefbench.bench.wording import count

__all__ = ["markdown", "print_judgement", "print_sheet"]

STYLES = {"+": "green", "-": "red"}
DEFINITIONS = (
    "ties left out: pairs that people tied do not count; a scorer that gives both images one score is half right.",
    "ties half: a pair that people tied counts half for every scorer.",
    "ties as PickScore: a scorer says tie where its scores are nearly equal; 1 point for the same answer of three, half where "
    "exactly one says tie (yuvalkirstain/PickScore@11584a5 trainer/scripts/eval_preference_predictor.py).",
)


def print_judgement(console: Console, results: Mapping[str, Any]) -> None:
    """Print what was judged, what can be said of it, the sheets and the warnings."""
    for line in headline(results):
        console.print(Text(line))
    console.print()
    console.print(Text(" ".join(statements(results)), style="bold"))
    for sheet in sheets(results):
        console.print()
        print_sheet(console, sheet)
    for warning in results["warnings"]:
        console.print()
        console.print(Text.assemble(("Warning: ", "bold yellow"), warning))


def print_sheet(console: Console, sheet: Sheet) -> None:
    """Print one table under its title, with its notes."""
    console.print(Text(sheet.title, style="italic"))
    console.print(_table(sheet))
    for note in sheet.notes:
        console.print(Text(note, style="dim"))


def _table(sheet: Sheet) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for place, name in enumerate(sheet.header):
        number = place > 0
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for first, *rest in sheet.rows:
        table.add_row(Text(first), *(Text(cell, style=STYLES.get(cell[:1], "")) for cell in rest))
    return table


def markdown(results: Mapping[str, Any]) -> str:
    """The same as a page, with definitions and what exactly was computed."""
    lines = [
        f"# Scorers against people, prefbench {results['prefbench']}",
        "",
        f"`{results['data']['source']}`",
        "",
    ]
    for line in [*headline(results), " ".join(statements(results))]:
        lines += [line, ""]
    for warning in results["warnings"]:
        lines += [f"> {warning}", ""]
    for sheet in sheets(results):
        lines += [f"## {sheet.title}", "", *_rows(sheet), ""]
        for note in sheet.notes:
            lines += [note, ""]
    if results["data"]["ties"]:
        lines += ["## How ties count", "", *(f"- {text}" for text in DEFINITIONS), ""]
    lines += ["## What was computed", "", *_scorers(results), ""]
    intervals = results["intervals"]
    lines.append(
        f"Intervals: {intervals['method']}; {intervals['resamples']:,} resamples, seed {intervals['seed']}."
    )
    return "\n".join(lines) + "\n"


def _rows(sheet: Sheet) -> Iterator[str]:
    yield f"| {' | '.join(sheet.header)} |"
    yield "|---|" + "---:|" * (len(sheet.header) - 1)
    for row in sheet.rows:
        yield f"| {' | '.join(cell.strip().replace('|', chr(92) + '|') for cell in row)} |"


def _scorers(results: Mapping[str, Any]) -> Iterator[str]:
    for name, info in results["scorers"].items():
        if "recorded_in" in info:
            yield f"- {name}: recorded beside the choices, {info['direction']} is better; not computed here."
            continue
        blind = (
            "prompt-blind"
            if info["prompt_blind"]
            else f"{count(info['truncated_prompts'], 'prompt')} cut at {info['token_limit']} tokens"
        )
        yield (
            f"- {name}: {info['scale']}; {info['direction']} is better; {blind}; trained on: {info['trained_on']}; licence of "
            f"the weights: {info['licence']}; fingerprint {info['fingerprint'][:16]}."
        )
