"""The small table on the first screen: every checkpoint against the baseline on one axis."""

from dataclasses import dataclass

from prefbench.reports.view_facts import VOTE, Facts, State
from prefbench.reports.view_forest import Mark, mark
from prefbench.reports.view_numbers import Name, interval_cell, percent, split_name

__all__ = ["GlanceCell", "GlanceRow", "glance_rows"]


@dataclass(frozen=True)
class GlanceCell:
    """A rate with its interval in the table on the first screen."""

    state: State
    rate: str
    interval: str


@dataclass(frozen=True)
class GlanceRow:
    """One checkpoint against the baseline: the vote above, held-out scorers below it on the same axis."""

    name: Name
    vote: Mark
    held_out: tuple[Mark, ...]
    cells: tuple[GlanceCell, ...]


def glance_rows(facts: Facts) -> tuple[GlanceRow, ...]:
    """One row for each checkpoint but the baseline."""
    rows = []
    for name in facts.candidates:
        vote = facts.get(name, facts.baseline, VOTE)
        held = [facts.get(name, facts.baseline, judge.name) for judge in facts.held_out]
        rows.append(
            GlanceRow(
                name=split_name(name),
                vote=mark(vote, "diamond", f"{name}, majority vote"),
                held_out=tuple(mark(row, "ring", f"{name}, {row.scorer}, held out") for row in held),
                cells=tuple(
                    GlanceCell(
                        row.state,
                        percent(row.win_rate),
                        interval_cell(row.ci95, row.prompts, row.ci_method),
                    )
                    for row in (vote, *held)
                ),
            )
        )
    return tuple(rows)
