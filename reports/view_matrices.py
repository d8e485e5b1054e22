"""Square tables: every checkpoint against every other, every scorer against every other; and mean scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefbench.reports.palette import tint_class
from prefbench.reports.view_facts import Facts
from prefbench.reports.view_means import mean_parts
from prefbench.reports.view_numbers import (
    Name,
    decimals_for,
    interval_missing,
    percent,
    percent_interval,
    split_name,
)

__all__ = ["Cell", "Judges", "Matrix", "MeanRow", "judges_view", "mean_rows", "win_matrix"]


@dataclass(frozen=True)
class Cell:
    """A cell: its tint, number, interval and whether the interval excludes one half."""

    tint: str
    number: str
    interval: str
    decided: bool
    label: str


@dataclass(frozen=True)
class Matrix:
    """A square table; None on the diagonal."""

    names: tuple[Name, ...]
    tags: tuple[str, ...]
    rows: tuple[tuple[Cell | None, ...], ...]


def win_matrix(facts: Facts) -> Matrix:
    """Win rate of the row over the column by the majority vote."""
    rows = []
    for a in facts.checkpoints:
        cells: list[Cell | None] = []
        for b in facts.checkpoints:
            if a == b:
                cells.append(None)
                continue
            row = facts.find(a, b)
            if row is None:
                cells.append(Cell("tint-none", "n/a", "not compared", False, f"{a} over {b}"))
                continue
            interval = percent_interval(row.ci95) or interval_missing(row.prompts)
            cells.append(
                Cell(
                    tint=tint_class(row.win_rate),
                    number=percent(row.win_rate),
                    interval=interval,
                    decided=row.state != "open",
                    label=f"{a} over {b}",
                )
            )
        rows.append(tuple(cells))
    return Matrix(
        names=tuple(split_name(name) for name in facts.checkpoints),
        tags=("baseline", *("" for _ in facts.checkpoints[1:])),
        rows=tuple(rows),
    )


@dataclass(frozen=True)
class Judges:
    """Do the scorers agree, and how many independent ones are they worth?"""

    sentence: str
    matrix: Matrix


def _worth(agreement: Mapping[str, Any], voters: int) -> str:
    if voters < 2:
        return "One scorer votes: there is no second opinion inside the electorate."
    correlation, effective = agreement["mean_vote_correlation"], agreement["effective_voters"]
    if correlation is None or effective is None:
        return (
            f"{voters} votes; their correlation is not defined here: one of them always votes the same way."
        )
    return (
        f"{voters} votes, worth {effective:.1f} independent ones: the votes of two scorers correlate by "
        f"{correlation:.2f} on average."
    )


def judges_view(facts: Facts, agreement: Mapping[str, Any]) -> Judges:
    """Share of pairs on which two scorers name the same winner."""
    names = [str(name) for name in agreement["scorers"]]
    held = {judge.name for judge in facts.held_out}
    blind = {judge.name for judge in facts.judges if judge.prompt_blind}
    rows = []
    for i, one in enumerate(names):
        cells: list[Cell | None] = []
        for j, other in enumerate(names):
            share = agreement["same_winner"][i][j]
            if i == j:
                cells.append(None)
            else:
                cells.append(Cell(tint_class(share), percent(share, 0), "", True, f"{one} and {other}"))
        rows.append(tuple(cells))
    tags = tuple(
        ", ".join(word for word, on in (("held out", name in held), ("prompt-blind", name in blind)) if on)
        for name in names
    )
    matrix = Matrix(tuple(split_name(name) for name in names), tags, tuple(rows))
    return Judges(_worth(agreement, len(facts.voters)), matrix)


@dataclass(frozen=True)
class MeanRow:
    """Mean scores of one checkpoint, and the difference to the baseline with its interval."""

    name: Name
    cells: tuple[tuple[str, str, str], ...]


def mean_rows(facts: Facts, means: Mapping[str, Mapping[str, float]]) -> tuple[MeanRow, ...]:
    """One row for each checkpoint, one cell for each scorer: (mean, change from the baseline, interval)."""
    rows = []
    digits = {}
    for judge in facts.judges:
        values = [means[name][judge.name] for name in facts.checkpoints]
        digits[judge.name] = decimals_for((max(values) - min(values)) or abs(values[0]))
    for name in facts.checkpoints:
        cells = []
        for judge in facts.judges:
            text = f"{means[name][judge.name]:.{digits[judge.name]}f}".replace("-", "\u2212")
            row = facts.find(name, facts.baseline, judge.name)
            cells.append((text, *(mean_parts(row) if row else ("", ""))))
        rows.append(MeanRow(split_name(name), tuple(cells)))
    return tuple(rows)
