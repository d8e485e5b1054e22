"""What a reader of a verdict must know besides: contradictions, thin evidence, dependent judges."""

import math
from collections.abc import Mapping
from typing import Any

from prefbench.bench.agreement_block import family_sentences
from prefbench.bench.electorate.caveats import (
    mean_against_wins,
    reward_hacking,
    trained_against,
    weightless_voters,
)
from prefbench.bench.electorate.warning_text import Found, by_pair, pairs_text, percent, warning
from prefbench.bench.tally.resampling import ENOUGH_PROMPTS
from prefbench.bench.tally.unanimity import RARE
from prefbench.bench.training_groups import training_groups
from prefbench.bench.verdict import MAJORITY, interval_text, outcome
from prefbench.bench.wording import complement, count

__all__ = ["find_warnings"]

FEW_PROMPTS = 100
"""Below this a win rate's 95 % half-width near 50 % exceeds 9.8 points (one pair a prompt, no ties)."""
TOO_NARROW = "of equal checkpoints on 8 to 20 prompts with four seeds, a simulation called 6.5 to 7.8 % better or worse, not 5 %."
"""Measured in docs/statistics.md."""
MANY_TIES = 0.30
EXPLORED_ALPHA = 0.05
EFFECTIVE_SHARE = 0.5
"""Voters that are worth less than this share of their number call for a word."""


