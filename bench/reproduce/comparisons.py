"""Win rate of one arm over another, or over the base, from several training seeds.

The pairs of all training seeds stand together: seed s of the arm against seed s of the control, or against the one base.
The interval resamples prompts, each with its pairs of all seeds. It is an interval over PROMPTS, of these trainings: three
seeds are too few to resample, so the lowest and the highest rate of a single seed stand beside it, and a verdict needs
both: the interval leaves out 50 %, and every seed lies on that side of it. Such a verdict is about these trainings. What may
be said of the method stands beside it: an interval over trainings and prompts (`tally.two_level`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.paired_samples import PairedSamples, arrange, cast_votes
from prefbench.bench.resamples import stream
from prefbench.bench.results import summarise
from prefbench.bench.tally.two_level import method_win_rates
from prefbench.bench.tally.votes import majority
from prefbench.bench.verdict import MAJORITY

__all__ = ["RESAMPLES", "compare_runs", "verdict"]

RESAMPLES = 10_000
KEPT = (
    "prompts",
    "pairs",
    "wins",
    "ties",
    "losses",
    "win_rate",
    "ci95",
    "ci_method",
    "mean_difference",
    "mean_difference_ci95",
    "p_value",
)

Runs = Mapping[int, pd.DataFrame]
"""Training seed -> scores table of one checkpoint."""


def verdict(ci95: Sequence[float] | None, per_seed: Mapping[int, float]) -> str:
    """One of "beats", "loses" and "ties", which is: not told apart by these prompts and seeds.

    Args:
        ci95: interval of the win rate over prompts; None with one prompt.
        per_seed: training seed -> its win rate.

    >>> verdict([0.51, 0.6], {0: 0.56, 1: 0.52}), verdict([0.51, 0.6], {0: 0.61, 1: 0.5}), verdict(None, {0: 1.0})
    ('beats', 'ties', 'ties')
    """
    rates = per_seed.values()
    if ci95 is not None and ci95[0] > 0.5 and min(rates) > 0.5:
        return "beats"
    if ci95 is not None and ci95[1] < 0.5 and max(rates) < 0.5:
        return "loses"
    return "ties"


def compare_runs(
    name: str,
    runs: Runs,
    other: str,
    other_runs: Runs,
    *,
    voters: Sequence[str],
    held_out: Sequence[str],
    resamples: int = RESAMPLES,
) -> list[dict[str, Any]]:
    """The arm over the other, by the majority vote and by every held-out scorer.

    Args:
        name: the arm.
        runs: its scores by training seed; all of one prompt set and one sampling seed, higher is better.
        other: what it is held against.
        other_runs: the same of that.
        voters: scorers that vote.
        held_out: scorers that do not.
        resamples: of the bootstrap over prompts.

    Returns:
        One dict a judge: "over", "judge", the fields of a comparison in results.json, "per_seed", "verdict", and
        "trainings_ci95", over trainings and prompts, None from fewer than two trainings. Empty where no seed has both.
    """
    seeds = sorted(runs.keys() & other_runs.keys())
    if not seeds:
        return []
    frame = pd.concat(
        table.drop(columns=["category", "challenge"], errors="ignore").assign(
            checkpoint=checkpoint, seed=seed
        )
        for checkpoint, tables in ((name, runs), (other, other_runs))
        for seed, table in tables.items()
        if seed in seeds
    )
    electorate = {"voters": list(voters), "held_out": list(held_out)}
    results = summarise(frame, electorate=electorate, checkpoints=[other, name], resamples=resamples)
    samples = arrange(frame, [other, name], list(voters), list(held_out))
    ballots = cast_votes(samples, [(name, other)], set())[0]
    votes = {MAJORITY: majority(ballots[: len(voters)])}
    votes |= {scorer: ballots[len(voters) + i] for i, scorer in enumerate(held_out)}
    of_seed = samples.about["seed"].to_numpy()
    found = []
    for judge, cast in votes.items():
        entry = next(e for e in results["comparisons"] if e["scorer"] == judge and e["slice"] == "all")
        per_seed = {seed: float(np.mean((1 + cast[of_seed == seed]) / 2)) for seed in seeds}
        found.append(
            {"over": other, "judge": judge}
            | {key: entry[key] for key in KEPT}
            | {
                "per_seed": {str(seed): rate for seed, rate in per_seed.items()},
                "verdict": verdict(entry["ci95"], per_seed),
                "trainings_ci95": _over_trainings(cast, samples, resamples),
            }
        )
    return found


def _over_trainings(
    cast: npt.NDArray[np.int8], samples: PairedSamples, resamples: int
) -> tuple[float, float] | None:
    """Limits of the win rate over trainings and prompts: seed against seed, so their differences are the sample."""
    prompts, seeds = (samples.about[column].to_numpy() for column in ("prompt", "seed"))
    trainings = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    if len(trainings) < 2:
        return None
    # The same prompts in the same order for every training: a table lacks no sample that another has.
    of_training = np.stack([cast[rows] for rows in trainings])[:, None, :, None]
    labels = prompts[trainings[0]]
    return method_win_rates(of_training, labels, resamples=resamples, rng=stream(0, "all"))[0].ci95
