"""Other ways to count the vote: does the verdict rest on the rule, or on one of the voters?"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from prefbench.bench.votes_block import WITH_TRAINED_AGAINST
from prefbench.reports.view_comparison import State, Variant
from prefbench.reports.view_facts import Facts
from prefbench.reports.view_forest import ForestRow, forest_row
from prefbench.reports.view_headline import focus
from prefbench.reports.view_numbers import Name, count, join_words, split_name
from prefbench.reports.view_verdicts import VOTE_NAME, WORDS

__all__ = ["VoteCard", "VoteSection", "votes_view"]

CHANGES = "changes the verdict"
MOST_NAMED = 3
"""Comparisons that the sentence on top names."""


@dataclass(frozen=True)
class VoteCard:
    """One comparison, a row a way to count."""

    name: Name
    other: Name
    is_open: bool
    summary: str
    axis_title: str
    vote: ForestRow
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True)
class VoteSection:
    """The sentence that answers the question, then the numbers."""

    sentence: str
    cards: tuple[VoteCard, ...]
    notes: tuple[str, ...]


def _name(facts: Facts, way: Variant) -> str:
    if way.rule == WITH_TRAINED_AGAINST:
        return f"With {join_words(_added(facts, way))}, trained against"
    names = {"unanimous": "Unanimous, else a tie", "weighted": "Weighted by accuracy"}
    return names.get(way.rule, way.rule[:1].upper() + way.rule[1:])


def _added(facts: Facts, way: Variant) -> list[str]:
    return [name for name in way.voters if name not in facts.voting(way.rate.a, way.rate.b)]


def _phrase(facts: Facts, way: Variant) -> str:
    """The way in a sentence: "by the unanimous vote", "without clip"."""
    if way.rule == WITH_TRAINED_AGAINST:
        return f"with {join_words(_added(facts, way))} (trained against)"
    return f"by the {way.rule} vote" if way.rule in ("unanimous", "weighted") else way.rule


def _changing(facts: Facts, a: str, b: str) -> list[Variant]:
    vote = facts.get(a, b).state
    return [way for way in facts.ways(a, b) if way.rate.state != vote]


def _change(facts: Facts, a: str, b: str) -> str:
    """`dpo against base: open, but better without clip and with pick (trained against)`."""
    phrases: dict[State, list[str]] = {}
    for way in _changing(facts, a, b):
        phrases.setdefault(way.rate.state, []).append(_phrase(facts, way))
    told = "; ".join(f"{WORDS[state]} {join_words(ways)}" for state, ways in phrases.items())
    return f"{a} against {b} is {WORDS[facts.get(a, b).state]}, but {told}"


def _sentence(facts: Facts, pairs: list[tuple[str, str]]) -> str:
    changed = [pair for pair in pairs if _changing(facts, *pair)]
    verdicts = count(len(pairs), "verdict")
    if not changed:
        ways = sum(len(facts.ways(*pair)) for pair in pairs)
        return (
            "No other rule and no single left-out scorer changes a verdict: "
            f"{count(ways, 'other count')} of {verdicts} end like the plain majority."
        )
    told = "; ".join(_change(facts, *pair) for pair in changed[:MOST_NAMED])
    more = len(changed) - MOST_NAMED
    rest = f"; and {count(more, 'more', 'more')} below" if more > 0 else ""
    verb = "rests" if len(changed) == 1 else "rest"
    return f"{len(changed)} of {verdicts} {verb} on how the votes are counted: {told}{rest}."


def _card(facts: Facts, a: str, b: str) -> VoteCard:
    vote, ways = facts.get(a, b), facts.ways(a, b)
    changing = [_phrase(facts, way) for way in _changing(facts, a, b)]
    word = WORDS[vote.state]
    return VoteCard(
        name=split_name(a),
        other=split_name(b),
        is_open=a == focus(facts) and b == facts.baseline,
        summary=f"{word}; differs {join_words(changing)}" if changing else f"{word} by every count",
        axis_title="pairs won, %",
        vote=forest_row(vote, "diamond", VOTE_NAME),
        rows=tuple(
            forest_row(
                way.rate,
                "diamond",
                _name(facts, way),
                (f"{WORDS[way.rate.state]}: {CHANGES}",) if way.rate.state != vote.state else (),
            )
            for way in ways
        ),
    )


def _notes(block: Mapping[str, Any]) -> tuple[str, ...]:
    weights = block.get("weights")
    if not weights:
        return ()
    told = join_words([f"{name} {weight:.2f}" for name, weight in weights.items()])
    return (
        f"Weights, log(p / (1 \u2212 p)) of each voter's accuracy p on human choices, 0 up to p = 0.5 "
        f"({block['weights_source']}): {told}.",
    )


def votes_view(facts: Facts, results: Mapping[str, Any]) -> VoteSection | None:
    """The section; None for one voter, where there is one way to count, and for results of old.

    A card for every comparison with the baseline, and for those head to head whose verdict changes.
    """
    if len(facts.voters) < 2 or not facts.variants:
        return None
    against = [(name, facts.baseline) for name in facts.candidates]
    others = [
        (b, a) for a, b in combinations(facts.checkpoints, 2) if a != facts.baseline and facts.find(b, a)
    ]
    shown = against + [pair for pair in others if _changing(facts, *pair)]
    return VoteSection(
        sentence=_sentence(facts, against + others),
        cards=tuple(_card(facts, *pair) for pair in shown),
        notes=_notes(results["votes"]),
    )
