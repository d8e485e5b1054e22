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
from prefbench.bench.comparison_entries import TESTS, comparison_entries, method_text
from prefbench.bench.definitions_block import definitions_block
from prefbench.bench.electorate.accuracies import voter_weights
from prefbench.bench.electorate.rules import VotingRules, check_rules
from prefbench.bench.electorate.trained_against import resolve_with_voters
from prefbench.bench.exceptions import UsageError
from prefbench.bench.methods_block import groups_of, methods_block
from prefbench.bench.paired_samples import PairedSamples, arrange, cast_ballots
from prefbench.bench.ranking_block import ranking_block
from prefbench.bench.registry import unknown_name
from prefbench.bench.resamples import check_resamples
from prefbench.bench.results_file import SCHEMA
from prefbench.bench.tally.votes import TIE_RULES
from prefbench.bench.tally.win_rate import Interval
from prefbench.bench.verdict import MAJORITY, give_verdicts
from prefbench.bench.votes_block import vote_variants, votes_block

__all__ = ["summarise"]

SCORER_FIELDS = (
    "variant",
    "fingerprint",
    "identity",
    "licence",
    "scale",
    "prompt_blind",
    "backbone",
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
    rules: VotingRules = VotingRules(),  # noqa: B008 - frozen
    suite: Mapping[str, Any] | None = None,
    scorers: Mapping[str, Mapping[str, Any]] | None = None,
    untruncated: Collection[str] | None = None,
    left_out: Mapping[str, Any] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    interval: Interval = "percentile",
    planned_slices: Sequence[str] = (),
    definitions: bool = False,
    methods: Mapping[str, Sequence[str]] | None = None,
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
        rules: how votes are cast and counted. Where it does not say what a checkpoint was trained against, its
            "training" does.
        suite: what was run, for the "suite" block; its electorate is replaced by the one above.
        scorers: name -> scorer info. "direction" "lower" turns a scorer round; without info, higher is
            better.
        untruncated: texts of the prompts that every voter reads to the end: they make a slice of their own,
            "prompts=untruncated", unless all of them or none are; None where it is not known.
        left_out: from `gaps.drop_incomplete`: samples that are in no comparison.
        resamples: bootstrap samples, at least 1000.
        seed: of the bootstrap, at least 0. Each slice has its own stream: adding one does not change another.
        interval: which bootstrap interval: "percentile" or "bca".
        planned_slices: slices on which the vote against the baseline was planned before the scores were seen; on all
            prompts it always is.
        definitions: also give the shares by the definitions of papers.
        methods: method -> its trainings among the checkpoints; None to go by the training records.

    Returns:
        The dict that results.json holds.

    Raises:
        DataError: a score is missing for a checkpoint, or the tie rule leaves every pair of a vote out.
        UsageError: a name that the table lacks, a scorer without a role, too few checkpoints or resamples, rules that
            do not fit, a comparison without a voter.
    """
    names = list(checkpoints)
    roles = _roles(electorate)
    chosen = [(a, b) for b, a in combinations(names, 2)] if pairs is None else [(a, b) for a, b in pairs]
    _check_request(scores, names, chosen, roles, resamples, seed)
    check_rules(rules, roles)
    entries = _checkpoint_infos(checkpoints, rules, chosen, electorate)
    against = {name: info["trained_against"] for name, info in entries.items()}
    groups = groups_of(entries, methods)
    infos = _scorer_infos(list(roles), roles, scorers or {})
    samples = arrange(scores, names, list(electorate["voters"]), list(electorate.get("held_out", ())))
    lower = {name for name, info in infos.items() if info["direction"] == "lower"}
    ballots = cast_ballots(
        samples,
        chosen,
        lower=lower,
        tie_rule=rules.tie_rule,
        tolerance=rules.tie_tolerance,
        trained_against=against,
    )
    weights = (
        None
        if rules.accuracies is None
        else voter_weights(rules.accuracies, samples.scorers[: ballots.voters])
    )
    variants = vote_variants(samples, ballots, weights)
    comparisons, variant_rates = comparison_entries(
        samples,
        ballots,
        untruncated,
        resamples,
        seed,
        interval=interval,
        planned_slices=planned_slices,
        variants=[variant.outcome for variant in variants],
    )
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "prefbench": version("prefbench"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": _suite(suite, samples, roles, rules)
        | {"planned_slices": list(planned_slices), "left_out": dict(left_out) if left_out else None}
        | {"truncated_prompts": _truncated(samples, untruncated)},
        "checkpoints": entries,
        "scorers": infos,
        "means": _means(samples),
        "comparisons": comparisons,
        "agreement": agreement_block(ballots, samples, infos, resamples, seed),
        "intervals": {"method": method_text(interval), "tests": TESTS}
        | {"interval": interval, "resamples": resamples, "seed": seed},
    }
    results["votes"] = votes_block(
        samples,
        ballots,
        comparisons,
        variants,
        variant_rates,
        weights=weights,
        weights_source=None if rules.accuracies is None else rules.accuracies.source,
        electorate_worth=results["agreement"]["effective_voters"],
    )
    results["methods"] = methods_block(samples, ballots, groups, resamples, seed, interval=interval)
    results["ranking"] = ranking_block(samples, ballots, results["comparisons"], resamples, seed)
    results["definitions"] = definitions_block(samples, ballots, lower) if definitions else None
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
    if any(name in (MAJORITY, f"{MAJORITY} vote") for name in both):
        raise UsageError(
            f"A scorer may not be called {MAJORITY!r} or '{MAJORITY} vote': results use these names for the vote. Rename it."
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


def _checkpoint_infos(
    given: Mapping[str, Mapping[str, Any]] | Sequence[str],
    rules: VotingRules,
    pairs: Sequence[tuple[str, str]],
    electorate: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, Any]]:
    empty: dict[str, Any] = dict.fromkeys(("spec", "kind", "identity", "training"))
    infos = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, empty)
    trainings = {name: info.get("training") for name, info in infos.items()}
    against = resolve_with_voters(
        trainings, rules.trained_against, pairs, electorate["voters"], electorate.get("held_out", ())
    )
    return {name: empty | dict(info) | {"trained_against": against[name]} for name, info in infos.items()}


def _means(samples: PairedSamples) -> dict[str, dict[str, float]]:
    """Mean score over all samples, by checkpoint and scorer."""
    return {
        name: dict(zip(samples.scorers, map(float, samples.scores[i].mean(axis=0)), strict=True))
        for i, name in enumerate(samples.checkpoints)
    }


def _truncated(samples: PairedSamples, untruncated: Collection[str] | None) -> list[str] | None:
    """Ids of the prompts that some voter cuts off; with them the slice of the others can be made again."""
    if untruncated is None:
        return None
    about = samples.about
    return sorted(set(about["prompt_id"][~about["prompt"].isin(list(untruncated))]))


def _suite(
    given: Mapping[str, Any] | None, samples: PairedSamples, roles: dict[str, str], rules: VotingRules
) -> dict[str, Any]:
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
            "tie_rule": TIE_RULES[rules.tie_rule],
            "tie_tolerance": {name: float(value) for name, value in rules.tie_tolerance.items()},
        },
    }
