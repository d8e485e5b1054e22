"""What an earlier run says about the next: ties, how alike a prompt's seeds and the scorers' votes are.

A plan needs these before the large run is made; a small one tells them, or the last one of the same kind. Its numbers have
an error of their own, told by a bootstrap over its prompts.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.baselines.source import SCORES, ScoreSource, read_source
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.paired_samples import Ballots, PairedSamples, arrange, ballots_of, cast_ballots
from prefbench.bench.registry import unknown_name
from prefbench.bench.resamples import stream
from prefbench.bench.scores_table import check_complete
from prefbench.bench.tally.agreement import vote_correlation
from prefbench.bench.tally.seed_correlation import SeedCorrelation, seed_correlation

__all__ = ["FEWEST_FOR_ERROR", "UNFAVOURABLE", "Pilot", "read_pilot"]

FEWEST_FOR_ERROR = 10
"""Under so many prompts a bootstrap over them does not tell how far off the numbers are. Ours."""

UNFAVOURABLE = 0.9
"""The end of an estimate: nine of ten resamples ask for no more prompts."""

RESAMPLES = 400
"""An end at 90 % is then itself known to about 1.5 %."""

NO_VOTE = 2
"""Where the tie rule leaves a pair out."""

Votes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Pilot:
    """What was measured on one comparison of a pilot."""

    source: Path
    a: str
    b: str
    prompts: int
    """Distinct texts."""
    pairs: int
    voters: int
    win_rate: float
    """Of the majority vote, a over b."""
    tie_rate: float
    """Of the majority vote."""
    seeds: SeedCorrelation | None
    """Of the majority vote's outcomes; None where it can not be measured, with one seed a prompt for example."""
    scorer_tie_rate: float
    """Mean over the voters of the share of pairs that each ties."""
    vote_correlation: float | None
    """Mean over any two voters; None with one voter, or where one always votes the same."""
    counted: float = 1.0
    """Share of pairs that the tie rule leaves in."""
    unfavourable: "Pilot | None" = None
    """The same with every number at the unfavourable end of its bootstrap over the prompts: fewer ties, fewer pairs that
    count, higher correlations.
    None with fewer than `FEWEST_FOR_ERROR` prompts."""


def read_pilot(path: Path, a: str = "", b: str = "") -> Pilot:
    """Measure a pilot.

    Args:
        path: the folder of `bench` or `compare`, its results.json or scores.parquet: its electorate votes. Or the folder of
            `score`, or a scores table made elsewhere (higher is better): all its scorers vote.
        a: checkpoint whose win rate is meant; empty where the pilot has two checkpoints.
        b: its baseline; likewise.

    Raises:
        DataError: a file that is missing or can not be used, scores that are missing, or fewer than two prompts with a vote.
        UsageError: an unknown checkpoint, or more than two and none named.
    """
    source = read_source(path)
    a, b = _pair(a, b, source.checkpoints, path)
    frame = source.scores[source.scores["checkpoint"].isin([a, b])].reset_index(drop=True)
    _check_complete(frame, source.path / SCORES if source.path.is_dir() else source.path)
    samples, ballots = _cast(frame, source, a, b)
    kept, cast = ballots.counted[0], ballots.cast[0][ballots.electorates[0]]
    texts = pd.factorize(samples.about["prompt"])[0]
    prompts = len(np.unique(texts[kept]))
    if prompts < 2:
        raise DataError(
            f"The pilot {path} has {'one prompt' if prompts else 'no prompt'} on which {a} and {b} get a vote. It takes two "
            "prompts to tell anything of how prompts differ, and some dozens to tell it well. Give --pilot a run with more "
            "prompts, or give --tie-rate and --seed-correlation yourself."
        )
    signs = np.where(kept, ballots.vote[0], NO_VOTE)
    measured = _measure(signs, cast, texts)
    pilot = Pilot(
        source=path,
        a=a,
        b=b,
        prompts=prompts,
        pairs=int(kept.sum()),
        voters=len(cast),
        win_rate=float((1 + signs[kept]).mean() / 2),
        tie_rate=measured.tie_rate,
        seeds=measured.seeds,
        scorer_tie_rate=measured.scorer_tie_rate,
        vote_correlation=measured.vote_correlation,
        counted=float(kept.mean()),
    )
    return replace(pilot, unfavourable=_unfavourable(pilot, signs, cast, texts))


