"""Several checkpoints in one order: ranks with their intervals, and what no order can say."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prefbench.reports.view_facts import State
from prefbench.reports.view_forest import PAD, Tick
from prefbench.reports.view_numbers import (
    NARROW,
    Name,
    count,
    interval_cell,
    interval_missing,
    interval_words,
    join_words,
    percent,
    split_name,
)

__all__ = ["RankMark", "RankRow", "RankSection", "ranking_view"]

MOST_TICKS = 10


@dataclass(frozen=True)
class RankMark:
    """A rank and its interval; filled where one rank is left."""

    shape: Literal["diamond"]
    state: Literal["ink", "open"]
    x: str
    low: str | None
    high: str | None
    label: str


@dataclass(frozen=True)
class RankRow:
    """One checkpoint's place."""

    name: Name
    mark: RankMark
    rank: str
    interval: str
    rate: str
    rate_interval: str
    state: State
    """Whether the rate's interval excludes one half."""


@dataclass(frozen=True)
class RankSection:
    """All places, the axis of ranks, and remarks."""

    ticks: tuple[Tick, ...]
    rows: tuple[RankRow, ...]
    cautions: tuple[str, ...]
    notes: tuple[str, ...]


def _rank_x(rank: float, worst: int) -> str:
    """Horizontal place of a rank; 1 is best and stands to the left."""
    return f"{PAD + (rank - 1) / (worst - 1) * (100 - 2 * PAD):.2f}%"


def _ticks(worst: int) -> tuple[Tick, ...]:
    step = math.ceil(worst / MOST_TICKS)
    return tuple(Tick(_rank_x(rank, worst), str(rank), minor=False) for rank in range(1, worst + 1, step))


def _row(line: Mapping[str, Any], worst: int, prompts: int) -> RankRow:
    ranks, ci = line["rank_ci95"], None if line["ci95"] is None else (line["ci95"][0], line["ci95"][1])
    if ranks is None:
        interval = spread = interval_missing(prompts)
    else:
        interval = str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}–{ranks[1]}"
        spread = f"95{NARROW}% interval {interval}"
    state: State = "open"
    if ci is not None and not ci[0] <= 0.5 <= ci[1]:
        state = "higher" if ci[0] > 0.5 else "lower"
    rate = f"{percent(line['win_rate'])}{NARROW}% against the average opponent, {interval_words(ci, prompts)}"
    return RankRow(
        name=split_name(line["checkpoint"]),
        mark=RankMark(
            shape="diamond",
            state="ink" if ranks is not None and ranks[0] == ranks[1] else "open",
            x=_rank_x(line["rank"], worst),
            low=None if ranks is None else _rank_x(ranks[0], worst),
            high=None if ranks is None else _rank_x(ranks[1], worst),
            label=f"{line['checkpoint']}: rank {line['rank']} of {worst}, {spread}; {rate}",
        ),
        rank=str(line["rank"]),
        interval=interval,
        rate=percent(line["win_rate"]),
        rate_interval=interval_cell(ci, prompts, str(line.get("ci_method") or "")),
        state=state,
    )


def _circle(names: Sequence[str]) -> str:
    return " beats ".join([*names, names[0]])


def _notes(ranking: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    circles = ranking["cycles"]["estimated"]
    if circles:
        shown = join_words([_circle(names) for names in circles[:3]])
        more = f" (and {count(len(circles) - 3, 'more circle')})" if len(circles) > 3 else ""
        notes.append(f"Circles in the estimates alone, not proven: {shown}{more}.")
    misfit = ranking["largest_misfit"]
    if misfit is None:
        notes.append(
            "Strengths on one scale do not exist here: some checkpoints are never beaten by others, or ties go with wins "
            "of one side only, and the likelihood rises without end. Ranks and win rates do not need them."
        )
    else:
        notes.append(
            f"If one strength a checkpoint said it all (Davidson's model), {misfit['a']} would win "
            f"{percent(misfit['fitted'])}{NARROW}% against {misfit['b']}; it wins {percent(misfit['win_rate'])}{NARROW}%. "
            "No other two are further off."
        )
    return tuple(notes)


def ranking_view(results: Mapping[str, Any]) -> RankSection | None:
    """The section of a results dict; None where it has no ranking: two checkpoints, or results of old."""
    ranking = results.get("ranking")
    if not ranking:
        return None
    worst = len(ranking["standings"])
    return RankSection(
        ticks=_ticks(worst),
        rows=tuple(_row(line, worst, ranking["prompts"]) for line in ranking["standings"]),
        cautions=tuple(f"A proven circle: {_circle(names)}." for names in ranking["cycles"]["proven"]),
        notes=_notes(ranking),
    )
