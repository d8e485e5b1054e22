"""Stored baselines in order -> the dict of history.json, and the folder that `prefbench history` writes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench import atomic
from prefbench.bench.baselines.comparable import check_kinds
from prefbench.bench.baselines.course import Course, common_to_all, in_order
from prefbench.bench.baselines.differences import in_sentences, not_recorded
from prefbench.bench.baselines.release_numbers import mean_entries, release_comparisons, trained_against
from prefbench.bench.baselines.stored import StoredBaseline
from prefbench.bench.comparison_entries import method_text
from prefbench.bench.exceptions import UsageError
from prefbench.bench.out_folder import check_only_own
from prefbench.bench.registry import unknown_name
from prefbench.bench.resamples import check_resamples
from prefbench.bench.tally.votes import TIE_RULES

__all__ = ["HISTORY", "PAGE", "make_history", "write_history"]

HISTORY, PAGE = "history.json", "history.html"
SCHEMA = 1

AGAINST = ("first", "previous")
"""What a release can be held against, besides one release by name."""


def write_history(history: Mapping[str, Any], out: Path) -> None:
    """Write history.json and history.html to a folder, both or neither.

    Raises:
        UsageError: the folder cannot be written, or holds something that this did not write.
    """
    from prefbench.reports.history import render_history

    check_history_folder(out)
    with atomic.new_folder(out) as folder:
        atomic.write_json(folder / HISTORY, history)
        atomic.write_text(folder / PAGE, render_history(history))


def check_history_folder(out: Path) -> None:
    """Raises UsageError where `write_history` could not write, or would replace what it did not write."""
    check_only_own(out, "history", (HISTORY, PAGE))


def make_history(
    baselines: Sequence[StoredBaseline],
    *,
    order: Sequence[str] = (),
    against: str = "first",
    voters: Sequence[str] = (),
    allow: Collection[str] = (),
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Means of every release, win rates of every release over the one that it is held against, and where courses break.

    Args:
        baselines: two or more.
        order: names, oldest first; empty for the order in which they were saved.
        against: "first" (of each unbroken stretch), "previous", or the name of a baseline.
        voters: who votes; empty for the electorate of the newest release that has one, else all scorers that all releases
            have.
        allow: kinds of difference that do not break a course. With "prompts" or "seeds" everything is over the (prompt, seed)
            that all releases have.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Raises:
        UsageError: fewer than two baselines, an unknown name, or nothing in common where prompts or seeds are allowed to differ.
    """
    check_kinds(allow)
    check_resamples(resamples)
    releases = in_order(baselines, order)
    names = [release.name for release in releases]
    if against not in (*AGAINST, *names):
        raise unknown_name("release to hold the others against", against, [*AGAINST, *names])
    electorate = _electorate(releases, voters)
    course = Course(releases, electorate["voters"], frozenset(allow))
    tables, notes = _tables(course)
    comparisons, missing = release_comparisons(course, tables, electorate, against, resamples, seed)
    return {
        "schema": SCHEMA,
        "prefbench": version("prefbench"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "against": against,
        "allowed": sorted(allow),
        "electorate": electorate,
        "releases": [_release(release, table) for release, table in zip(releases, tables, strict=True)],
        "scorers": _scorers(course, electorate),
        "means": [
            entry
            for each in zip(names, tables, strict=True)
            for entry in mean_entries(*each, course.scorers, resamples, seed)
        ],
        "comparisons": comparisons,
        "missing": missing,
        "breaks": course.breaks(),
        "notes": [*notes, *_notes(course, electorate, bool(voters))],
        "intervals": {"method": method_text("percentile"), "resamples": resamples, "seed": seed},
    }


def _electorate(releases: Sequence[StoredBaseline], voters: Sequence[str]) -> dict[str, Any]:
    """Who votes on every release, by which rule, and whose electorate that is."""
    every = list(dict.fromkeys(name for each in releases for name in each.provenance.scorers))
    told = next((each for each in reversed(releases) if each.provenance.electorate), None)
    rules: Mapping[str, Any] = (told.provenance.electorate if told else None) or {}
    for name in voters:
        if name not in every:
            raise unknown_name("scorer", name, every)
    if voters:
        chosen, whose = list(dict.fromkeys(voters)), None
    elif told:
        chosen, whose = list(rules["voters"]), told.name
    else:
        chosen, whose = (
            [name for name in every if all(name in each.provenance.scorers for each in releases)],
            None,
        )
        if not chosen:
            raise UsageError(
                f"No scorer scored all releases, so nobody could vote on them. Name voters of {', '.join(every)}."
            )
    return {
        "voters": chosen,
        "held_out": [name for name in every if name not in chosen],
        "tie_rule": rules.get("tie_rule") or TIE_RULES["tie"],
        "tie_tolerance": dict(rules.get("tie_tolerance") or {}),
        "of": whose,
    }


def _tables(course: Course) -> tuple[list[pd.DataFrame], list[str]]:
    """Scores of each release without categories; over what all have, where prompts or seeds may differ."""
    columns = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]
    tables = [release.scores[columns] for release in course.releases]
    pairs = range(len(tables) - 1)
    differing = any(each.kind in ("prompts", "seeds") for i in pairs for each in course.between(i, i + 1))
    if not differing or not {"prompts", "seeds"} & set(course.allow):
        return tables, []
    common = common_to_all(course.releases)
    told = (
        f"Prompts or seeds differ and were allowed to: all numbers are over the {len(common):,} (prompt, seed) that every "
        f"release has, of {', '.join(f'{len(p.samples):,} in {p.checkpoint}' for p in course.provenances)}."
    )
    return [table.merge(common) for table in tables], [told]