@dataclass(frozen=True)
class _Measured:
    tie_rate: float
    seeds: SeedCorrelation | None
    scorer_tie_rate: float
    vote_correlation: float | None
    counted: float


def _measure(signs: Votes, cast: Votes, prompts: npt.NDArray[np.int64]) -> _Measured:
    """Of the vote, shape (pairs,), `NO_VOTE` where there is none, and of the voters' votes, shape (voters, pairs)."""
    kept = signs != NO_VOTE
    if not kept.any():
        return _Measured(0.0, None, float((cast == 0).mean()), vote_correlation(cast), 0.0)
    return _Measured(
        tie_rate=float((signs[kept] == 0).mean()),
        seeds=seed_correlation((1 + signs[kept]) / 2, prompts[kept]),
        scorer_tie_rate=float((cast == 0).mean()),
        vote_correlation=vote_correlation(cast),
        counted=float(kept.mean()),
    )


def _unfavourable(pilot: Pilot, signs: Votes, cast: Votes, prompts: npt.NDArray[np.int64]) -> Pilot | None:
    """The pilot at the unfavourable ends; a resample in which a correlation is not defined counts as one of 1."""
    if pilot.prompts < FEWEST_FOR_ERROR:
        return None
    rng, order = stream(0, "pilot"), np.argsort(prompts, kind="stable")
    of_prompt = np.split(order, np.cumsum(np.bincount(prompts))[:-1])
    drawn = []
    for _ in range(RESAMPLES):
        chosen = [of_prompt[i] for i in rng.integers(0, len(of_prompt), size=len(of_prompt))]
        rows, labels = np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [len(one) for one in chosen])
        drawn.append(_measure(signs[rows], cast[:, rows], labels))

    def highest(values: list[float | None], measured: float) -> float:
        return max(measured, float(np.quantile([1.0 if x is None else x for x in values], UNFAVOURABLE)))

    def lowest(values: list[float], measured: float) -> float:
        return min(measured, float(np.quantile(values, 1 - UNFAVOURABLE)))

    seeds, votes = pilot.seeds, pilot.vote_correlation
    if seeds is not None:
        end = highest([None if one.seeds is None else one.seeds.value for one in drawn], seeds.value)
        seeds = SeedCorrelation(end, end)
    if votes is not None:
        votes = highest([one.vote_correlation for one in drawn], votes)
    return replace(
        pilot,
        tie_rate=lowest([one.tie_rate for one in drawn], pilot.tie_rate),
        seeds=seeds,
        scorer_tie_rate=lowest([one.scorer_tie_rate for one in drawn], pilot.scorer_tie_rate),
        vote_correlation=votes,
        # Not 0, of which no number of prompts makes up: one prompt of the pilot has a vote at least.
        counted=max(1 / len(signs), lowest([one.counted for one in drawn], pilot.counted)),
    )


def _pair(a: str, b: str, known: list[str], path: Path) -> tuple[str, str]:
    """The two checkpoints; where none is named, the later one over the first, if there are two."""
    if bool(a) != bool(b):
        raise UsageError(f"--{'b' if a else 'a'} is missing: of the pilot {path} give both, --a and --b.")
    if not a:
        if len(known) != 2:
            raise UsageError(
                f"The pilot {path} has {len(known)} checkpoints ({', '.join(known)}). Name two with --a and --b."
            )
        return known[1], known[0]
    for name in (a, b):
        if name not in known:
            raise unknown_name("checkpoint", name, known)
    if a == b:
        raise UsageError(f"--a and --b both name {a!r}. Give two different checkpoints of {path}.")
    return a, b


def _cast(frame: pd.DataFrame, source: ScoreSource, a: str, b: str) -> tuple[PairedSamples, Ballots]:
    """The votes as the pilot counted them: its electorate, tie rule, tolerances, and what was trained against."""
    if source.results is None:
        samples = arrange(frame, [a, b], list(dict.fromkeys(frame["scorer"])), [])
        lower = {name for name, info in source.scorers.items() if info.get("direction") == "lower"}
        return samples, cast_ballots(samples, [(a, b)], lower=lower)
    return ballots_of(source.results, frame, pairs=[(a, b)])


def _check_complete(frame: pd.DataFrame, table: Path) -> None:
    try:
        check_complete(frame, source=str(table))
    except DataError as error:
        raise DataError(
            f"{error} `plan` has no such option: make the comparison with `prefbench compare {table} ... "
            "--drop-incomplete --out DIR`, and give --pilot DIR."
        ) from error
