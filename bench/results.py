"""From a scores table to the numbers of `results.json`.

The schema is in docs/architecture.md. Numbers are plain and finite; what is unknown is null.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations
from typing import Any

import pandas as pd

from prefbench.bench.agreement_block import agreement_block
from prefbench.bench.caveats import find_warnings
from prefbench.bench.comparison_entries import METHOD, comparison_entries
from prefbench.bench.exceptions import UsageError
from prefbench.bench.paired_samples import Ballots, PairedSamples, arrange, cast_votes
from prefbench.bench.ranking_block import ranking_block
from prefbench.bench.registry import unknown_name
from prefbench.bench.resamples import check_resamples
from prefbench.bench.results_file import SCHEMA
from prefbench.bench.tally.votes import TIE_RULE
from prefbench.bench.verdict import MAJORITY, give_verdicts

__all__ = ["summarise"]

SCORER_FIELDS = (
    "variant",
    "fingerprint",
    "licence",
    "scale",
    "prompt_blind",
    "trained_on",
    "token_limit",
    "truncated",
)
"""What is null about a scorer that only a scores table names."""


def summarise(
    scores: pd.DataFrame,
    *,
    electorate: Mapping[str, Sequence[str]],
    checkpoints: Mapping[str, Mapping[str, Any]] | Sequence[str],
    pairs: Sequence[tuple[str, str]] | None = None,
    suite: Mapping[str, Any] | None = None,
    scorers: Mapping[str, Mapping[str, Any]] | None = None,
    untruncated: Collection[str] | None = None,
    left_out: Mapping[str, Any] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare checkpoints by every scorer and by the majority vote.

    Args:
        scores: a scores table as `scores_table.read_scores` or `check_scores` returns it. Checkpoints that
            are not in `checkpoints` are left out; every scorer in it must vote or be held out.
        electorate: {"voters": [...], "held_out": [...]}; "held_out" may be missing.
        checkpoints: name -> {"spec", "kind", "identity", "training"}, or names alone; the first is the
            baseline.
        pairs: (a, b) to compare, a over b; None for every unordered pair, the later checkpoint over the
            earlier.
        suite: what was run, for the "suite" block; its electorate is replaced by the one above.
        scorers: name -> scorer info. "direction" "lower" turns a scorer round; without info, higher is
            better.
        untruncated: texts of the prompts that every voter reads to the end: they make a slice of their own,
            "prompts=untruncated", unless all of them or none are; None where it is not known.
        left_out: from `gaps.drop_incomplete`: samples that are in no comparison.
        resamples: bootstrap samples, at least 1000.
        seed: of the bootstrap, at least 0. Each slice has its own stream: adding one does not change another.

    Returns:
        The dict that results.json holds.

    Raises:
        DataError: a score is missing for a checkpoint.
        UsageError: a name that the table lacks, a scorer without a role, too few checkpoints or resamples.
    """
    names = list(checkpoints)
    roles = _roles(electorate)
    chosen = [(a, b) for b, a in combinations(names, 2)] if pairs is None else [(a, b) for a, b in pairs]
    _check_request(scores, names, chosen, roles, resamples, seed)
    infos = _scorer_infos(list(roles), roles, scorers or {})
    samples = arrange(scores, names, list(electorate["voters"]), list(electorate.get("held_out", ())))
    lower = {name for name, info in infos.items() if info["direction"] == "lower"}
    ballots = Ballots(chosen, cast_votes(samples, chosen, lower), samples.voters)
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "prefbench": version("prefbench"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": _suite(suite, samples, roles) | {"left_out": None if left_out is None else dict(left_out)},
        "checkpoints": _checkpoint_infos(checkpoints),
        "scorers": infos,
        "means": _means(samples),
        "comparisons": comparison_entries(samples, ballots, untruncated, resamples, seed),
        "agreement": agreement_block(ballots, samples),
        "intervals": {"method": METHOD, "resamples": resamples, "seed": seed},
    }
    results["ranking"] = ranking_block(samples, ballots, results["comparisons"], resamples, seed)
    results["warnings"] = find_warnings(results)
    results["verdicts"] = give_verdicts(results)
    return results


