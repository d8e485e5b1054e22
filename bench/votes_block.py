"""The "votes" of results.json: what other ways to count the votes would have said.

The plain majority decides the verdict. Beside it, on all prompts: the unanimous vote, the vote weighted by accuracy on human
data, the majority without each voter in turn, and the majority with the scorers that a checkpoint was trained against.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prefbench.bench.electorate.accuracies import Accuracies, voter_weights
from prefbench.bench.paired_samples import Ballots, PairedSamples
from prefbench.bench.resamples import stream
from prefbench.bench.tally.votes import Outcome, decide, unanimous
from prefbench.bench.tally.win_rate import Interval, WinRate, counted_rate, tally
from prefbench.bench.verdict import MAJORITY

__all__ = ["WITH_TRAINED_AGAINST", "votes_block"]

WITH_TRAINED_AGAINST = "with trained-against"
"""The rule of the variant in which scorers vote on what was trained against them."""


@dataclass(frozen=True)
class _Variant:
    rule: str
    pair: tuple[str, str]
    voters: list[str]
    outcome: Outcome


def votes_block(
    samples: PairedSamples,
    ballots: Ballots,
    comparisons: Sequence[Mapping[str, Any]],
    accuracies: Accuracies | None,
    effective_voters: float | None,
    resamples: int,
    seed: int,
    interval: Interval = "percentile",
) -> dict[str, Any]:
    """Every variant of the vote of every comparison, on all prompts.

    A variant is left out where it has no voter: the weighted one where all voters of a comparison have weight 0, "without
    NAME" where NAME is the only one; and where its tie rule counts no pair.

    Args:
        samples: the scores.
        ballots: what every scorer votes, and whose votes count where.
        comparisons: entries of results.json; those of the majority stand here again, unchanged.
        accuracies: of the voters on human data; None for no weighted vote.
        effective_voters: how many independent voters the electorate is worth.
        resamples: bootstrap samples; the draws are those of the slice "all".
        seed: of the bootstrap.
        interval: as `tally` takes it.

    Raises:
        UsageError: accuracies that lack a voter, or by which none is better than a coin.
    """
    names = samples.scorers
    weights = None if accuracies is None else voter_weights(accuracies, names[: ballots.voters])
    variants = [v for i in range(len(ballots.pairs)) for v in _variants(ballots, i, names, weights)]
    rates = _rates(variants, samples, resamples, seed, interval)
    plain = {
        (entry["a"], entry["b"]): entry
        for entry in comparisons
        if entry["scorer"] == MAJORITY and entry["slice"] == "all"
    }
    entries = []
    for i, pair in enumerate(ballots.pairs):
        voters = [names[k] for k in ballots.electorates[i]]
        first = _Variant(MAJORITY, pair, voters, ballots.outcomes[i])
        entries.append(_entry(first, plain[pair]))
        entries += [
            _entry(variant, vars(rate))
            for variant, rate in zip(variants, rates, strict=True)
            if variant.pair == pair and rate is not None
        ]
    return {
        "tie_rule": ballots.tie_rule,
        "weights": weights,
        "weights_source": None if accuracies is None else accuracies.source,
        "effective_voters": effective_voters,
        "variants": entries,
    }


def _variants(
    ballots: Ballots, i: int, names: Sequence[str], weights: Mapping[str, float] | None
) -> list[_Variant]:
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
        _Variant(name, ballots.pairs[i], [names[k] for k in voters], outcome)
        for name, voters, outcome in found
    ]


def _rates(
    variants: Sequence[_Variant], samples: PairedSamples, resamples: int, seed: int, interval: Interval
) -> list[WinRate | None]:
    """Those that count every pair from one set of draws, the others from draws of the same stream."""
    prompts = pd.factorize(samples.about["prompt"], sort=True)[0]
    whole = [v.outcome.signs for v in variants if v.outcome.counted.all()]
    columns = np.stack(whole, axis=1) if whole else np.empty((len(prompts), 0), dtype=np.int8)
    rng = stream(seed, "all")
    together = iter(tally(columns, None, prompts, resamples=resamples, rng=rng, interval=interval)[0])
    return [
        next(together)
        if v.outcome.counted.all()
        else counted_rate(v.outcome, prompts, resamples=resamples, rng=stream(seed, "all"), interval=interval)
        for v in variants
    ]


def _entry(variant: _Variant, numbers: Mapping[str, Any]) -> dict[str, Any]:
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
