"""What a reader of a verdict must know besides: contradictions, thin evidence, dependent judges."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from prefbench.bench.tally.win_rate import RARE
from prefbench.bench.verdict import MAJORITY, interval_text, outcome

__all__ = ["find_warnings"]

FEW_PROMPTS = 100
"""Below this a win rate's 95 % half-width near 50 % exceeds 9.8 points (one pair a prompt, no ties)."""
MANY_TIES = 0.30
EFFECTIVE_SHARE = 0.5
"""Voters that are worth less than this share of their number call for a word."""

Found = Iterator[dict[str, Any]]


def find_warnings(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Warnings about `results` (all of it but warnings and verdicts), gravest first.

    Each is {"kind", "text", "checkpoints"}. For the kinds that contradict a verdict (`reward_hacking`,
    `head_to_head`) the first two checkpoints are those of the comparison.
    """
    whole = [entry for entry in results["comparisons"] if entry["slice"] == "all"]
    finders = (
        _reward_hacking,
        _head_to_head,
        _cycles,
        _same_pictures,
        _left_out,
        _one_training_seed,
        _few_prompts,
        _electorate,
        _many_ties,
        _exact_intervals,
        _table,
    )
    return [warning for find in finders for warning in find(results, whole)]


def _warning(kind: str, text: str, checkpoints: list[str]) -> dict[str, Any]:
    return {"kind": kind, "text": text, "checkpoints": checkpoints}


def _of(whole: list[dict[str, Any]], scorer: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(entry["a"], entry["b"]): entry for entry in whole if entry["scorer"] == scorer}


def _percent(entry: Mapping[str, Any], turned: bool) -> str:
    """Win rate and interval, seen from `b` where `turned`."""
    rate, ci95 = entry["win_rate"], entry["ci95"]
    if turned:
        rate, ci95 = 1 - rate, None if ci95 is None else [1 - ci95[1], 1 - ci95[0]]
    return f"{100 * rate:.1f} % {interval_text(ci95)}"


def _reward_hacking(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """The vote and a held-out scorer exclude 50 % on opposite sides."""
    held_out = results["suite"]["electorate"]["held_out"]
    for (a, b), vote in _of(whole, MAJORITY).items():
        for scorer in held_out:
            other = _of(whole, scorer)[a, b]
            sides = {outcome(vote["ci95"]), outcome(other["ci95"])}
            if sides != {"better", "worse"}:
                continue
            turned = outcome(vote["ci95"]) == "worse"
            winner, loser = (b, a) if turned else (a, b)
            yield _warning(
                "reward_hacking",
                f"{winner} wins the vote against {loser} ({_percent(vote, turned)}) but loses by the "
                f"held-out {scorer} ({_percent(other, turned)}): the voters may have been gamed (reward "
                "hacking). Look at the pictures before believing the vote.",
                [winner, loser],
            )


def _head_to_head(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """More wins against the baseline, yet beaten in the direct comparison."""
    votes = _of(whole, MAJORITY)
    baseline = next(iter(results["checkpoints"]))
    against = {a: entry["win_rate"] for (a, b), entry in votes.items() if b == baseline}
    against |= {b: 1 - entry["win_rate"] for (a, b), entry in votes.items() if a == baseline}
    for (a, b), entry in votes.items():
        if a not in against or b not in against or outcome(entry["ci95"]) == "open":
            continue
        turned = outcome(entry["ci95"]) == "worse"
        winner, loser = (b, a) if turned else (a, b)
        if against[loser] > against[winner]:
            yield _warning(
                "head_to_head",
                f"{loser} wins more often against {baseline} ({100 * against[loser]:.1f} %) than {winner} "
                f"does ({100 * against[winner]:.1f} %), yet loses to it head to head: {winner} wins "
                f"{_percent(entry, turned)}.",
                [winner, loser],
            )


def _cycles(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Checkpoints that beat one another in a circle, each win beyond its interval."""
    ranking = results["ranking"]
    for circle in ranking["cycles"]["proven"] if ranking else ():
        wins = ", ".join(f"{a} beats {b}" for a, b in zip(circle, [*circle[1:], circle[0]], strict=True))
        yield _warning(
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
            yield _warning(
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
        yield _warning(
            "left_out",
            f"{left_out['samples']} of {left_out['of']} samples are left out for all checkpoints, because a score is missing "
            f"({told}). If images that fail are not like the others, the win rates are not those of all prompts.",
            sorted(left_out["missing"]),
        )


def _one_training_seed(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """A method that stands for itself with one training run: the verdict is about the checkpoint."""
    seeds: dict[tuple[str, ...], set[Any]] = {}
    named: dict[tuple[str, ...], list[str]] = {}
    for name, info in results["checkpoints"].items():
        training = info.get("training")
        if training:
            method = tuple(str(training.get(key)) for key in ("method", "recipe", "lora_rank"))
            seeds.setdefault(method, set()).add(training.get("seed"))
            named.setdefault(method, []).append(name)
    single = [name for method, names in named.items() if len(seeds[method]) == 1 for name in names]
    if single:
        yield _warning(
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
        yield _warning(
            "few_prompts",
            f"{n} distinct prompt{'s' if n > 1 else ''}: a win rate near 50 % is known to about "
            f"±{min(half, 50):.0f} points (one pair a prompt, no ties). More seeds of the same prompts do "
            "not make up for prompts.",
            [],
        )


def _electorate(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    voters = results["suite"]["electorate"]["voters"]
    k, worth = len(voters), results["agreement"]["effective_voters"]
    if k == 1:
        yield _warning("one_voter", f"One scorer votes: the vote is {voters[0]} and no second opinion.", [])
    elif k % 2 == 0:
        yield _warning(
            "even_electorate",
            f"{k} voters are an even number: {results['suite']['electorate']['tie_rule']}.",
            [],
        )
    blind = [name for name in voters if results["scorers"][name]["prompt_blind"]]
    if blind:
        yield _warning(
            "prompt_blind_voter",
            f"{', '.join(blind)} {'vote' if len(blind) > 1 else 'votes'} without seeing the prompt, on "
            "looks alone: a picture of something else can win.",
            [],
        )
    if k > 1 and worth is not None and worth < EFFECTIVE_SHARE * k:
        yield _warning(
            "dependent_voters",
            f"{k} voters are worth about {worth:.1f} independent ones (mean correlation of their votes "
            f"{results['agreement']['mean_vote_correlation']:.2f}): unanimity among them is weak evidence.",
            [],
        )


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
        more = (
            f" and {len(shares) - 1} more comparison{'s' if len(shares) > 2 else ''}"
            if len(shares) > 1
            else ""
        )
        who = ", ".join("the vote" if scorer == MAJORITY else scorer for scorer in scorers)
        yield _warning(
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
        yield _warning(
            "exact_interval",
            f"Fewer than {RARE} prompts differ from the commonest result, where resampling sees too little spread: {which} "
            f"{'is' if len(found) == 1 else 'are'} a wider bound, exact for the share of prompts that could differ.",
            sorted({name for e in found for name in (e["a"], e["b"])}),
        )


def _table(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    low, high = results["suite"]["seeds_per_prompt"]
    if low < high:
        yield _warning(
            "unequal_seeds",
            f"Prompts have {low} to {high} seeds: win rates are means over pairs, so prompts with more "
            "seeds weigh more.",
            [],
        )
    if any(entry["slice"] != "all" for entry in results["comparisons"]):
        yield _warning(
            "exploratory_slices",
            "Slices are exploratory: their intervals are not corrected for looking at many of them, so "
            "about one in twenty leaves out the truth.",
            [],
        )
