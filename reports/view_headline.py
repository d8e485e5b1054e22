"""The first screen: the verdict in a sentence, its interval, and what speaks against it right beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prefbench.bench.verdict import opposed
from prefbench.reports.view_facts import CONTRADICTIONS, Comparison, Facts, State
from prefbench.reports.view_glance import GlanceRow, glance_rows
from prefbench.reports.view_means import mean_words
from prefbench.reports.view_numbers import (
    NARROW,
    Name,
    count,
    interval_missing,
    interval_words,
    join_words,
    percent,
    percent_interval,
    split_name,
)

__all__ = [
    "Headline",
    "Span",
    "contradicted",
    "focus",
    "headline",
]

SHOWN_WARNINGS = 3
LONGEST_UNBROKEN = 20  # characters of a name that fit a phone's line at the size of the title

Tone = Literal["plain", "strong", "name", "higher", "lower", "open"]


@dataclass(frozen=True)
class Span:
    """A piece of a sentence and how it is set."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Headline:
    """Everything on the first screen but the facts line."""

    title: tuple[Span, ...]
    lead: tuple[Span, ...]
    against_title: str
    against: tuple[str, ...]
    warnings: tuple[str, ...]
    more_warnings: str
    glance_title: str
    glance_columns: tuple[Name, ...]
    glance: tuple[GlanceRow, ...]


def contradicted(facts: Facts, name: str) -> tuple[Comparison, ...]:
    """Held-out comparisons with the baseline that fall while the vote rises, by the rule of the warning `reward_hacking`."""
    if facts.outcome(name, facts.baseline) != "higher":
        return ()
    vote = facts.get(name, facts.baseline)
    rows = (facts.get(name, facts.baseline, judge.name) for judge in facts.held_out)
    return tuple(row for row in rows if opposed(vote.ci95, row.ci95))


def focus(facts: Facts) -> str:
    """The checkpoint the report opens with.

    A checkpoint that beats the baseline with no held-out scorer against it comes first, then one that wins
    the vote only, then one that cannot be told apart, then one that loses; among equals the one that fewest
    others beat head to head, then the highest win rate of the vote.
    """

    def rank(name: str) -> tuple[int, int, int, float]:
        order = {"higher": 0, "open": 1, "lower": 2}[facts.outcome(name, facts.baseline)]
        losses = sum(facts.outcome(name, other) == "lower" for other in facts.candidates if other != name)
        return order, len(contradicted(facts, name)) > 0, losses, -facts.get(name, facts.baseline).win_rate

    return min(facts.candidates, key=rank)


def _bracketed(row: Comparison) -> str:
    spread = percent_interval(row.ci95) or interval_missing(row.prompts)
    return f"{percent(row.win_rate)}{NARROW}% ({spread})"


def _name(name: str) -> Span:
    """A name that stays on one line where it is short enough for a phone."""
    return Span(name, "name" if len(name) <= LONGEST_UNBROKEN else "plain")


def _names(names: Sequence[str]) -> list[Span]:
    """Names in a sentence: a, b and c."""
    spans: list[Span] = []
    for place, name in enumerate(names):
        if place:
            spans.append(Span(" and " if place == len(names) - 1 else ", "))
        spans.append(_name(name))
    return spans


def _title(facts: Facts, name: str) -> tuple[Span, ...]:
    vote = facts.get(name, facts.baseline)
    state = facts.outcome(name, facts.baseline)
    rate = Span(f"win rate {percent(vote.win_rate)}{NARROW}%", "name")
    one, base = _name(name), _name(facts.baseline)
    against = contradicted(facts, name)
    if against:
        verb = " says it got worse" if len(against) == 1 else " say it got worse"
        judges = _names([row.scorer for row in against])
        return one, Span(" wins the vote against "), base, Span(", but held-out "), *judges, Span(verb)
    if state == "higher":
        return one, Span(" beats "), base, Span(", "), rate
    others = len(facts.candidates)
    if others > 1:
        if all(facts.outcome(other, facts.baseline) == "lower" for other in facts.candidates):
            return Span(f"All {others} checkpoints lose to "), base
        return Span(f"None of {others} checkpoints beats "), base
    if state == "open":
        return one, Span(" against "), base, Span(" stays open, "), rate
    return one, Span(" loses to "), base, Span(", "), rate


def _lead(facts: Facts, name: str) -> tuple[Span, ...]:
    vote = facts.get(name, facts.baseline)
    voting = facts.voting(name, facts.baseline)
    judges = count(len(voting), "scorer")
    what = f"Majority vote of {judges}" if len(voting) > 1 else f"By {voting[0]} alone,"
    tone: Tone = "strong" if vote.state == "open" else vote.state
    over = count(vote.prompts, "prompt")
    if vote.pairs != vote.prompts:
        over += f" ({count(vote.pairs, 'pair')})"
    spans = [Span(f"{what} over {over}. ")]
    if len(facts.candidates) > 1:
        if facts.outcome(name, facts.baseline) != "higher":
            spans.append(Span("The best of them, "))
        spans += [_name(name), Span(" against "), _name(facts.baseline), Span(": ")]
    spans += [Span(f"{percent(vote.win_rate)}{NARROW}%", tone), Span(" of pairs won, ties counted half; ")]
    if vote.ci95 is None:
        spans.append(Span(f"{interval_missing(vote.prompts)}."))
    else:
        spans += [
            Span(f"95{NARROW}% interval "),
            Span(interval_words(vote.ci95, vote.prompts), tone),
            Span("."),
        ]
    return (*spans, *_head_to_head(facts, name))


