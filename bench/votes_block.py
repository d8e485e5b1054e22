"""The "votes" of results.json: what other ways to count the votes would have said.

The plain majority decides the verdict. Beside it, on all prompts: the unanimous vote, the vote weighted by accuracy on human
data, the majority without each voter in turn, and the majority with the scorers that a checkpoint was trained against.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefbench.bench.paired_samples import Ballots, PairedSamples
from prefbench.bench.tally.agreement import effective_voters, vote_correlation
from prefbench.bench.tally.votes import Outcome, decide, unanimous
from prefbench.bench.tally.win_rate import WinRate
from prefbench.bench.verdict import MAJORITY

__all__ = ["WITH_TRAINED_AGAINST", "Variant", "vote_variants", "votes_block"]

WITH_TRAINED_AGAINST = "with trained-against"
"""The rule of the variant in which scorers vote on what was trained against them."""


@dataclass(frozen=True)
class Variant:
    """Another way to count the votes of one comparison."""

    rule: str
    pair: tuple[str, str]
    voters: list[str]
    outcome: Outcome


def vote_variants(
    samples: PairedSamples, ballots: Ballots, weights: Mapping[str, float] | None
) -> list[Variant]:
    """Every variant of the vote of every comparison.

    A variant is left out where it has no voter: the weighted one where all voters of a comparison have weight 0, "without
    NAME" where NAME is the only one.

    Args:
        samples: the scores.
        ballots: what every scorer votes, and whose votes count where.
        weights: of the voters, from `voter_weights`; None for no weighted vote.
    """
    return [v for i in range(len(ballots.pairs)) for v in _variants(ballots, i, samples.scorers, weights)]


def votes_block(
    samples: PairedSamples,
    ballots: Ballots,
    comparisons: Sequence[Mapping[str, Any]],
    variants: Sequence[Variant],
    rates: Sequence[WinRate | None],
    *,
    weights: Mapping[str, float] | None,
    weights_source: str | None,
    electorate_worth: float | None,
) -> dict[str, Any]:
    """The block. The entry of the plain majority also says how many independent voters those of its comparison are worth.

    Args:
        samples: the scores.
        ballots: what every scorer votes, and whose votes count where.
        comparisons: entries of results.json; those of the majority stand here again, unchanged.
        variants: from `vote_variants`.
        rates: of each variant on all prompts; one whose tie rule counts no pair, None, is left out.
        weights: of the weighted vote.
        weights_source: where they are from.
        electorate_worth: how many independent voters the whole electorate is worth, over all comparisons.
    """
    names = samples.scorers
    plain = {
        (entry["a"], entry["b"]): entry
        for entry in comparisons
        if entry["scorer"] == MAJORITY and entry["slice"] == "all"
    }
    entries = []
    for i, pair in enumerate(ballots.pairs):
        voters = [names[k] for k in ballots.electorates[i]]
        first = Variant(MAJORITY, pair, voters, ballots.outcomes[i])
        worth = effective_voters(len(voters), vote_correlation(ballots.cast[i][ballots.electorates[i]]))
        entries.append(_entry(first, plain[pair]) | {"effective_voters": worth})
        entries += [
            _entry(variant, vars(rate))
            for variant, rate in zip(variants, rates, strict=True)
            if variant.pair == pair and rate is not None
        ]
    return {
        "tie_rule": ballots.tie_rule,
        "weights": weights,
        "weights_source": weights_source,
        "effective_voters": electorate_worth,
        "variants": entries,
    }


def _variants(
    ballots: Ballots, i: int, names: Sequence[str], weights: Mapping[str, float] | None
) -> list[Variant]:
    """All but the plain majority, of comparison `i`."""
    cast, places, rule = ballots.cast[i], ballots.electorates[i], ballots.tie_rule
    everywhere = np.ones(cast.shape[1], dtype=bool)
    found = [("unanimous", places, Outcome(unanimous(cast[places]), everywhere))]
    heard = [] if weights is None else [k for k in places if weights[names[k]] > 0]
    if weights is not None and heard:
        by_accuracy = decide(cast[heard], weights=[weights[names[k]] for k in heard], tie_rule=rule)
        found.append(("weighted", heard, by_accuracy))
    for k in places:
        rest = [other for other in places if other != k]
        if rest:
            found.append((f"without {names[k]}", rest, decide(cast[rest], tie_rule=rule)))
    if len(places) < ballots.voters:
        everyone = list(range(ballots.voters))
        found.append((WITH_TRAINED_AGAINST, everyone, decide(cast[everyone], tie_rule=rule)))
    return [
        Variant(name, ballots.pairs[i], [names[k] for k in voters], outcome)
        for name, voters, outcome in found
    ]


def _entry(variant: Variant, numbers: Mapping[str, Any]) -> dict[str, Any]:
    a, b = variant.pair
    return {
        "rule": variant.rule,
        "a": a,
        "b": b,
        "voters": variant.voters,
        **{key: numbers[key] for key in ("pairs", "wins", "ties", "losses")},
        "abstained": int((~variant.outcome.counted).sum()),
        "win_rate": numbers["win_rate"],
        "ci95": None if numbers["ci95"] is None else list(numbers["ci95"]),
        "ci_method": numbers["ci_method"],
    }
