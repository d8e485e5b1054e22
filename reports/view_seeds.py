"""Methods over their trainings: the win rate of a method, and how far single trainings lie apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefbench.reports.view_comparison import VOTE, comparison_of
from prefbench.reports.view_facts import Facts
from prefbench.reports.view_forest import ForestRow, Shape, forest_row, plot_x
from prefbench.reports.view_numbers import NARROW, count, join_words, percent
from prefbench.reports.view_verdicts import TRAINED_AGAINST, VOTE_NAME

__all__ = ["SeedGroup", "SeedRow", "SeedSection", "seeds_view"]


@dataclass(frozen=True)
class SeedRow:
    """A win rate over all trainings, the places of single ones, and their spread."""

    line: ForestRow
    seeds: tuple[str, ...]
    words: str
    """The single trainings, for who cannot see the dots."""
    trainings: str
    spread: str


@dataclass(frozen=True)
class SeedGroup:
    """All scorers on one comparison."""

    title: str
    rows: tuple[SeedRow, ...]


@dataclass(frozen=True)
class SeedSection:
    """The vote on every comparison of methods, then every scorer."""

    axis_title: str
    votes_title: str
    votes: tuple[SeedRow, ...]
    groups: tuple[SeedGroup, ...]
    groups_title: str
    notes: tuple[str, ...]


def _row(entry: Mapping[str, Any], name: str, shape: Shape, tags: tuple[str, ...]) -> SeedRow:
    rates = [float(single["win_rate"]) for single in entry["per_seed"]]
    unknown = {"slice": "all", "pairs": 0, "wins": 0, "ties": 0, "losses": 0, "p_value": None}
    unknown |= {"mean_difference": None, "mean_difference_ci95": None}
    line = forest_row(comparison_of(unknown | dict(entry)), shape, name, tags)
    spread = "" if entry["seed_spread"] is None else f"{100 * entry['seed_spread']:.1f}"
    # Null: a checkpoint of which no training is known; it stands for itself.
    counts = [n or 1 for n in entry["training_seeds"]]
    return SeedRow(
        line=line,
        seeds=tuple(plot_x(rate) for rate in rates),
        words=f"single trainings {join_words([percent(rate) for rate in rates])}{NARROW}%",
        trainings=f"{counts[0]}, paired" if entry.get("paired") else f"{counts[0]} v {counts[1]}",
        spread=spread,
    )


def _groups(methods: Mapping[str, Any], facts: Facts) -> tuple[SeedGroup, ...]:
    comparisons, members = methods["comparisons"], methods["groups"]
    judges = {judge.name: judge for judge in facts.judges}
    groups = []
    for a, b in dict.fromkeys((entry["a"], entry["b"]) for entry in comparisons):
        barred = {s for x in (*members[a], *members[b]) for s in facts.trained_against.get(x, ())}
        rows = []
        for entry in comparisons:
            judge = judges.get(entry["scorer"])
            if (entry["a"], entry["b"]) == (a, b) and judge is not None:
                shape: Shape = "cross" if judge.name in barred else "dot" if judge.votes else "ring"
                tags = (("held out", not judge.votes), (TRAINED_AGAINST, judge.name in barred))
                rows.append(_row(entry, judge.name, shape, tuple(tag for tag, on in tags if on)))
        groups.append(SeedGroup(f"{a} over {b}", tuple(rows)))
    return tuple(groups)


def seeds_view(facts: Facts, results: Mapping[str, Any]) -> SeedSection | None:
    """The section; None where no method has several trainings, and for results of old."""
    methods = results.get("methods")
    if not methods:
        return None
    comparisons = methods["comparisons"]
    votes = [entry for entry in comparisons if entry["scorer"] == VOTE]
    groups = _groups(methods, facts)
    several = [
        f"{name} is {join_words(names)}" for name, names in methods["groups"].items() if len(names) > 1
    ]
    alone = [name for name, names in methods["groups"].items() if len(names) == 1]
    notes = [f"Trainings: {'; '.join(several)}."]
    if alone:
        verb = "stands for itself and is" if len(alone) == 1 else "stand for themselves and are"
        notes.append(
            f"{join_words(alone)} {verb} no method: other trainings of the same kind may lie elsewhere."
        )
    return SeedSection(
        axis_title="pairs won, %",
        votes_title=VOTE_NAME,
        votes=tuple(_row(entry, f"{entry['a']} over {entry['b']}", "diamond", ()) for entry in votes),
        groups=groups,
        groups_title=f"By each of {count(len(facts.judges), 'scorer')}",
        notes=tuple(notes),
    )
