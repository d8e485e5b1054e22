"""What an earlier run says about the next: ties, how alike a prompt's seeds and the scorers' votes are.

A plan needs these before the large run is made; a small one tells them, or the last one of the same kind.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.paired_samples import Ballots, PairedSamples, arrange, ballots_of, cast_ballots
from prefbench.bench.registry import unknown_name
from prefbench.bench.results_file import read_results
from prefbench.bench.scores_table import check_complete, read_scores
from prefbench.bench.tally.agreement import vote_correlation
from prefbench.bench.tally.seed_correlation import SeedCorrelation, seed_correlation

__all__ = ["Pilot", "read_pilot"]

RESULTS, SCORES = "results.json", "scores.parquet"


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


def read_pilot(path: Path, a: str = "", b: str = "") -> Pilot:
    """Measure a pilot.

    Args:
        path: the folder of `bench` or `compare`, its results.json or scores.parquet: its electorate votes. Or a scores
            table made elsewhere: all its scorers vote, higher is better.
        a: checkpoint whose win rate is meant; empty where the pilot has two checkpoints.
        b: its baseline; likewise.

    Raises:
        DataError: a file that is missing or can not be used, or scores that are missing.
        UsageError: an unknown checkpoint, or more than two and none named.
    """
    table, results = _files(path)
    frame = read_scores(table)
    known = list(dict.fromkeys(frame["checkpoint"]) if results is None else results["checkpoints"])
    a, b = _pair(a, b, known, path)
    frame = frame[frame["checkpoint"].isin([a, b])].reset_index(drop=True)
    _check_complete(frame, table)
    samples, ballots = _cast(frame, results, a, b)
    kept = ballots.counted[0]
    vote, cast = ballots.vote[0][kept], ballots.cast[0][ballots.electorates[0]]
    outcomes = (1 + vote) / 2
    texts = samples.about["prompt"].to_numpy(dtype=object).astype(str)[kept]
    return Pilot(
        source=path,
        a=a,
        b=b,
        prompts=len(set(texts)),
        pairs=len(vote),
        voters=len(cast),
        win_rate=float(outcomes.mean()),
        tie_rate=float((vote == 0).mean()),
        seeds=seed_correlation(outcomes, texts),
        scorer_tie_rate=float((cast == 0).mean()),
        vote_correlation=vote_correlation(cast),
    )


def _files(path: Path) -> tuple[Path, dict[str, Any] | None]:
    """The scores table, and the results beside it where a run or comparison wrote both."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or path.name in (RESULTS, SCORES):
        table, results = folder / SCORES, folder / RESULTS
        if not table.is_file():
            raise DataError(
                f"There is no {SCORES} in {folder}, so it can not serve as a pilot. Give --pilot the folder of "
                "`prefbench bench` or `compare`, or a scores table."
            )
        return table, read_results(results) if results.is_file() else None
    return path, None


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


def _cast(
    frame: pd.DataFrame, results: dict[str, Any] | None, a: str, b: str
) -> tuple[PairedSamples, Ballots]:
    """The votes as the pilot counted them: its electorate, tie rule, tolerances, and what was trained against."""
    if results is None:
        samples = arrange(frame, [a, b], list(dict.fromkeys(frame["scorer"])), [])
        return samples, cast_ballots(samples, [(a, b)])
    return ballots_of(results, frame, pairs=[(a, b)])


def _check_complete(frame: pd.DataFrame, table: Path) -> None:
    try:
        check_complete(frame, source=str(table))
    except DataError as error:
        raise DataError(
            f"{error} `plan` has no such option: make the comparison with `prefbench compare {table} ... "
            "--drop-incomplete --out DIR`, and give --pilot DIR."
        ) from error
