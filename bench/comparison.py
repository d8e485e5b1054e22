"""Checkpoints of a scores table made anywhere -> verdict, results.json, scores.parquet, report.html."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench import atomic
from prefbench.bench.electorate.options import VotingOptions
from prefbench.bench.exceptions import UsageError
from prefbench.bench.gaps import Incomplete, drop_incomplete
from prefbench.bench.out_folder import check_only_own
from prefbench.bench.registry import unknown_name
from prefbench.bench.results import summarise
from prefbench.bench.results_file import read_results
from prefbench.bench.scores_table import check_complete, read_scores, write_scores
from prefbench.bench.tally.win_rate import Interval

__all__ = ["WRITTEN", "choose_electorate", "compare_all", "compare_scores"]

EXACT = VotingOptions()
"""Exact ties, an even split is a tie, nobody was trained against."""

WRITTEN = ("report.html", "results.json", "scores.parquet")


def compare_scores(
    scores: Path,
    a: str,
    b: str,
    out: Path,
    *,
    voters: Sequence[str] = (),
    held_out: Sequence[str] = (),
    resamples: int = 10_000,
    seed: int = 0,
    incomplete: Incomplete = "refuse",
    interval: Interval = "percentile",
    planned_slices: Sequence[str] = (),
    definitions: bool = False,
    voting: VotingOptions = EXACT,
) -> dict[str, Any]:
    """Compare checkpoint `a` with `b` and write the folder `out`, whole or not at all.

    Args:
        scores: a scores table, CSV or Parquet. Other checkpoints in it are left out.
        a: the checkpoint whose win rate is given.
        b: the baseline.
        out: folder to write; an earlier comparison of the same two is replaced, anything else is refused.
        voters: scorers that vote; see `choose_electorate`.
        held_out: scorers that are reported and do not vote.
        resamples: bootstrap samples.
        seed: of the bootstrap.
        incomplete: what is done with a (prompt, seed) that lacks a score: "drop" leaves it out for both, and counts it.
        interval: which bootstrap interval: "percentile" or "bca".
        planned_slices: slices on which the vote was planned before the scores were seen.
        definitions: also give the shares by the definitions of papers.
        voting: tie rule and tolerances, what the checkpoints were trained against, accuracies of the voters.

    Returns:
        The results, as they stand in results.json.

    Raises:
        DataError: the table can not be used.
        UsageError: an unknown name, or a folder that holds something else.
    """
    if a == b:
        raise UsageError(f"--a and --b both name {a!r}. Give two different checkpoints of {scores}.")
    check_output_folder(out, [b, a])
    frame = read_scores(scores)
    known = sorted(frame["checkpoint"].unique())
    for name in (a, b):
        if name not in known:
            raise unknown_name("checkpoint", name, known)
    return _compare(
        frame,
        [b, a],
        out,
        str(scores),
        voters=voters,
        held_out=held_out,
        resamples=resamples,
        seed=seed,
        incomplete=incomplete,
        interval=interval,
        planned_slices=planned_slices,
        definitions=definitions,
        voting=voting,
    )


def compare_all(
    scores: Path,
    out: Path,
    *,
    baseline: str | None = None,
    voters: Sequence[str] = (),
    held_out: Sequence[str] = (),
    methods: Mapping[str, Sequence[str]] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    incomplete: Incomplete = "refuse",
    interval: Interval = "percentile",
    planned_slices: Sequence[str] = (),
    definitions: bool = False,
    voting: VotingOptions = EXACT,
) -> dict[str, Any]:
    """Compare every two checkpoints of a table, rank them, and write the folder `out`, whole or not at all.

    Args:
        scores: a scores table, CSV or Parquet.
        out: folder to write; an earlier comparison of the same checkpoints with the same baseline is replaced.
        baseline: the checkpoint that verdicts are against; None for the first of the table.
        voters: as in `compare_scores`, as are the other arguments, what is returned and raised.
        held_out: scorers that are reported and do not vote.
        methods: method -> the checkpoints that are its trainings, which differ in their seed alone.
        resamples: bootstrap samples.
        seed: of the bootstrap.
        incomplete: what is done with a (prompt, seed) that lacks a score.
        interval: which bootstrap interval.
        planned_slices: slices on which the vote against the baseline was planned.
        definitions: also give the shares by the definitions of papers.
        voting: tie rule and tolerances, what the checkpoints were trained against, accuracies of the voters.
    """
    check_output_folder(out)
    frame = read_scores(scores)
    names = list(dict.fromkeys(frame["checkpoint"]))
    first = names[0] if baseline is None else baseline
    if first not in names:
        raise unknown_name("checkpoint", first, sorted(names))
    ordered = [first, *(name for name in names if name != first)]
    check_output_folder(out, ordered)
    return _compare(
        frame,
        ordered,
        out,
        str(scores),
        voters=voters,
        held_out=held_out,
        methods=methods,
        resamples=resamples,
        seed=seed,
        incomplete=incomplete,
        interval=interval,
        planned_slices=planned_slices,
        definitions=definitions,
        voting=voting,
    )


def _compare(
    frame: pd.DataFrame,
    checkpoints: Sequence[str],
    out: Path,
    source: str,
    *,
    voters: Sequence[str],
    held_out: Sequence[str],
    methods: Mapping[str, Sequence[str]] | None = None,
    resamples: int,
    seed: int,
    incomplete: Incomplete,
    interval: Interval,
    planned_slices: Sequence[str],
    definitions: bool,
    voting: VotingOptions,
) -> dict[str, Any]:
    """Every two of `checkpoints`, baseline first; others of the table only tell which samples there should be."""
    from prefbench.reports.html import write_report

    whole, left_out = frame, None
    frame = whole[whole["checkpoint"].isin(checkpoints)].reset_index(drop=True)
    if incomplete == "drop":
        samples = list(zip(whole["prompt_id"], whole["seed"], strict=True))
        frame, left_out = drop_incomplete(frame, samples=samples, checkpoints=checkpoints, source=source)
    check_complete(frame, source=source)
    electorate = choose_electorate(list(dict.fromkeys(frame["scorer"])), voters, held_out)
    results = summarise(
        frame,
        electorate=electorate,
        checkpoints=checkpoints,
        methods=methods,
        left_out=left_out,
        resamples=resamples,
        seed=seed,
        interval=interval,
        planned_slices=planned_slices,
        definitions=definitions,
        rules=voting.rules(
            [*electorate["voters"], *electorate["held_out"]], list(whole["checkpoint"].unique())
        ),
    )
    with atomic.new_folder(out) as folder:
        atomic.write_json(folder / "results.json", results)
        write_scores(frame, folder / "scores.parquet")
        write_report(results, frame, folder / "report.html")
    return results


def choose_electorate(
    scorers: Sequence[str], voters: Sequence[str], held_out: Sequence[str]
) -> dict[str, list[str]]:
    """Who votes: all; or those named, and the rest is held out; or all but the held-out ones.

    Every scorer of the table is reported. Where both lists are given they must name all scorers, so that
    none drops out unseen.

    Raises:
        UsageError: an unknown or repeated scorer, one in both lists, one in neither, or nobody left to vote.
    """
    for name in (*voters, *held_out):
        if name not in scorers:
            raise unknown_name("scorer", name, list(scorers))
    both = [name for name in voters if name in held_out]
    if both:
        raise UsageError(
            f"{', '.join(both)} stands both in --electorate and in --held-out. A scorer votes or is held out: leave it "
            "out of one of them."
        )
    if voters and held_out:
        idle = [name for name in scorers if name not in (*voters, *held_out)]
        if idle:
            raise UsageError(
                f"The scorers {', '.join(idle)} are neither in --electorate nor in --held-out. Add each to "
                "one of them, or leave one option out: then the rest has the other role."
            )
    if voters:
        return {
            "voters": list(voters),
            "held_out": list(held_out) or [name for name in scorers if name not in voters],
        }
    return {"voters": [name for name in scorers if name not in held_out], "held_out": list(held_out)}


def check_output_folder(out: Path, checkpoints: Sequence[str] | None = None) -> None:
    """Refuse to replace anything but an earlier comparison of the same checkpoints with the same baseline.

    Args:
        out: the folder to write.
        checkpoints: baseline first; None while they are not known, to look at all the rest.

    Raises:
        UsageError: `out` cannot be written, or is a folder with something else in it.
    """
    check_only_own(out, "compare", WRITTEN)
    results = out / "results.json"
    if results.is_file():
        there = list(read_results(results)["checkpoints"])
        if checkpoints is not None and (there[:1], set(there)) != ([checkpoints[0]], set(checkpoints)):
            raise UsageError(
                f"The folder {out} holds a comparison of other checkpoints ({', '.join(there)}) or with another "
                "baseline, which is the first. Give --out a new folder, or delete this one."
            )