def find_warnings(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Warnings about `results` (all of it but warnings and verdicts), gravest first.

    Each is {"kind", "text", "checkpoints"}. For the kinds that contradict a verdict (`reward_hacking`,
    `head_to_head`) the first two checkpoints are those of the comparison.
    """
    whole = [entry for entry in results["comparisons"] if entry["slice"] == "all"]
    finders = (
        reward_hacking,
        _head_to_head,
        _cycles,
        mean_against_wins,
        _same_pictures,
        trained_against,
        _left_out,
        _planned_without_pair,
        _one_training_seed,
        _few_prompts,
        _few_prompts_of_planned,
        _electorate,
        _families,
        weightless_voters,
        _many_ties,
        _exact_intervals,
        _table,
    )
    return [warning for find in finders for warning in find(results, whole)]


def _head_to_head(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """More wins against the baseline, yet beaten in the direct comparison."""
    votes = by_pair(whole, MAJORITY)
    baseline = next(iter(results["checkpoints"]))
    against = {a: entry["win_rate"] for (a, b), entry in votes.items() if b == baseline}
    against |= {b: complement(entry["win_rate"]) for (a, b), entry in votes.items() if a == baseline}
    for (a, b), entry in votes.items():
        if a not in against or b not in against or outcome(entry["ci95"]) == "open":
            continue
        turned = outcome(entry["ci95"]) == "worse"
        winner, loser = (b, a) if turned else (a, b)
        if against[loser] > against[winner]:
            yield warning(
                "head_to_head",
                f"{loser} wins more often against {baseline} ({100 * against[loser]:.1f} %) than {winner} "
                f"does ({100 * against[winner]:.1f} %), yet loses to it head to head: {winner} wins "
                f"{percent(entry, turned)}.",
                [winner, loser],
            )


def _cycles(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Checkpoints that beat one another in a circle, each win beyond its interval."""
    ranking = results["ranking"]
    for circle in ranking["cycles"]["proven"] if ranking else ():
        wins = ", ".join(f"{a} beats {b}" for a, b in zip(circle, [*circle[1:], circle[0]], strict=True))
        yield warning(
            "cycle",
            f"A circle: {wins}, and each of these intervals leaves out 50 %. No order of them is true; their ranks are by the "
            "win rate against the average opponent. Compare the two that matter head to head.",
            list(circle),
        )


def _same_pictures(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """One checkpoint under two names, or a training that changed nothing."""
    alike: dict[str, list[str]] = {}
    for name, info in results["checkpoints"].items():
        if info.get("pixels"):
            alike.setdefault(info["pixels"], []).append(name)
    for names in alike.values():
        if len(names) > 1:
            yield warning(
                "same_pictures",
                f"{', '.join(names[:-1])} and {names[-1]} have the same pictures, pixel for pixel: they are one checkpoint "
                "under different names, or what was trained did not change. Nothing can be learnt from comparing them.",
                names,
            )


def _left_out(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Samples without a score of some scorer."""
    left_out = results["suite"].get("left_out")
    if left_out:
        told = "; ".join(
            f"{checkpoint}: {', '.join(f'{count} by {scorer}' for scorer, count in scorers.items())}"
            for checkpoint, scorers in left_out["missing"].items()
        )
        yield warning(
            "left_out",
            f"{left_out['samples']} of {count(left_out['of'], 'sample')} {'is' if left_out['samples'] == 1 else 'are'} left out "
            "for all checkpoints, because a score is missing "
            f"({told}). If images that fail are not like the others, the win rates are not those of all prompts.",
            sorted(left_out["missing"]),
        )


def _planned_without_pair(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """A planned comparison of which the tie rule leaves no pair."""
    baseline = next(iter(results["checkpoints"]))
    there = {(e["a"], e["b"], e["slice"]) for e in results["comparisons"] if e["scorer"] == MAJORITY}
    for name in results["suite"].get("planned_slices", ()):
        pairs = by_pair(whole, MAJORITY).items()
        missing = [entry for pair, entry in pairs if baseline in pair and (*pair, name) not in there]
        if missing:
            yield warning(
                "planned_slice_without_pair",
                f"The planned slice {name} has no pair that the tie rule counts ({pairs_text(missing)}): on all of it the voters "
                "split evenly, or all tie. So there is no number for it; among the planned comparisons it counts with p = 1.",
                list(dict.fromkeys(who for entry in missing for who in (entry["a"], entry["b"]))),
            )


def _one_training_seed(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """A method that stands for itself with one training run: the verdict is about the checkpoint."""
    methods = results.get("methods")
    several = (
        {name for group in methods["groups"].values() if len(group) > 1 for name in group}
        if methods
        else set()
    )
    single = [
        name
        for group in training_groups(results["checkpoints"])
        for name in group.checkpoints
        if len(group.checkpoints) == 1 and name not in several
    ]
    if single:
        yield warning(
            "one_training_seed",
            f"{', '.join(single)}: one training seed for each method. The verdicts are about these "
            "checkpoints, not about the methods: the intervals hold the spread over prompts and not the "
            "spread over training runs.",
            single,
        )


def _few_prompts(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    n = results["suite"]["distinct_prompts"]
    if n < FEW_PROMPTS:
        half = 100 * 1.96 * math.sqrt(0.25 / n)
        yield warning(
            "few_prompts",
            f"{count(n, 'distinct prompt')}: a win rate near 50 % is known to about "
            f"±{min(half, 50):.0f} points (one pair a prompt, no ties). More seeds of the same prompts do "
            f"not make up for prompts.{_too_narrow(n, whole)}",
            [],
        )


def _too_narrow(prompts: int, whole: list[dict[str, Any]]) -> str:
    """What percentile intervals of very few prompts are worth; empty where there is none."""
    if prompts >= ENOUGH_PROMPTS or not any(entry["ci_method"] == "bootstrap" for entry in whole):
        return ""
    return f" Bootstrap intervals of fewer than {ENOUGH_PROMPTS} prompts are too narrow besides: {TOO_NARROW}"


def _few_prompts_of_planned(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Planned slices of a size at which bootstrap intervals are too narrow; silent where that is said of the whole."""
    if _too_narrow(results["suite"]["distinct_prompts"], whole):
        return
    few: dict[str, int] = {}
    for entry in results["comparisons"]:
        planned = entry["planned"] and entry["slice"] != "all" and entry["ci_method"] == "bootstrap"
        if planned and entry["prompts"] < ENOUGH_PROMPTS:
            few[entry["slice"]] = min(entry["prompts"], few.get(entry["slice"], ENOUGH_PROMPTS))
    if few:
        told = ", ".join(f"{name} ({count(prompts, 'prompt')})" for name, prompts in few.items())
        yield warning(
            "few_prompts_in_planned_slice",
            f"Planned on fewer than {ENOUGH_PROMPTS} prompts: {told}. Bootstrap intervals of so few are too narrow: {TOO_NARROW}",
            [],
        )


def _electorate(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    voters = results["suite"]["electorate"]["voters"]
    k, worth = len(voters), results["agreement"]["effective_voters"]
    votes = by_pair(whole, MAJORITY).values()
    full = [entry for entry in votes if len(entry["voters"]) == k]  # of the others `trained_against` tells
    if k == 1:
        yield warning("one_voter", f"One scorer votes: the vote is {voters[0]} and no second opinion.", [])
    elif k % 2 == 0 and full:
        where = "" if len(full) == len(votes) else f" in {pairs_text(full)}"
        yield warning(
            "even_electorate",
            f"{k} voters are an even number{where}: {results['suite']['electorate']['tie_rule']}.",
            [],
        )
    blind = [name for name in voters if name in results["agreement"]["prompt_blind"]]
    if blind:
        yield warning(
            "prompt_blind_voter",
            f"{', '.join(blind)} {'vote' if len(blind) > 1 else 'votes'} without seeing the prompt, on "
            "looks alone: a picture of something else can win.",
            [],
        )
    if k > 1 and full and worth is not None and worth < EFFECTIVE_SHARE * k:
        yield warning(
            "dependent_voters",
            f"{k} voters are worth about {worth:.1f} independent ones (mean correlation of their votes "
            f"{results['agreement']['mean_vote_correlation']:.2f}): unanimity among them is weak evidence.",
            [],
        )


def _families(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Voters that were made from one pretrained network."""
    for text in family_sentences(results["agreement"], results["suite"]["electorate"]["voters"]):
        yield warning("same_backbone", text, [])


def _many_ties(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    tied: dict[str, list[dict[str, Any]]] = {}
    for entry in whole:
        if entry["ties"] / entry["pairs"] > MANY_TIES:
            tied.setdefault(entry["scorer"], []).append(entry)
    # Scorers that tie in the same way (copies of one checkpoint, say) share a sentence.
    alike: dict[tuple[tuple[str, str, str], ...], list[str]] = {}
    for scorer, found in tied.items():
        shares = tuple((e["a"], e["b"], f"{100 * e['ties'] / e['pairs']:.0f}") for e in found)
        alike.setdefault(shares, []).append(scorer)
    for shares, scorers in alike.items():
        a, b, share = max(shares, key=lambda item: int(item[2]))
        more = f" and {count(len(shares) - 1, 'more comparison')}" if len(shares) > 1 else ""
        who = ", ".join("the vote" if scorer == MAJORITY else scorer for scorer in scorers)
        yield warning(
            "many_ties",
            f"{who[0].upper() + who[1:] if scorers[0] == MAJORITY else who} {'tie' if len(scorers) > 1 else 'ties'} on "
            f"{share} % of pairs ({a} against {b}{more}): ties count half and pull a win rate towards 50 %.",
            sorted({name for first, second, _ in shares for name in (first, second)}),
        )


def _exact_intervals(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Votes so nearly unanimous that a bootstrap sees no spread."""
    found = [e for e in whole if e["scorer"] == MAJORITY and e["ci_method"] == "exact"]
    if found:
        which = ", ".join(f"{e['a']} over {e['b']} {interval_text(e['ci95'])}" for e in found)
        yield warning(
            "exact_interval",
            f"Fewer than {RARE} prompts differ from the commonest result, where resampling sees too little spread: {which} "
            f"{'is an exact bound' if len(found) == 1 else 'are exact bounds'} over prompts instead.",
            sorted({name for e in found for name in (e["a"], e["b"])}),
        )


def _table(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    low, high = results["suite"]["seeds_per_prompt"]
    if low < high:
        yield warning(
            "unequal_seeds",
            f"Prompts have {low} to {high} seeds: win rates are means over pairs, so prompts with more "
            "seeds weigh more.",
            [],
        )
    explored = [e for e in results["comparisons"] if e["slice"] != "all" and not e["planned"]]
    if explored:
        left = sum(entry["p_adjusted"] < EXPLORED_ALPHA for entry in explored)
        yield warning(
            "exploratory_slices",
            f"{count(len(explored), 'comparison')} on slices {'was' if len(explored) == 1 else 'were'} not planned. Their "
            "intervals are not corrected for looking at so many of them, and about one in twenty leaves out the truth. By "
            "p-values that are (Benjamini-Hochberg over all "
            f"that was not planned), {left} stay{'s' if left == 1 else ''} below {EXPLORED_ALPHA}.",
            [],
        )
