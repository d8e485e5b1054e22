"""The "comparisons" of results.json: every two checkpoints by the vote and by each scorer, in every slice.

**Planned** is what was named before the numbers were seen: the vote on all prompts against the baseline always, and the vote
against the baseline on the slices of `planned_slices`. All else is exploration: single scorers, other slices, head to head.
`p_adjusted` is `p_value` (the sign test) adjusted within its family: Holm over the planned, Benjamini-Hochberg over
the rest. A planned slice in which the tie rule leaves the vote no pair has no entry, and Holm counts it with p = 1. A scorer
is not planned even on all prompts: the verdict goes by the vote, and K scorers beside it are K more chances to find something.
"""

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from prefbench.bench.exceptions import DataError
from prefbench.bench.paired_samples import Ballots, PairedSamples, slices_of
from prefbench.bench.registry import unknown_name
from prefbench.bench.resamples import stream
from prefbench.bench.tally.multiplicity import benjamini_hochberg, holm
from prefbench.bench.tally.permutation import ENUMERATED
from prefbench.bench.tally.unanimity import RARE
from prefbench.bench.tally.votes import Outcome
from prefbench.bench.tally.win_rate import Interval, MeanDifference, WinRate, counted_rate, tally
from prefbench.bench.verdict import MAJORITY

__all__ = ["TESTS", "comparison_entries", "method_text"]

TESTS = (
    "p_value: exact two-sided sign test on prompts. permutation_p_value: the signs of whole prompts flipped; for the vote the "
    f"mean vote, exact; for a scorer its mean difference, exact up to {ENUMERATED} prompts, beyond as many random flips as "
    "there are resamples, (b + 1) / (m + 1). effect_size: mean over prompts of the mean difference over its standard deviation "
    "(Cohen's d_z on prompts). p_adjusted: of p_value, Holm over the planned comparisons, Benjamini-Hochberg over all others."
)

SLICES_AT_ONCE = 4
"""Each takes 100 MB or more where there are a million images."""


def method_text(interval: Interval) -> str:
    """How intervals and p-values are made, in the words of results.json."""
    kind = "percentile" if interval == "percentile" else "bias-corrected and accelerated (BCa)"
    return (
        f"95 % {kind} bootstrap over distinct prompt texts, all seeds, scorers and votes of a prompt drawn "
        f"together; where fewer than {RARE} prompts differ from the commonest outcome, a bound from the exact "
        "Clopper-Pearson limit over prompts; none for a single prompt. p-values are those of an exact two-sided "
        "sign test on prompts, evenly split prompts left out."
    )


def comparison_entries(
    samples: PairedSamples,
    ballots: Ballots,
    untruncated: Collection[str] | None,
    resamples: int,
    seed: int,
    *,
    interval: Interval = "percentile",
    planned_slices: Sequence[str] = (),
    variants: Sequence[Outcome] = (),
) -> tuple[list[dict[str, Any]], list[WinRate | None]]:
    """The "comparisons" of results.json: all prompts first, then every slice; and rates of other votes, on all prompts.

    Args:
        samples: the scores; the first checkpoint is the baseline.
        ballots: what every scorer votes on every comparison.
        untruncated: texts of the prompts that every voter reads to the end; None where it is not known.
        resamples: bootstrap samples.
        seed: of the bootstrap; each slice has its own stream.
        interval: which bootstrap interval.
        planned_slices: slices on which the vote against the baseline was planned.
        variants: other outcomes of a vote. Theirs are the draws of the slice "all", so they are tallied with it.

    Returns:
        The entries; one win rate a variant, None for one that counts no pair.

    Raises:
        UsageError: a planned slice that the table does not have.
        DataError: the tie rule leaves the vote no pair.
    """
    slices = {"all": np.ones(len(samples.about), dtype=bool)} | slices_of(samples.about, untruncated or ())
    for name in planned_slices:
        if name not in slices:
            raise unknown_name("slice", name, list(slices))
    # Numbers in the order of the texts: a slice then sorts numbers, and its draws stay what they were.
    prompts = pd.factorize(samples.about["prompt"], sort=True)[0]

    def of_slice(name: str) -> tuple[list[dict[str, Any]], list[WinRate | None]]:
        others = variants if name == "all" else ()
        return _compare(samples, ballots, others, prompts, name, slices[name], resamples, seed, interval)

    # Slices have streams of their own, so they may run side by side; BLAS with threads of its own would fight for the cores.
    workers = min(SLICES_AT_ONCE, os.cpu_count() or 1)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max_workers=workers) as pool:
        found = list(pool.map(of_slice, slices))
    entries = [entry for of_one, _ in found for entry in of_one]
    baseline = samples.checkpoints[0]
    _adjust(entries, baseline, {"all", *planned_slices}, sum(baseline in pair for pair in ballots.pairs))
    return entries, found[0][1]


