"""The page of `prefbench history` as one frozen value: wording and geometry, before any HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefbench.reports.view_course import rate_state
from prefbench.reports.view_facts import VOTE
from prefbench.reports.view_headline import LONGEST_UNBROKEN, Span
from prefbench.reports.view_history_courses import Course, History, entries_of, scorer_course, vote_course
from prefbench.reports.view_numbers import (
    NARROW,
    Name,
    count,
    interval_words,
    join_words,
    percent,
    split_name,
)
from prefbench.reports.view_record import Entry

__all__ = ["Course", "HistoryView", "build_history_view"]

BESIDE = 4
"""Up to so many releases, two scorers stand side by side on a wide screen."""


@dataclass(frozen=True)
class Break:
    """One entry of the list of breaks."""

    number: int
    after: Name
    before: Name
    kind: str
    text: str
    concerns: str


@dataclass(frozen=True)
class ReleaseRow:
    """One line of the table of releases."""

    name: Name
    saved: str
    checkpoint: str
    spec: str
    suite: str
    size: str
    version: str
    sha256: str


@dataclass(frozen=True)
class HistoryView:
    """What the template loops over and prints."""

    page_title: str
    kicker: str
    title: tuple[Span, ...]
    lead: tuple[Span, ...]
    cautions: tuple[str, ...]
    facts: tuple[Entry, ...]
    names: tuple[Name, ...]
    vote: Course
    vote_intro: str
    scorers: tuple[Course, ...]
    side_by_side: bool
    has_held_out: bool
    breaks: tuple[Break, ...]
    notes: tuple[str, ...]
    releases: tuple[ReleaseRow, ...]
    methods: tuple[str, ...]


def build_history_view(history: History) -> HistoryView:
    """The view of a history dict, as `prefbench.bench.baselines.history.make_history` returns it."""
    names = [release["name"] for release in history["releases"]]
    newest = names[-1]
    title, lead = _headline(history, newest)
    scorers = tuple(scorer_course(history, names, name) for name in history["scorers"])
    return HistoryView(
        page_title="".join(span.text for span in title) + " · prefbench history",
        kicker=f"prefbench {history['prefbench']} · history of {count(len(names), 'release')} · {history['created'][:10]}",
        title=title,
        lead=lead,
        cautions=_cautions(history, newest),
        facts=_facts(history),
        names=tuple(split_name(name) for name in names),
        vote=vote_course(history, names),
        vote_intro=_vote_intro(history),
        scorers=scorers,
        side_by_side=len(names) <= BESIDE,
        has_held_out=bool(history["electorate"]["held_out"]),
        breaks=tuple(_break(number, each, history) for number, each in enumerate(history["breaks"], start=1)),
        notes=tuple(history["notes"]),
        releases=tuple(_release(each) for each in history["releases"]),
        methods=_methods(history),
    )


def _headline(history: History, newest: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    vote = entries_of(history, VOTE).get(newest)
    dates = [release["saved"][:10] for release in history["releases"]]
    course = f"{count(len(dates), 'release')}, saved from {min(dates)} to {max(dates)}."
    if vote is None:
        opening = (_name(newest), Span(" is held against no other release"))
        return opening, (Span(f"{course} {_why_alone(history, newest)}"),)
    words = {"higher": "beats", "lower": "loses to", "open": "cannot be told from"}
    state = rate_state(vote)
    title = (
        _name(newest),
        Span(f" {words[state]} "),
        _name(vote["b"]),
        Span(", "),
        Span(f"win rate {percent(vote['win_rate'])}{NARROW}%", "name"),
    )
    ci = None if vote["ci95"] is None else (vote["ci95"][0], vote["ci95"][1])
    voters = vote["voters"]
    by = f"by the vote of {count(len(voters), 'scorer')}" if len(voters) > 1 else f"by {voters[0]} alone"
    lead = (
        Span(f"{count(vote['prompts'], 'prompt')}, {by}; 95{NARROW}% interval "),
        Span(interval_words(ci, vote["prompts"]), "open" if state == "open" else state),
        Span(f". {course}"),
    )
    return title, lead


def _name(name: str) -> Span:
    """A name that stays on one line where it is short enough for a phone."""
    return Span(name, "name" if len(name) <= LONGEST_UNBROKEN else "plain")


def _why_alone(history: History, newest: str) -> str:
    missing = [
        each["reason"] for each in history["missing"] if each["release"] == newest and each["scorer"] == VOTE
    ]
    if missing:
        return f"{missing[0]}."
    before = [each for each in history["breaks"] if each["before"] == newest and VOTE in each["judges"]]
    if before:
        return f"It begins a new stretch: {before[0]['text']}."
    return "The others are held against it."


def _cautions(history: History, newest: str) -> tuple[str, ...]:
    """Held-out scorers that contradict the vote on the newest release; and how often the vote's course breaks."""
    vote = entries_of(history, VOTE).get(newest)
    found = []
    if vote is not None and rate_state(vote) != "open":
        opposite = "lower" if rate_state(vote) == "higher" else "higher"
        for judge in history["electorate"]["held_out"]:
            entry = entries_of(history, judge).get(newest)
            if entry is not None and entry["b"] == vote["b"] and rate_state(entry) == opposite:
                found.append(
                    f"The held-out {judge} says the opposite: {percent(entry['win_rate'])}{NARROW}% against {entry['b']}. The "
                    "voters may have been gamed."
                )
    total = len({(each["after"], each["before"]) for each in history["breaks"] if VOTE in each["judges"]})
    if total:
        times = "once" if total == 1 else f"{total} times"
        found.append(
            f"The vote's course breaks {times}: across a break releases are not compared, because what decides the numbers "
            "changed."
        )
    return tuple(found)


