"""Verdict cards: each checkpoint against the baseline, by the vote, every voter, every held-out scorer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.reports.view_facts import CONTRADICTIONS, Facts, State
from prefbench.reports.view_forest import ForestRow, forest_row
from prefbench.reports.view_headline import contradicted
from prefbench.reports.view_means import mean_words
from prefbench.reports.view_numbers import NARROW, Name, join_words, percent, split_name

__all__ = ["VerdictCard", "verdict_cards"]

PHRASES: dict[State, str] = {
    "higher": "beats",
    "lower": "loses to",
    "open": "cannot be told apart from",
}
VOTE_NAME = "Majority vote"


@dataclass(frozen=True)
class VerdictCard:
    """One forest plot with its title and what must be read with it."""

    name: Name
    baseline: Name
    tone: str
    phrase: str
    axis_title: str
    vote: ForestRow
    voters: tuple[ForestRow, ...]
    held_out: tuple[ForestRow, ...]
    cautions: tuple[str, ...]
    notes: tuple[str, ...]


def _tied(facts: Facts, name: str) -> str:
    vote = facts.get(name, facts.baseline)
    if vote.ties == 0:
        return "The vote was never tied."
    share = percent(vote.ties / vote.pairs)
    return (
        f"The vote was tied on {vote.ties:,} of {vote.pairs:,} pairs ({share}{NARROW}%); a tie counts half."
    )


def _concerns(warning: Mapping[str, Any], name: str, baseline: str) -> bool:
    """A head-to-head surprise concerns both sides; everything else on a card is about the baseline."""
    pair = set(warning["checkpoints"][:2])
    return name in pair and (warning["kind"] == "head_to_head" or baseline in pair)


def _cautions(facts: Facts, name: str, warnings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    about = tuple(
        str(warning["text"])
        for warning in warnings
        if warning["kind"] in CONTRADICTIONS and _concerns(warning, name, facts.baseline)
    )
    against = contradicted(facts, name)
    if about or not against:
        return about
    # A results file without its own warning must not hide what its numbers say.
    means = [f"{row.scorer}: mean difference {mean_words(row)}" for row in against if mean_words(row)]
    detail = f" ({join_words(means)})" if means else ""
    names = join_words([row.scorer for row in against])
    return (
        f"The vote rose while held-out {names} got worse{detail}. The electorate may have been gamed: look "
        "at the pictures before believing the vote.",
    )


def verdict_cards(facts: Facts, warnings: Sequence[Mapping[str, Any]]) -> tuple[VerdictCard, ...]:
    """One card for each checkpoint but the baseline, in the order of the run."""
    cards = []
    for name in facts.candidates:
        state, gamed = facts.outcome(name, facts.baseline), bool(contradicted(facts, name))
        held = [facts.get(name, facts.baseline, judge.name) for judge in facts.held_out]
        notes = [
            f"{row.scorer}, held out: mean difference {mean_words(row)}." for row in held if mean_words(row)
        ]
        cards.append(
            VerdictCard(
                name=split_name(name),
                baseline=split_name(facts.baseline),
                tone="gamed" if gamed else state,
                phrase="wins the vote against" if gamed else PHRASES[state],
                axis_title="pairs won, %",
                vote=forest_row(facts.get(name, facts.baseline), "diamond", VOTE_NAME),
                voters=tuple(
                    forest_row(
                        facts.get(name, facts.baseline, judge.name),
                        "dot",
                        judge.name,
                        ("prompt-blind",) if judge.prompt_blind else (),
                    )
                    for judge in facts.voters
                ),
                held_out=tuple(
                    forest_row(
                        row,
                        "ring",
                        judge.name,
                        ("held out", *(("prompt-blind",) if judge.prompt_blind else ())),
                    )
                    for judge, row in zip(facts.held_out, held, strict=True)
                ),
                cautions=_cautions(facts, name, warnings),
                notes=(*notes, _tied(facts, name)),
            )
        )
    return tuple(cards)
