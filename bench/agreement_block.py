"""The "agreement" of results.json: how far the scorers say the same, and who of them are kin."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.paired_samples import Ballots, PairedSamples
from prefbench.bench.resamples import stream
from prefbench.bench.tally.agreement import (
    effective_voters,
    kendall_tau,
    krippendorff_alpha,
    krippendorff_interval,
    same_winner,
    vote_correlation,
)
from prefbench.scorers.backbones import backbone_of, is_prompt_blind

__all__ = ["ALPHA_RESAMPLES", "KENDALL_PAIRS", "agreement_block", "family_sentences"]

KENDALL_PAIRS = 20_000
"""Of a comparison with more pairs of samples Kendall's tau looks at so many, evenly spread: its standard error is 0.005 then
for independent scorers and 0.01 at most, and a table of a million rows does not take longer than its bootstrap."""


ALPHA_RESAMPLES = 2000
"""At most, for the interval of alpha: it decides nothing, and 10,000 would take as long as a slice of all win rates."""


def agreement_block(
    ballots: Ballots,
    samples: PairedSamples,
    scorers: Mapping[str, Mapping[str, Any]],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Over all pairs of all comparisons. Correlation and alpha are those of the voters, within a comparison.

    Args:
        ballots: what every scorer votes.
        samples: the scores.
        scorers: scorer -> its info as results.json has it. Of one that is known from a scores table alone, backbone and whether
            it reads the prompt go by its name, if that is a registered one.
        resamples: bootstrap samples of alpha's interval, of which `ALPHA_RESAMPLES` are enough.
        seed: of its bootstrap.
    """
    comparisons, n, pairs = ballots.cast.shape
    flat = ballots.cast.transpose(1, 0, 2).reshape(n, comparisons * pairs)
    of = np.repeat(np.arange(comparisons), pairs)
    prompts = np.tile(pd.factorize(samples.about["prompt"], sort=True)[0], comparisons)
    interval = krippendorff_interval(
        flat[: samples.voters],
        prompts,
        of,
        resamples=min(resamples, ALPHA_RESAMPLES),
        rng=stream(seed, "agreement"),
    )
    correlation = vote_correlation(flat[: samples.voters], of)
    tau, used = _mean_tau(ballots, samples, [scorers[name]["direction"] for name in samples.scorers])
    return {
        "scorers": samples.scorers,
        "same_winner": same_winner(flat).tolist(),
        "mean_vote_correlation": correlation,
        "effective_voters": effective_voters(samples.voters, correlation),
        "krippendorff_alpha": krippendorff_alpha(flat[: samples.voters], of),
        "krippendorff_ci95": None if interval is None else list(interval),
        "kendall_tau": [[None if np.isnan(value) else float(value) for value in row] for row in tau],
        "kendall_pairs": used,
        "families": _families(scorers, samples.scorers),
        "prompt_blind": [name for name in samples.scorers if _blind(name, scorers[name])],
    }


def family_sentences(agreement: Mapping[str, Any], voters: Sequence[str]) -> Iterator[str]:
    """For each backbone of two or more voters: who they are, and how often they agree beside the others.

    Args:
        agreement: what `agreement_block` returns.
        voters: of the electorate.
    """
    place = {name: i for i, name in enumerate(agreement["scorers"])}
    alike = {
        pair: agreement["same_winner"][place[pair[0]]][place[pair[1]]] for pair in combinations(voters, 2)
    }
    for backbone, family in agreement["families"].items():
        kin = [name for name in voters if name in family]
        within = {pair: share for pair, share in alike.items() if set(pair) <= set(kin)}
        others = [share for pair, share in alike.items() if pair not in within]
        if not within:
            continue
        told = ", ".join(
            _percent(share) if len(kin) == 2 else f"{_percent(share)} ({one}, {other})"
            for (one, other), share in within.items()
        )
        rest = (
            f", the other pairs of voters on {_percent(sum(others) / len(others))} on average"
            if others
            else ""
        )
        yield (
            f"{', '.join(kin[:-1])} and {kin[-1]} were made from one network, {backbone}: they may err together, and the vote "
            f"counts them as {len(kin)}. They name the same winner on {told} of pairs of samples{rest}."
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _mean_tau(
    ballots: Ballots, samples: PairedSamples, directions: Sequence[str]
) -> tuple[npt.NDArray[np.float64], int]:
    """Kendall's tau between scorers, its mean over the comparisons that have one; nan where none has. And pairs used."""
    place = {name: i for i, name in enumerate(samples.checkpoints)}
    sign = np.array([[-1.0 if direction == "lower" else 1.0] for direction in directions])
    n = samples.scores.shape[1]
    rows = np.linspace(0, n - 1, min(n, KENDALL_PAIRS)).astype(int)
    taus = np.stack(
        [
            kendall_tau(sign * (samples.scores[place[a]][rows] - samples.scores[place[b]][rows]).T)
            for a, b in ballots.pairs
        ]
    )
    known = (~np.isnan(taus)).sum(axis=0)
    total = np.nansum(taus, axis=0)
    return np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0), len(rows)


def _families(scorers: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[str]]:
    """Backbone -> two or more scorers that were made from it."""
    found: dict[str, list[str]] = {}
    for name in names:
        backbone = scorers[name].get("backbone") or _by_name(name, scorers[name])
        if backbone:
            found.setdefault(backbone, []).append(name)
    return {backbone: kin for backbone, kin in found.items() if len(kin) > 1}


def _by_name(name: str, info: Mapping[str, Any]) -> str | None:
    """Only of a scorer that nothing else is known of: one that was loaded has said what it is."""
    return backbone_of(name) if info.get("fingerprint") is None else None


def _blind(name: str, info: Mapping[str, Any]) -> bool:
    blind = info.get("prompt_blind")
    return is_prompt_blind(name) if blind is None else bool(blind)
