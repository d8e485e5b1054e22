"""Where a checkpoint wins and where not: the vote against the baseline by category and by challenge."""

from dataclasses import dataclass

from prefbench.reports.view_facts import VOTE, Facts, State
from prefbench.reports.view_forest import ForestRow, forest_row
from prefbench.reports.view_headline import focus
from prefbench.reports.view_numbers import NARROW, Name, count, split_name

__all__ = ["SliceCard", "SliceGroup", "slice_cards", "slice_note"]


@dataclass(frozen=True)
class SliceGroup:
    """All slices of one kind."""

    kind: str
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True)
class SliceCard:
    """The slices of one checkpoint; only the one the report opens with is unfolded."""

    name: Name
    baseline: Name
    is_open: bool
    overall: ForestRow
    summary: str
    axis_title: str
    groups: tuple[SliceGroup, ...]
    tests: bool
    """Whether the results say what was planned, and so have adjusted p-values."""


def _slices(facts: Facts) -> dict[str, list[str]]:
    """Slice names by kind ("category"), in the order of the results."""
    kinds: dict[str, list[str]] = {}
    for row in facts.comparisons:
        kind, separator, _ = row.slice.partition("=")
        if separator and row.slice not in kinds.setdefault(kind, []):
            kinds[kind].append(row.slice)
    return kinds


def _summary(states: list[State]) -> str:
    parts = [
        f"{states.count(state)} {word}"
        for state, word in (("higher", "higher"), ("lower", "lower"), ("open", "open"))
        if state in states
    ]
    return ", ".join(parts)


def slice_cards(facts: Facts) -> tuple[SliceCard, ...]:
    """One card for each checkpoint but the baseline; empty where the prompts have no categories."""
    kinds = _slices(facts)
    if not kinds:
        return ()
    cards = []
    for name in facts.candidates:
        groups = []
        states: list[State] = []
        for kind, slices in kinds.items():
            found = [(s, facts.find(name, facts.baseline, VOTE, s)) for s in slices]
            rows = [
                forest_row(
                    row,
                    "diamond",
                    s.partition("=")[2] or "(none)",
                    ("planned",) if row.planned else (),
                )
                for s, row in found
                if row is not None
            ]
            states += [row.state for _, row in found if row is not None]
            groups.append(SliceGroup(kind, tuple(rows)))
        vote = facts.get(name, facts.baseline)
        planned = ("planned",) if vote.planned else ()
        cards.append(
            SliceCard(
                name=split_name(name),
                baseline=split_name(facts.baseline),
                is_open=name == focus(facts),
                overall=forest_row(vote, "diamond", "All prompts", planned),
                summary=_summary(states),
                axis_title="pairs won, %",
                groups=tuple(group for group in groups if group.rows),
                tests=vote.planned is not None,
            )
        )
    return tuple(cards)


def _planned_note(facts: Facts, slices: int, intervals: int) -> str:
    planned = sum(bool(row.planned) for row in facts.comparisons)
    explored = len(facts.comparisons) - planned
    chosen = {row.slice for row in facts.comparisons if row.planned} - {"all"}
    first = (
        f"{count(len(chosen), 'slice')} of {slices} {'was' if len(chosen) == 1 else 'were'} planned and "
        f"{'is' if len(chosen) == 1 else 'are'} marked; the others are exploration."
        if chosen
        else "Exploratory: no slice was planned."
    )
    left = intervals - sum(bool(row.planned) and row.slice != "all" for row in facts.comparisons)
    return (
        f"{first} p is the sign test's; beside it, adjusted: by Holm over the {count(planned, 'planned comparison')}, by "
        f"Benjamini-Hochberg over the {explored:,} explored. Intervals are not adjusted: of {count(left, 'explored interval')} "
        f"about {0.05 * left:.1f} would exclude 50{NARROW}% by chance, so none of them carries a verdict by itself."
    )


def slice_note(facts: Facts, cards: tuple[SliceCard, ...]) -> str:
    """The warning that goes with looking at many slices, of all checkpoints."""
    slices = sum(map(len, _slices(facts).values()))
    intervals = sum(len(group.rows) for card in cards for group in card.groups)
    if cards and cards[0].tests:
        return _planned_note(facts, slices, intervals)
    return (
        "Exploratory: nothing here was planned, and no interval is adjusted. Of "
        f"{count(intervals, 'interval')} about {0.05 * intervals:.1f} would exclude 50{NARROW}% by chance, so no "
        "slice carries a verdict by itself."
    )
