"""The courses on the page of `prefbench history`: the vote's win rates and every scorer's means, each a plot with its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from prefbench.reports.view_course import (
    HEIGHTS,
    Axis,
    BreakLine,
    Cell,
    Line,
    Point,
    break_lines,
    column_x,
    difference_cell,
    lines,
    mean_axis,
    rate_cell,
    rate_state,
    vote_axis,
)
from prefbench.reports.view_facts import VOTE
from prefbench.reports.view_forest import Shape
from prefbench.reports.view_numbers import NARROW, Name, decimals_for, plain, split_name

__all__ = ["Course", "History", "entries_of", "scorer_course", "vote_course"]

History = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of numbers under a plot, a cell a release."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Course:
    """One plot with its numbers."""

    key: str
    name: Name
    tags: tuple[str, ...]
    unit: str
    kind: str
    label: str
    axis: Axis
    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    breaks: tuple[BreakLine, ...]
    rows: tuple[Row, ...]
    missing: tuple[str, ...]


def entries_of(history: History, judge: str) -> dict[str, Mapping[str, Any]]:
    """Release -> its comparison by a judge."""
    return {entry["a"]: entry for entry in history["comparisons"] if entry["scorer"] == judge}


def _gaps(history: History, names: Sequence[str], judge: str) -> list[list[int]]:
    """Numbers of the breaks of a judge's course between each release and the next."""
    return [
        [
            number
            for number, each in enumerate(history["breaks"], start=1)
            if (each["after"], each["before"]) == (a, b) and judge in each["judges"]
        ]
        for a, b in pairwise(names)
    ]


def _missing(history: History, judge: str) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(f"{each['reason']}." for each in history["missing"] if each["scorer"] == judge)
    )


def vote_course(history: History, names: Sequence[str]) -> Course:
    """The vote's win rates; what others are held against stands at one half."""
    found = entries_of(history, VOTE)
    references = {entry["b"] for entry in found.values()}
    shown = {name: name in found or name in references for name in names}
    ends = [rate for entry in found.values() for rate in (entry["win_rate"], *(entry["ci95"] or ()))]
    axis = vote_axis(ends, HEIGHTS["vote"])
    points: list[Point | None] = []
    for i, name in enumerate(names):
        x = column_x(i, len(names))
        if name in found:
            entry = found[name]
            points.append(_point(x, axis, entry["win_rate"], entry["ci95"], "diamond", rate_state(entry)))
        else:
            points.append(Point(x, axis.y(0.5), "diamond", "ink", None, None) if shown[name] else None)
    gaps = _gaps(history, names, VOTE)
    # Each against the one before: a line between two such points would join what is on two different scales.
    apart = [
        bool(gap) or history["against"] == "previous" or not _same_scale(found, a, b)
        for a, b, gap in _steps(names, gaps)
    ]
    rates = tuple(
        rate_cell(found[name])
        if name in found
        else Cell(f"50{NARROW}%" if shown[name] else "–", "", "ink" if shown[name] else "none")
        for name in names
    )
    against = tuple(Cell(found[name]["b"] if name in found else "–", "", "none") for name in names)
    return Course(
        key="vote",
        name=split_name("Majority vote"),
        tags=(),
        unit="win rate, %",
        kind="vote",
        label=_label("Majority vote", names, rates),
        axis=axis,
        points=tuple(point for point in points if point is not None),
        lines=lines(points, apart),
        breaks=break_lines(gaps, len(names)),
        rows=(Row("win rate", rates), Row("against", against)),
        missing=_missing(history, VOTE),
    )


def _steps(names: Sequence[str], gaps: Sequence[Sequence[int]]) -> list[tuple[str, str, Sequence[int]]]:
    return list(zip(names, names[1:], gaps, strict=False))


def _same_scale(found: Mapping[str, Mapping[str, Any]], a: str, b: str) -> bool:
    """Whether two releases are held against the same one, or one against the other."""
    return (found[a]["b"] if a in found else a) == (found[b]["b"] if b in found else b)


def scorer_course(history: History, names: Sequence[str], judge: str) -> Course:
    """A scorer's means, coloured by the paired difference to what each release is held against."""
    info = history["scorers"][judge]
    lower = info["direction"] == "lower"
    means = {entry["release"]: entry for entry in history["means"] if entry["scorer"] == judge}
    found = entries_of(history, judge)
    values = [value for entry in means.values() for value in (entry["mean"], *(entry["ci95"] or ()))]
    axis = mean_axis(values, HEIGHTS["scorer"])
    shape: Shape = "dot" if info["role"] == "votes" else "ring"
    differences = {name: difference_cell(entry, lower) for name, entry in found.items()}
    points = [
        _point(
            column_x(i, len(names)),
            axis,
            means[name]["mean"],
            means[name]["ci95"],
            shape,
            differences[name].state if name in differences else "ink",
        )
        if name in means
        else None
        for i, name in enumerate(names)
    ]
    gaps = _gaps(history, names, judge)
    spread = max(values) - min(values)
    digits = decimals_for(spread)
    absent = Cell("–", "", "none")
    mean_cells = tuple(_mean_cell(means[name], digits) if name in means else absent for name in names)
    difference_cells = tuple(differences.get(name, absent) for name in names)
    held = {entry["b"] for entry in found.values()}
    tags = (["held out"] if shape == "ring" else []) + (["prompt-blind"] if info["prompt_blind"] else [])
    return Course(
        key=judge,
        name=split_name(judge),
        tags=tuple(tags + (["lower is better"] if lower else [])),
        unit=f"mean, {info['scale']}" if info["scale"] else "mean",
        kind="scorer",
        label=_label(judge, names, mean_cells),
        axis=axis,
        points=tuple(point for point in points if point is not None),
        lines=lines(points, [bool(gap) for gap in gaps]),
        breaks=break_lines(gaps, len(names)),
        rows=(Row("mean", mean_cells), Row(_against_label(history, held), difference_cells)),
        missing=_missing(history, judge),
    )


def _against_label(history: History, held: set[str]) -> str:
    if history["against"] == "previous":
        return "change"
    return f"minus {next(iter(held))}" if len(held) == 1 else "minus the first of the stretch"


def _point(x: str, axis: Axis, value: float, ci: Sequence[float] | None, shape: Shape, state: Any) -> Point:
    top, bottom = (None, None) if ci is None else (axis.y(ci[1]), axis.y(ci[0]))
    return Point(x, axis.y(value), shape, state, top, bottom)


def _mean_cell(entry: Mapping[str, Any], digits: int) -> Cell:
    ci = entry["ci95"]
    spread = "" if ci is None else " to ".join(plain(end, digits) for end in ci)
    return Cell(plain(entry["mean"], digits), spread, "ink")


def _label(what: str, names: Sequence[str], cells: Sequence[Cell]) -> str:
    """The plot in words, for who cannot see it."""
    told = [
        f"{name} {cell.value}{f' ({cell.interval})' if cell.interval else ''}"
        for name, cell in zip(names, cells, strict=True)
    ]
    return f"{what} over releases: {'; '.join(told)}"