def _roles(electorate: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Scorer -> "votes" or "held out", voters first."""
    odd = set(electorate) - {"voters", "held_out"}
    if odd:
        raise UsageError(f"An electorate has voters and held_out, not {', '.join(sorted(odd))}.")
    voters, held_out = list(electorate.get("voters", ())), list(electorate.get("held_out", ()))
    if not voters:
        raise UsageError("The electorate has no voters. Name at least one scorer that votes.")
    both = voters + held_out
    twice = sorted({name for name in both if both.count(name) > 1})
    if twice:
        raise UsageError(
            f"{', '.join(twice)} stands twice in the electorate. A scorer votes or is held out, once."
        )
    if MAJORITY in both:
        raise UsageError(
            f"A scorer may not be called {MAJORITY!r}: results use that name for the vote. Rename it."
        )
    return dict.fromkeys(voters, "votes") | dict.fromkeys(held_out, "held out")


def _check_request(
    frame: pd.DataFrame,
    names: list[str],
    chosen: list[tuple[str, str]],
    roles: dict[str, str],
    resamples: int,
    seed: int,
) -> None:
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise UsageError(
            f"Comparing needs two or more different checkpoints, not {', '.join(names) or 'none'}."
        )
    known = {column: sorted(frame[column].unique().tolist()) for column in ("checkpoint", "scorer")}
    for kind, wanted in (("checkpoint", names), ("scorer", list(roles))):
        for name in wanted:
            if name not in known[kind]:
                raise unknown_name(kind, name, known[kind])
    idle = [name for name in known["scorer"] if name not in roles]
    if idle:
        raise UsageError(
            f"The scorers {', '.join(idle)} are in the table but neither vote nor are held out. Give each "
            "of them a role."
        )
    for pair in chosen:
        for name in pair:
            if name not in names:
                raise unknown_name("checkpoint", name, names)
        if pair[0] == pair[1]:
            raise UsageError(f"{pair[0]!r} can not be compared with itself. Name two different checkpoints.")
    if len({frozenset(pair) for pair in chosen}) < len(chosen) or not chosen:
        raise UsageError("Each two checkpoints are compared once: pairs has a repetition or is empty.")
    check_resamples(resamples)
    if seed < 0:
        raise UsageError(f"The bootstrap's seed is {seed}; it must be 0 or more.")


def _scorer_infos(
    names: list[str], roles: dict[str, str], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    infos = {}
    for name in names:
        info: dict[str, Any] = {"name": name, "direction": None} | dict.fromkeys(SCORER_FIELDS)
        info |= {key: value for key, value in given.get(name, {}).items() if key != "role"}
        info["direction"] = info["direction"] or "higher"
        if info["direction"] not in ("higher", "lower"):
            raise UsageError(
                f'Scorer {name!r} has direction {info["direction"]!r}; it is "higher" or "lower" (better).'
            )
        infos[name] = info | {"role": roles[name]}
    return infos


def _checkpoint_infos(given: Mapping[str, Mapping[str, Any]] | Sequence[str]) -> dict[str, dict[str, Any]]:
    empty = dict.fromkeys(("spec", "kind", "identity", "training"))
    if isinstance(given, Mapping):
        return {name: empty | dict(info) for name, info in given.items()}
    return {name: dict(empty) for name in given}


def _means(samples: PairedSamples) -> dict[str, dict[str, float]]:
    """Mean score over all samples, by checkpoint and scorer."""
    return {
        name: dict(zip(samples.scorers, map(float, samples.scores[i].mean(axis=0)), strict=True))
        for i, name in enumerate(samples.checkpoints)
    }


def _suite(given: Mapping[str, Any] | None, samples: PairedSamples, roles: dict[str, str]) -> dict[str, Any]:
    seeds = sorted(map(int, samples.about["seed"].unique()))
    per_prompt = samples.about.groupby("prompt_id")["seed"].nunique()
    table = {"name": "scores table", "prompt_sets": [], "seeds": seeds, "sampling": None}
    return (table if given is None else dict(given)) | {
        "prompts": len(per_prompt),
        "distinct_prompts": int(samples.about["prompt"].nunique()),
        "seeds_per_prompt": [int(per_prompt.min()), int(per_prompt.max())],
        "electorate": {
            "voters": [name for name, role in roles.items() if role == "votes"],
            "held_out": [name for name, role in roles.items() if role == "held out"],
            "tie_rule": TIE_RULE,
        },
    }
