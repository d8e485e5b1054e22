"""Verdict cards: each checkpoint against the baseline, by the vote, every voter, every held-out scorer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.bench.votes_block import WITH_TRAINED_AGAINST
from prefbench.reports.view_facts import CONTRADICTIONS, Facts, Judge, State
from prefbench.reports.view_forest import ForestRow, forest_row
from prefbench.reports.view_headline import contradicted
from prefbench.reports.view_means import mean_words
from prefbench.reports.view_numbers import (
    NARROW,
    Name,
    count,
    interval_missing,
    join_words,
    p_text,
    percent,
    percent_interval,
    split_name,
)

__all__ = ["VerdictCard", "verdict_cards"]

PHRASES: dict[State, str] = {
    "higher": "beats",
    "lower": "loses to",
    "open": "cannot be told apart from",
}
VOTE_NAME = "Majority vote"
TRAINED_AGAINST = "trained against: does not vote"
ALPHA = 0.05
WORDS: dict[State, str] = {"higher": "better", "lower": "worse", "open": "open"}


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
    barred: tuple[ForestRow, ...]
    held_out: tuple[ForestRow, ...]
    cautions: tuple[str, ...]
    notes: tuple[str, ...]


def _tied(facts: Facts, name: str) -> str:
    vote = facts.get(name, facts.baseline)
    split = count(vote.abstained, "further pair")
    left_out = f" {split} without a majority {'is' if vote.abstained == 1 else 'are'} left out."
    rest = left_out if vote.abstained else ""
    if vote.ties == 0:
        return "The vote was never tied." + rest
    share = percent(vote.ties / vote.pairs)
    text = (
        f"The vote was tied on {vote.ties:,} of {vote.pairs:,} pairs ({share}{NARROW}%); a tie counts half."
    )
    return text + rest


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
    names = join_words(
        [f"{row.scorer}, {percent(row.win_rate)}{NARROW}% ({percent_interval(row.ci95)})" for row in against]
    )
    return (
        f"The vote rose while it fell by the held-out {names}. The electorate may have been gamed: look "
        "at the pictures before believing the vote.",
    )


def _judge_row(facts: Facts, name: str, judge: Judge) -> ForestRow:
    barred = judge.name in facts.barred(name, facts.baseline)
    tags = (
        ("held out", not judge.votes),
        ("prompt-blind", judge.prompt_blind),
        (TRAINED_AGAINST, barred),
    )
    return forest_row(
        facts.get(name, facts.baseline, judge.name),
        "cross" if barred else "dot" if judge.votes else "ring",
        judge.name,
        tuple(tag for tag, on in tags if on),
    )


def _barred_note(facts: Facts, name: str) -> str:
    """Whose votes were left out here, and what the vote would have been with them."""
    gone = [
        scorer for scorer in facts.barred(name, facts.baseline) if scorer in {j.name for j in facts.voters}
    ]
    if not gone:
        return ""
    who = [c for c in (name, facts.baseline) if set(gone) & set(facts.trained_against.get(c, ()))]
    them = "it" if len(gone) == 1 else "them"
    text = (
        f"{join_words(gone)} {'does' if len(gone) == 1 else 'do'} not vote here: {join_words(who)} "
        f"{'was' if len(who) == 1 else 'were'} trained against {them}."
    )
    for way in facts.ways(name, facts.baseline):
        if way.rule == WITH_TRAINED_AGAINST:
            state, vote = way.rate.state, facts.get(name, facts.baseline).state
            spread = percent_interval(way.rate.ci95) or interval_missing(way.rate.prompts)
            end = "as without" if state == vote else f"and not {WORDS[vote]}"
            text += (
                f" With {them} the vote would have been {percent(way.rate.win_rate)}{NARROW}% ({spread}): "
                f"{WORDS[state]}, {end}."
            )
    return text


def _planned_note(facts: Facts, name: str) -> str:
    """The p-value of the planned comparison, where the results say what was planned."""
    vote = facts.get(name, facts.baseline)
    if not vote.planned or vote.p_value is None or vote.p_adjusted is None:
        return ""
    planned = sum(bool(row.planned) for row in facts.comparisons)
    text = f"Planned; sign test over prompts, p {_equals(vote.p_value)}"
    if planned > 1:
        text += f", after Holm over {count(planned, 'planned comparison')} {p_text(vote.p_adjusted)}"
    if vote.state != "open" and vote.p_adjusted >= ALPHA:
        text += ". The verdict goes by the interval, which is not adjusted"
    return text + "."


def _equals(p: float) -> str:
    text = p_text(p)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


def verdict_cards(facts: Facts, warnings: Sequence[Mapping[str, Any]]) -> tuple[VerdictCard, ...]:
    """One card for each checkpoint but the baseline, in the order of the run."""
    cards = []
    for name in facts.candidates:
        state, gamed = facts.outcome(name, facts.baseline), bool(contradicted(facts, name))
        held = [facts.get(name, facts.baseline, judge.name) for judge in facts.held_out]
        rows = [(judge, _judge_row(facts, name, judge)) for judge in facts.judges]
        means = [
            f"{row.scorer}, held out: mean difference {mean_words(row)}." for row in held if mean_words(row)
        ]
        notes = (_barred_note(facts, name), *means, _planned_note(facts, name), _tied(facts, name))
        cards.append(
            VerdictCard(
                name=split_name(name),
                baseline=split_name(facts.baseline),
                tone="gamed" if gamed else state,
                phrase="wins the vote against" if gamed else PHRASES[state],
                axis_title="pairs won, %",
                vote=forest_row(facts.get(name, facts.baseline), "diamond", VOTE_NAME),
                voters=tuple(row for judge, row in rows if judge.votes and row.mark.shape == "dot"),
                barred=tuple(row for judge, row in rows if judge.votes and row.mark.shape == "cross"),
                held_out=tuple(row for judge, row in rows if not judge.votes),
                cautions=_cautions(facts, name, warnings),
                notes=tuple(note for note in notes if note),
            )
        )
    return tuple(cards)