def _adjust(
    entries: list[dict[str, Any]], baseline: str, slices: Collection[str], against_baseline: int
) -> None:
    """Say which comparisons were planned, and adjust the p-values of these and of the others.

    A planned one without a pair (`against_baseline` in each slice were planned) has p = 1 in its family.
    """
    for entry in entries:
        against = baseline in (entry["a"], entry["b"])
        entry["planned"] = entry["scorer"] == MAJORITY and entry["slice"] in slices and against
    for planned, adjusted in ((True, holm), (False, benjamini_hochberg)):
        family = [entry for entry in entries if entry["planned"] == planned]
        without_pair = len(slices) * against_baseline - len(family) if planned else 0
        p_values = adjusted([entry["p_value"] for entry in family] + [1.0] * without_pair)
        for entry, p in zip(family, p_values[: len(family)], strict=True):
            entry["p_adjusted"] = float(p)


def _compare(
    samples: PairedSamples,
    ballots: Ballots,
    variants: Sequence[Outcome],
    prompts: npt.NDArray[np.int64],
    name: str,
    rows: npt.NDArray[np.bool_],
    resamples: int,
    seed: int,
    interval: Interval,
) -> tuple[list[dict[str, Any]], list[WinRate | None]]:
    """Every comparison by the vote and by each scorer, within one slice; and the variants' rates."""
    place = {checkpoint: i for i, checkpoint in enumerate(samples.checkpoints)}
    votes = [Outcome(o.signs[rows], o.counted[rows]) for o in (*ballots.outcomes, *variants)]
    of_scorers = [column for cast in ballots.cast for column in cast[:, rows]]
    gaps = [samples.scores[place[a]][rows] - samples.scores[place[b]][rows] for a, b in ballots.pairs]
    largest = np.stack([np.abs(scores[rows]).max(axis=0) for scores in samples.scores])
    rates, differences = tally(
        np.stack([*(vote.signs for vote in votes), *of_scorers], axis=1),
        np.concatenate(gaps, axis=1),
        prompts[rows],
        resamples=resamples,
        rng=stream(seed, name),
        interval=interval,
        scale=np.concatenate([largest[[place[a], place[b]]].max(axis=0) for a, b in ballots.pairs]),
    )
    of_votes = [
        # What its tie rule leaves out is in no resample either.
        rate
        if vote.counted.all()
        else counted_rate(vote, prompts[rows], resamples=resamples, rng=stream(seed, name), interval=interval)
        for vote, rate in zip(votes, rates[: len(votes)], strict=True)
    ]
    entries, rate, difference = [], iter(rates[len(votes) :]), iter(differences)
    for i, (a, b) in enumerate(ballots.pairs):
        by_vote = of_votes[i]
        if by_vote is not None:
            voters = [samples.scorers[k] for k in ballots.electorates[i]]
            left_out = int((~votes[i].counted).sum())
            entries.append(
                _entry(a, b, MAJORITY, name, by_vote, None) | {"voters": voters, "abstained": left_out}
            )
        elif name == "all":
            raise DataError(
                f"On every pair of {a} and {b} the voters split evenly or all tie, and the tie rule leaves such pairs out: there "
                'is no vote. Choose the tie rule "tie", or an odd number of voters.'
            )
        entries += [_entry(a, b, scorer, name, next(rate), next(difference)) for scorer in samples.scorers]
    return entries, of_votes[len(ballots.pairs) :]


def _entry(
    a: str, b: str, scorer: str, name: str, rate: WinRate, gap: MeanDifference | None
) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "scorer": scorer,
        "slice": name,
        "prompts": rate.prompts,
        "pairs": rate.pairs,
        "wins": rate.wins,
        "ties": rate.ties,
        "losses": rate.losses,
        "win_rate": rate.win_rate,
        "ci95": None if rate.ci95 is None else list(rate.ci95),
        "ci_method": rate.ci_method,
        "mean_difference": None if gap is None else gap.mean,
        "mean_difference_ci95": None if gap is None or gap.ci95 is None else list(gap.ci95),
        "effect_size": None if gap is None else gap.effect_size,
        "p_value": rate.p_value,
        "permutation_p_value": rate.permutation_p_value if gap is None else gap.permutation_p_value,
    }