def _head_to_head(facts: Facts, name: str) -> list[Span]:
    groups: dict[State, list[str]] = {"higher": [], "open": [], "lower": []}
    for other in facts.candidates:
        if other != name and facts.find(name, other):
            groups[facts.outcome(name, other)].append(other)
    words: dict[State, str] = {"higher": "beats ", "open": "cannot be told apart from ", "lower": "loses to "}
    phrases = [(words[state], names) for state, names in groups.items() if names]
    if not phrases:
        return []
    spans = [Span(" Head to head it ")]
    for place, (phrase, names) in enumerate(phrases):
        spans += [Span(("; it " if place else "") + phrase), *_names(names)]
    return [*spans, Span(".")]


def _against(facts: Facts, name: str, said: set[frozenset[str]]) -> tuple[str, tuple[str, ...]]:
    """What does not fit the verdict, as (heading, sentences).

    Args:
        facts: of the run.
        name: the checkpoint the report opens with.
        said: pairs of checkpoints whose contradiction a warning beside this already states.
    """
    state = facts.outcome(name, facts.baseline)
    rows = {judge.name: facts.get(name, facts.baseline, judge.name) for judge in facts.judges}
    held, barred = {judge.name for judge in facts.held_out}, facts.barred(name, facts.baseline)
    ways = {"higher": f"sees {name} ahead", "lower": f"sees {facts.baseline} ahead"}
    lines = []
    for scorer, row in rows.items():
        if row.state in ("open", state) or (scorer in held and {name, facts.baseline} in said):
            continue
        apart = (
            "held out" if scorer in held else "trained against and without a vote" if scorer in barred else ""
        )
        who = f"{scorer}, {apart}," if apart else scorer
        lines.append(f"{who} {ways[row.state]}: {_bracketed(row)}.")
    if state == "open":
        return "Behind the open vote", tuple(lines)
    lines += [
        f"By mean score {scorer}, held out, "
        f"{'got worse' if facts.mean_state(row) == 'lower' else 'got better'}: {mean_words(row)}."
        for scorer, row in rows.items()
        if scorer in held and facts.mean_state(row) not in ("open", state)
    ]
    unsure = [(scorer, _bracketed(row)) for scorer, row in rows.items() if row.state == "open"]
    if len(unsure) == 1:
        lines.append(f"{unsure[0][0]} cannot tell the two apart: {unsure[0][1]}.")
    elif unsure:
        lines.append(f"Cannot tell the two apart: {join_words([' '.join(pair) for pair in unsure])}.")
    lines += [
        f"Head to head, {other} beats it: {_bracketed(facts.get(other, name))}."
        for other in facts.candidates
        if other != name
        and {name, other} not in said
        and facts.find(name, other)
        and facts.outcome(name, other) == "lower"
    ]
    return "What does not fit", tuple(lines)


def _nothing_against(facts: Facts, state: State) -> str:
    if state == "open":
        return "No single scorer can tell the two apart either."
    if not facts.held_out:
        return (
            "No voter sees it the other way. No scorer was held out, so nothing here could show that the "
            "vote was gamed."
        )
    return "No contradiction was found: every voter and every held-out scorer sees the same one ahead."


def headline(facts: Facts, warnings: Sequence[Mapping[str, Any]]) -> Headline:
    """The first screen.

    At most three warnings that contradict a verdict on the opening checkpoint or the baseline stand on
    it; the rest are counted.
    """
    name = focus(facts)
    contradictions = [
        warning
        for warning in warnings
        if warning["kind"] in CONTRADICTIONS and {name, facts.baseline} & set(warning["checkpoints"][:2])
    ]
    # Those about the opening checkpoint first; sorting keeps the order of the results, gravest first.
    contradictions.sort(key=lambda warning: name not in warning["checkpoints"])
    shown = contradictions[:SHOWN_WARNINGS]
    hidden = len(warnings) - len(shown)
    title, lines = _against(facts, name, {frozenset(warning["checkpoints"][:2]) for warning in shown})
    return Headline(
        title=_title(facts, name),
        lead=_lead(facts, name),
        against_title=title,
        against=lines or (() if shown else (_nothing_against(facts, facts.outcome(name, facts.baseline)),)),
        warnings=tuple(str(warning["text"]) for warning in shown),
        more_warnings=count(hidden, "more warning" if shown else "warning") + " below" if hidden > 0 else "",
        glance_title=f"pairs won against {facts.baseline}, %",
        glance_columns=(split_name("vote"), *(split_name(judge.name) for judge in facts.held_out)),
        glance=glance_rows(facts),
    )
