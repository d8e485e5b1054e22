"""Numbers of the course over releases: means of each, and comparisons of each with the one it is held against."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from prefbench.bench.baselines.comparable import common_scores
from prefbench.bench.baselines.course import Course
from prefbench.bench.baselines.stored import StoredBaseline
from prefbench.bench.comparison_entries import comparison_entries
from prefbench.bench.electorate.trained_against import from_record
from prefbench.bench.exceptions import DataError
from prefbench.bench.paired_samples import arrange, cast_ballots
from prefbench.bench.resamples import stream
from prefbench.bench.tally.resampling import cluster_sums, resampled_means
from prefbench.bench.tally.unanimity import TAIL
from prefbench.bench.tally.votes import TIE_RULES, TieRule
from prefbench.bench.verdict import MAJORITY

__all__ = ["mean_entries", "release_comparisons", "trained_against"]

OF_ONE_RUN = ("planned", "p_adjusted")
"""Fields of a comparison that speak of the others in its run: over releases nothing was planned."""


def mean_entries(
    release: str, table: pd.DataFrame, scorers: Sequence[str], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Mean over (prompt, seed) by scorer, with a percentile bootstrap interval over distinct prompt texts."""
    wide = table.pivot_table(
        index=["prompt_id", "prompt", "seed"], columns="scorer", values="score", sort=False
    )
    there = [name for name in scorers if name in wide.columns]
    sums, sizes = cluster_sums(
        wide[there].to_numpy(), pd.factorize(wide.index.get_level_values("prompt"), sort=True)[0]
    )
    limits = None
    if len(sizes) > 1:
        draws = resampled_means(sums, sizes, resamples=resamples, rng=stream(seed, f"means of {release}"))
        limits = np.quantile(draws, [TAIL, 1 - TAIL], axis=0)
    return [
        {
            "release": release,
            "scorer": name,
            "mean": float(wide[name].mean()),
            "ci95": None if limits is None else [float(limits[0, k]), float(limits[1, k])],
        }
        for k, name in enumerate(there)
    ]


def release_comparisons(
    course: Course,
    tables: Sequence[pd.DataFrame],
    electorate: Mapping[str, Any],
    against: str,
    resamples: int,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries as in results.json, a over b = release over reference; and where there is none, why."""
    entries: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for i, release in enumerate(course.releases):
        judges_of: dict[int, list[str]] = {}
        for judge in (MAJORITY, *course.scorers):
            j = course.reference(i, judge, against)
            if j is not None:
                judges_of.setdefault(j, []).append(judge)
            elif reason := course.why_not(i, judge, against):
                missing.append({"release": release.name, "scorer": judge, "reason": reason})
        for j, judges in judges_of.items():
            both = common_scores(tables[i], tables[j])
            found = _compare(course, both, i, j, judges, electorate, resamples, seed)
            entries += [entry for entry in found if entry["scorer"] in judges]
            if MAJORITY in judges and not any(entry["scorer"] == MAJORITY for entry in found):
                reason = f"{release.name} or {course.releases[j].name} was trained against every voter"
                missing.append({"release": release.name, "scorer": MAJORITY, "reason": reason})
    return entries, missing


def _compare(
    course: Course,
    scores: pd.DataFrame,
    i: int,
    j: int,
    judges: Sequence[str],
    electorate: Mapping[str, Any],
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Release i over release j: the entries of all scorers that both have, and of the vote where it can be cast."""
    a, b = course.releases[i].name, course.releases[j].name
    trained = {course.releases[k].name: trained_against(course.releases[k], course.scorers) for k in (i, j)}
    there = list(dict.fromkeys(scores["scorer"]))
    barred = {*trained[a], *trained[b]}
    vote = MAJORITY in judges and any(name not in barred for name in electorate["voters"])
    voters = list(electorate["voters"]) if vote else there
    held_out = [name for name in there if name not in voters]
    samples = arrange(scores, [b, a], voters, held_out)
    lower = {name for name in there if course.provenances[i].scorers[name].get("direction") == "lower"}
    ballots = cast_ballots(
        samples,
        [(a, b)],
        lower=lower,
        tie_rule=_tie_rule(electorate) if vote else "tie",
        tolerance=electorate["tie_tolerance"],
        trained_against=trained if vote else None,
    )
    entries, _ = comparison_entries(samples, ballots, None, resamples, seed)
    return [
        {key: value for key, value in entry.items() if key not in OF_ONE_RUN}
        for entry in entries
        if vote or entry["scorer"] != MAJORITY
    ]


def _tie_rule(electorate: Mapping[str, Any]) -> TieRule:
    """The rule by its sentence, which is what baselines keep."""
    for rule, sentence in TIE_RULES.items():
        if sentence == electorate["tie_rule"]:
            return rule
    raise DataError(
        f"The electorate of {electorate['of']} has a tie rule that this version of prefbench does not know: "
        f"{electorate['tie_rule']}. Use the prefbench that saved it, or save the baseline again from results of this one."
    )


def trained_against(release: StoredBaseline, scorers: Sequence[str]) -> Sequence[str]:
    """Scorers that a release was trained against, by its record."""
    about = release.record["checkpoint"] or {}
    told = about.get("trained_against")
    return from_record(about.get("training"), scorers) if told is None else list(told)
