"""Cells that the tables of a terminal share: win rates, differences and p-values, and their marks.

Marks stand beside colours: "+" and "-" where an interval leaves out 50 %, nothing where it includes it.
"""

from collections.abc import Collection, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from prefbench.bench.terminal_votes import STAR
from prefbench.bench.verdict import MAJORITY, difference_text, interval_text, outcome

__all__ = [
    "EXACT",
    "GAP",
    "MARKS",
    "STYLES",
    "Entry",
    "Starred",
    "difference_cell",
    "is_exact",
    "p_text",
    "plain_table",
    "rate_cell",
    "scorer_cell",
]

STYLES = {"better": "green", "worse": "red", "open": "dim"}
MARKS = {"better": "+", "worse": "-", "open": " "}
EXACT = "\u2020"
"""A dagger, as in the report."""
GAP = 2
"""Spaces between columns."""

Entry = Mapping[str, Any]
Starred = Collection[tuple[str, str, str]]
"""(a, b, scorer) of scorers without a vote."""


def plain_table(*headers: str) -> Table:
    """A borderless table: a left-aligned first column, numbers to the right."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for i, header in enumerate(headers):
        table.add_column(Text(header), justify="left" if i == 0 else "right", overflow="fold", no_wrap=False)
    return table


def scorer_cell(scorer: str, scorers: Mapping[str, Any]) -> Text:
    """A scorer's name and whether it is held out; the vote's."""
    if scorer == MAJORITY:
        return Text("majority vote", style="bold")
    held_out = scorers[scorer]["role"] == "held out"
    return Text(f"{scorer}\n  (held out)" if held_out else scorer, style="italic" if held_out else "")


def is_exact(entry: Entry) -> bool:
    """Whether the interval of a win rate is the exact bound, or was widened from it over trainings."""
    return str(entry["ci_method"]).startswith("exact")


def rate_cell(entry: Entry, starred: Starred = frozenset()) -> Text:
    """Win rate, interval and marks: "+" or "-", the dagger of an exact bound, the star of who had no vote."""
    found = outcome(entry["ci95"])
    star = STAR if (entry.get("a"), entry.get("b"), entry.get("scorer")) in starred else ""
    interval = interval_text(entry["ci95"]) if entry["ci95"] else "[n/a: 1 prompt]"
    exact = EXACT if is_exact(entry) else ""
    return Text(f"{MARKS[found]} {100 * entry['win_rate']:.1f} {interval}{exact}{star}", style=STYLES[found])


def difference_cell(entry: Entry) -> Text:
    """Mean difference in the scorer's units."""
    if entry["mean_difference"] is None:
        return Text("")
    return Text(difference_text(entry["mean_difference"], entry["mean_difference_ci95"]))


def p_text(p: float) -> str:
    """A p-value to three decimals."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
