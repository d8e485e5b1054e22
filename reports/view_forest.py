"""Geometry of the forest plots: where a rate falls, and which mark stands there.

Plots are SVGs without a viewBox: x is a percentage of the plot's width, so that marks keep their shape and
the axis labels stand over them at any width. One mark has one meaning: a diamond is the vote, a dot is a
voter, a ring with a core is held out, a grey cross has no vote because one of the two was trained against
it. Filled means that the interval excludes one half; hollow and grey that
it does not.
"""

from dataclasses import dataclass
from typing import Literal

from prefbench.reports.view_facts import Comparison, State
from prefbench.reports.view_numbers import (
    NARROW,
    Name,
    interval_cell,
    interval_missing,
    interval_words,
    p_text,
    percent,
    split_name,
)

__all__ = ["PAD", "TICKS", "ForestRow", "Mark", "Shape", "Tick", "axis_ticks", "forest_row", "mark", "plot_x"]

Shape = Literal["diamond", "dot", "ring", "cross"]

PAD = 3.0  # per cent of the plot's width kept free at either end, so that a mark at 0 or 100 is not cut
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)

STATE_WORDS: dict[State, str] = {"higher": "higher", "lower": "lower", "open": "cannot be told apart"}


def plot_x(rate: float) -> str:
    """Horizontal place of a win rate, as an SVG percentage.

    >>> plot_x(0.0), plot_x(0.5), plot_x(1.0)
    ('3.00%', '50.00%', '97.00%')
    """
    return f"{PAD + rate * (100 - 2 * PAD):.2f}%"


@dataclass(frozen=True)
class Tick:
    """One label of the axis."""

    x: str
    text: str
    minor: bool


def axis_ticks() -> tuple[Tick, ...]:
    """0, 25, 50, 75 and 100 per cent: always the whole range, so that plots can be compared."""
    return tuple(Tick(plot_x(rate), percent(rate, 0), minor=rate in (0.25, 0.75)) for rate in TICKS)


@dataclass(frozen=True)
class Mark:
    """One estimate with its interval; `low` and `high` are None where there is no interval."""

    shape: Shape
    state: State | Literal["barred"]
    x: str
    low: str | None
    high: str | None
    label: str


def mark(comparison: Comparison, shape: Shape, who: str) -> Mark:
    """The mark of one comparison, and its words for who cannot see it."""
    ci = comparison.ci95
    spread = (
        interval_missing(comparison.prompts)
        if ci is None
        else f"95{NARROW}% interval {interval_words(ci, comparison.prompts)}"
    )
    return Mark(
        shape=shape,
        state="barred" if shape == "cross" else comparison.state,
        x=plot_x(comparison.win_rate),
        low=None if ci is None else plot_x(ci[0]),
        high=None if ci is None else plot_x(ci[1]),
        label=f"{who}: {percent(comparison.win_rate)}{NARROW}%, {spread}, {STATE_WORDS[comparison.state]}",
    )


@dataclass(frozen=True)
class ForestRow:
    """A line of a forest plot: name, mark, number, interval."""

    name: Name
    tags: tuple[str, ...]
    mark: Mark
    rate: str
    interval: str
    prompts: str
    p: str = ""
    p_adjusted: str = ""


def forest_row(comparison: Comparison, shape: Shape, name: str, tags: tuple[str, ...] = ()) -> ForestRow:
    """One comparison as a line."""
    return ForestRow(
        name=split_name(name),
        tags=tags,
        mark=mark(comparison, shape, name),
        rate=percent(comparison.win_rate),
        interval=interval_cell(comparison.ci95, comparison.prompts, comparison.ci_method),
        prompts=f"{comparison.prompts:,}",
        p=p_text(comparison.p_value),
        p_adjusted=p_text(comparison.p_adjusted),
    )