def _release(release: StoredBaseline, table: pd.DataFrame) -> dict[str, Any]:
    record = release.record
    source, about = record["source"], record["checkpoint"] or {}
    return {
        "name": release.name,
        "saved": release.saved,
        "sha256": record["sha256"],
        "checkpoint": source["checkpoint"],
        "kind": about.get("kind"),
        "spec": about.get("spec"),
        "identity": about.get("identity"),
        "suite": release.provenance.suite,
        "prefbench": source["prefbench"],
        "prompts": int(table["prompt"].nunique()),
        "pairs": len(table[["prompt_id", "seed"]].drop_duplicates()),
        "seeds": sorted(map(int, table["seed"].unique())),
    }


def _scorers(course: Course, electorate: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each scorer what the newest release with it says."""
    told: dict[str, dict[str, Any]] = {}
    for name in course.scorers:
        info = next(each.scorers[name] for each in reversed(course.provenances) if name in each.scorers)
        told[name] = {
            "role": "votes" if name in electorate["voters"] else "held out",
            "direction": info.get("direction") or "higher",
            "scale": info.get("scale"),
            "prompt_blind": info.get("prompt_blind"),
        }
    return told


def _notes(course: Course, electorate: Mapping[str, Any], chosen: bool) -> list[str]:
    notes = []
    told = {each.name: each.provenance.electorate for each in course.releases}
    others = [
        name for name, said in told.items() if said and set(said["voters"]) != set(electorate["voters"])
    ]
    if others and chosen:
        notes.append(
            f"The vote is that of the scorers you named; the electorate of {', '.join(others)} was another."
        )
    elif others:
        notes.append(
            f"{', '.join(others)} had another electorate: the vote here is that of {electorate['of']} "
            f"({', '.join(electorate['voters'])}) on every release."
        )
    elif not any(told.values()) and not chosen:
        notes.append(
            f"No release says who votes: all scorers that every release has do ({', '.join(electorate['voters'])})."
        )
    for release in course.releases:
        barred = [name for name in trained_against(release, course.scorers) if name in electorate["voters"]]
        if barred:
            notes.append(
                f"{release.name} was trained against {', '.join(barred)}: no vote for them where it takes part."
            )
    for i, later in enumerate(course.releases[1:]):
        allowed = [each for each in course.between(i, i + 1) if each.kind in course.allow]
        if allowed:
            notes.append(
                f"Allowed between {course.releases[i].name} and {later.name}: {in_sentences(allowed)}"
            )
        notes += not_recorded(course.provenances[i + 1], course.provenances[i])
    return list(dict.fromkeys(notes))
