"""The "comparisons" of results.json: every two checkpoints by the vote and by each scorer, in every slice."""

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from prefbench.bench.paired_samples import Ballots, PairedSamples, slices_of
from prefbench.bench.tally.win_rate import RARE, MeanDifference, WinRate, tally
from prefbench.bench.verdict import MAJORITY

__all__ = ["METHOD", "comparison_entries"]

METHOD = (
    "95 % percentile bootstrap over distinct prompt texts, all seeds, scorers and votes of a prompt drawn "
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
) -> list[dict[str, Any]]:
    """The "comparisons" of results.json: all prompts first, then every slice.

    Args:
        samples: the scores.
        ballots: what every scorer votes on every comparison.
        untruncated: texts of the prompts that every voter reads to the end; None where it is not known.
        resamples: bootstrap samples.
        seed: of the bootstrap; each slice has its own stream.
    """
    slices = {"all": np.ones(len(samples.about), dtype=bool)} | slices_of(samples.about, untruncated or ())
    return [
        entry
        for name, rows in slices.items()
        for entry in _compare(samples, ballots, name, rows, resamples, seed)
    ]


def _compare(
    samples: PairedSamples,
    ballots: Ballots,
    name: str,
    rows: npt.NDArray[np.bool_],
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Every comparison by the vote and by each scorer, within one slice."""
    place = {checkpoint: i for i, checkpoint in enumerate(samples.checkpoints)}
    columns = [
        column
        for cast, vote in zip(ballots.cast, ballots.vote, strict=True)
        for column in (vote[rows], *cast[:, rows])
    ]
    gaps = [samples.scores[place[a]][rows] - samples.scores[place[b]][rows] for a, b in ballots.pairs]
    digest = hashlib.sha256(name.encode()).digest()
    rates, differences = tally(
        np.stack(columns, axis=1),
        np.concatenate(gaps, axis=1),
        samples.about["prompt"].to_numpy(dtype=object)[rows],
        resamples=resamples,
        rng=np.random.default_rng([seed, int.from_bytes(digest[:8], "big")]),
    )
    entries, rate, difference = [], iter(rates), iter(differences)
    for a, b in ballots.pairs:
        entries.append(_entry(a, b, MAJORITY, name, next(rate), None))
        entries += [_entry(a, b, scorer, name, next(rate), next(difference)) for scorer in samples.scorers]
    return entries


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
        "p_value": rate.p_value,
    }