def _facts(history: History) -> tuple[Entry, ...]:
    sizes = [release["prompts"] for release in history["releases"]]
    prompts = f"{sizes[0]:,}" if len(set(sizes)) == 1 else f"{min(sizes):,} to {max(sizes):,}"
    against = str(history["against"])
    held = {"first": "the first of its stretch", "previous": "the one before"}.get(against, against)
    return (
        Entry("Releases", str(len(sizes))),
        Entry("Prompts", prompts),
        Entry("Each held against", held),
        Entry("Voters", join_words(history["electorate"]["voters"])),
        Entry("Held out", join_words(history["electorate"]["held_out"]) or "none"),
        *([Entry("Allowed to differ", join_words(history["allowed"]))] if history["allowed"] else []),
    )


def _vote_intro(history: History) -> str:
    against = history["against"]
    if against == "previous":
        return "Win rate of each release over the one before it. No line joins the marks: each is against another release."
    held = "the first release" if against == "first" else against
    again = (
        ", after a break over the first of the new stretch"
        if against == "first" and history["breaks"]
        else ""
    )
    return f"Win rate of each release over {held}{again}; ties count half."


def _break(number: int, each: Mapping[str, Any], history: History) -> Break:
    judges = each["judges"]
    everyone = len(judges) == len(history["scorers"]) + 1
    named = [("the vote" if judge == VOTE else judge) for judge in judges]
    concerns = "breaks every course" if everyone else f"breaks the course of {join_words(named)}"
    return Break(
        number, split_name(each["after"]), split_name(each["before"]), each["kind"], each["text"], concerns
    )


def _release(release: Mapping[str, Any]) -> ReleaseRow:
    seeds = len(release["seeds"])
    return ReleaseRow(
        name=split_name(release["name"]),
        saved=release["saved"][:10],
        checkpoint=release["checkpoint"],
        spec=str(release["spec"] or "not recorded"),
        suite=str(release["suite"] or "not recorded"),
        size=f"{count(release['prompts'], 'prompt')}, {count(seeds, 'seed')}",
        version=str(release["prefbench"] or "not recorded"),
        sha256=f"{release['sha256'][:16]}…",
    )


def _methods(history: History) -> tuple[str, ...]:
    told = history["intervals"]
    return (
        "The mean of a scorer is over all samples; its bar is a 95 % percentile bootstrap interval over distinct prompts. It is "
        "wide because prompts differ. Whether a release is better is decided by the paired difference on the same prompts and "
        "seeds, which is far more exact: it gives the colour, and the second row of numbers.",
        f"Win rates and paired differences: {told['method']} {told['resamples']:,} resamples, seed {told['seed']}. Not corrected "
        "for looking at several releases and scorers.",
        f"Voters: {join_words(history['electorate']['voters'])}; {history['electorate']['tie_rule']}.",
    )
