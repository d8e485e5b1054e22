"""Geometry of one course over releases: a column a release, a mark with its interval, lines where releases may be joined.

Like the forest plots these are SVGs without a viewBox: x is a percentage of the plot's width, y is in pixels, so marks keep
their shape at any width and stand over the names and numbers of the table's columns. Marks mean what they mean in the report:
a diamond is the vote, a dot a voter, a ring a held-out scorer; filled where the interval of the paired comparison leaves out
"no difference". A mark in the ink's colour is what others are held against.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prefbench.reports.view_comparison import State, comparison_of
from prefbench.reports.view_forest import Shape
from prefbench.reports.view_numbers import (
    NARROW,
    Name,
    difference_words,
    interval_missing,
    percent,
    percent_interval,
    split_name,
)

__all__ = [
    "HEIGHTS",
    "Axis",
    "BreakLine",
    "Cell",
    "Line",
    "Point",
    "State4",
    "break_lines",
    "column_x",
    "difference_cell",
    "lines",
    "mean_axis",
    "rate_cell",
    "rate_state",
    "vote_axis",
]

State4 = Literal["higher", "lower", "open", "ink"]
"""Better, worse, cannot be told apart; or what others are held against."""

HEIGHTS = {"vote": 230, "scorer": 170}
"""Of the plots in pixels; the stylesheet has the same."""

PAD = 16
"""Pixels kept free above and below, so that no mark is cut."""

MOST_TICKS = 5

VOTE_RANGES = ((0.1, 0.05), (0.2, 0.1), (0.3, 0.1), (0.5, 0.25))
"""Half-width of the axis of win rates around one half, and its step: the first that holds every interval."""


@dataclass(frozen=True)
class AxisTick:
    """One label of the vertical axis and its line."""

    y: float
    text: str
    half: bool


@dataclass(frozen=True)
class Axis:
    """A vertical axis from `low` to `high` over a plot of `height` pixels."""

    low: float
    high: float
    height: int
    ticks: tuple[AxisTick, ...]

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return _y(value, self.low, self.high, self.height)


@dataclass(frozen=True)
class Point:
    """One mark; `top` and `bottom` of its interval are None where it has none. `mark` draws it as in the forest plots."""

    x: str
    y: float
    shape: Shape
    state: State4
    top: float | None
    bottom: float | None


@dataclass(frozen=True)
class Line:
    """Between two neighbours that may be compared."""

    x1: str
    y1: float
    x2: str
    y2: float


@dataclass(frozen=True)
class BreakLine:
    """Between two neighbours that may not be; the numbers are those of the list of breaks."""

    x: str
    numbers: str
    first: int


@dataclass(frozen=True)
class Cell:
    """What stands under a mark."""

    value: str
    interval: str
    state: State4 | Literal["none"]
    """"none" for words: a release's name, or a dash."""

    @property
    def name(self) -> Name:
        """The value as a name that may break."""
        return split_name(self.value)


def column_x(i: float, columns: int) -> str:
    """Middle of column `i`, or of the line before it at i - 0.5, as an SVG percentage.

    >>> column_x(0, 4), column_x(3, 4)
    ('12.50%', '87.50%')
    """
    return f"{100 * (i + 0.5) / columns:.2f}%"


def _y(value: float, low: float, high: float, height: int) -> float:
    share = (value - low) / (high - low)
    return round(height - PAD - share * (height - 2 * PAD), 1)


def vote_axis(rates: Sequence[float], height: int) -> Axis:
    """The narrowest of a few ranges around one half that holds all rates and interval ends.

    >>> [tick.text for tick in vote_axis([0.52, 0.58], 100).ticks]
    ['40', '45', '50', '55', '60']
    """
    farthest = max((abs(rate - 0.5) for rate in rates), default=0.0)
    half, step = next((pair for pair in VOTE_RANGES if farthest <= pair[0] + 1e-9), VOTE_RANGES[-1])
    low, high = 0.5 - half, 0.5 + half
    steps = round(2 * half / step)
    values = [low + k * step for k in range(steps + 1)]
    ticks = tuple(AxisTick(_y(v, low, high, height), percent(v, 0), abs(v - 0.5) < 1e-9) for v in values)
    return Axis(low, high, height, ticks)


def mean_axis(values: Sequence[float], height: int) -> Axis:
    """A range around all values with round labels, at most `MOST_TICKS` of them.

    >>> [tick.text for tick in mean_axis([20.1, 21.9], 100).ticks]
    ['20', '20.5', '21', '21.5', '22']
    """
    low, high = min(values), max(values)
    if not high > low:
        around = abs(low) * 0.05 or 1.0
        low, high = low - around, high + around
    step = _round_step((high - low) / (MOST_TICKS - 1))
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) + (step / 10 ** math.floor(math.log10(step)) == 2.5)
    marks = [low + k * step for k in range(round((high - low) / step) + 1)]
    ticks = tuple(AxisTick(_y(v, low, high, height), _label(v, digits), half=False) for v in marks)
    return Axis(low, high, height, ticks)


def _round_step(width: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is at least `width`."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= width * (1 - 1e-9))


def _label(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text.replace("-", "\u2212")


def lines(points: Sequence[Point | None], broken: Sequence[bool]) -> tuple[Line, ...]:
    """Joins neighbours; `broken[i]` keeps i and i + 1 apart."""
    return tuple(
        Line(a.x, a.y, b.x, b.y)
        for i, (a, b) in enumerate(itertools.pairwise(points))
        if a is not None and b is not None and not broken[i]
    )


def break_lines(numbers: Sequence[Sequence[int]], columns: int) -> tuple[BreakLine, ...]:
    """A line at each gap with a break; `numbers[i]` are those between columns i and i + 1."""
    return tuple(
        BreakLine(column_x(i + 0.5, columns), ", ".join(map(str, each)), each[0])
        for i, each in enumerate(numbers)
        if each
    )


def rate_cell(entry: Mapping[str, Any]) -> Cell:
    """A win rate and its interval."""
    row = comparison_of(entry)
    return Cell(
        f"{percent(row.win_rate)}{NARROW}%",
        percent_interval(row.ci95) or interval_missing(row.prompts),
        row.state,
    )


def rate_state(entry: Mapping[str, Any]) -> State:
    """Where the interval of a win rate lies."""
    return comparison_of(entry).state


def difference_cell(entry: Mapping[str, Any], lower_is_better: bool) -> Cell:
    """A mean paired difference and its interval; its state is better or worse, whatever the direction."""
    ci = comparison_of(entry).mean_difference_ci95
    number, spread = difference_words(entry["mean_difference"], ci, entry["prompts"])
    if ci is None or ci[0] <= 0 <= ci[1]:
        return Cell(number, spread, "open")
    return Cell(number, spread, "higher" if (ci[0] > 0) != lower_is_better else "lower")
