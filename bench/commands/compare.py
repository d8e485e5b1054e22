"""`prefbench compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prefbench.bench.commands.options import Accuracy, IntervalName, OutFolder, Resamples, ResamplingSeed

__all__ = ["compare_command"]


def compare_command(
    scores: Annotated[Path, typer.Argument(help="Scores table: CSV (UTF-8) or Parquet.", show_default=False)],
    out: OutFolder,
    a: Annotated[
        str, typer.Option("--a", help="Checkpoint whose win rate is given.", show_default=False)
    ] = "",
    b: Annotated[str, typer.Option("--b", help="Baseline checkpoint.", show_default=False)] = "",
    every: Annotated[
        bool,
        typer.Option("--all", help="Compare every two checkpoints and rank them, instead of --a and --b."),
    ] = False,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", help="With --all: what verdicts are against; the table's first if not given."
        ),
    ] = "",
    electorate: Annotated[
        str,
        typer.Option(
            "--electorate",
            help="Scorers that vote, comma-separated; the rest is held out. All vote if not given.",
        ),
    ] = "",
    held_out: Annotated[
        str, typer.Option("--held-out", help="Scorers that are reported and do not vote, comma-separated.")
    ] = "",
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME=CHECKPOINT,...",
            help="With --all: trainings of one method that differ in their seed alone; repeatable.",
        ),
    ] = None,
    resamples: Resamples = 10_000,
    seed: ResamplingSeed = 0,
    drop_incomplete: Annotated[
        bool,
        typer.Option(
            "--drop-incomplete",
            help="Leave out every (prompt, seed) that lacks a score, for all checkpoints; refused if not given.",
        ),
    ] = False,
    interval: IntervalName = "percentile",
    planned: Annotated[
        list[str] | None,
        typer.Option(
            "--planned",
            metavar="SLICE",
            help='A slice that was planned before the scores were seen ("category=Animals"); repeatable.',
        ),
    ] = None,
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Also the shares by the definitions of papers.")
    ] = False,
    tie_rule: Annotated[
        str,
        typer.Option(
            "--tie-rule",
            help="Of an even split of the voters: tie counts it half, abstain leaves it out, first asks the first voter.",
        ),
    ] = "tie",
    tie_tolerance: Annotated[
        list[str] | None,
        typer.Option(
            "--tie-tolerance",
            metavar="SCORER=VALUE",
            help="Scores that differ by no more tie; or a .toml file with a table tie_tolerance; repeatable.",
        ),
    ] = None,
    trained_against: Annotated[
        list[str] | None,
        typer.Option(
            "--trained-against",
            metavar="NAME=SCORER,...",
            help="Scorers that a checkpoint was trained against: no vote where it takes part; repeatable.",
        ),
    ] = None,
    accuracy: Accuracy = None,
) -> None:
    """Compare two or all checkpoints from a table of scores made anywhere.

    No model is loaded. The table has the columns checkpoint, prompt_id, prompt,
    seed, scorer, score and may have category and challenge; higher is better.
    OUT gets results.json, scores.parquet and report.html (without pictures).

    Examples:
        prefbench compare scores.csv --a my_dpo --b base --out comparison

        prefbench compare scores.csv --a my_dpo --b base --held-out hpsv2.1 --out c2

        prefbench compare scores.csv --all --baseline base --out everyone

        prefbench compare scores.csv --all --method dpo=dpo_0,dpo_1,dpo_2 --out seeds

        prefbench compare scores.csv --a my_dpo --b base --interval bca
        --planned category=Animals --definitions --out c3

        prefbench compare scores.csv --a my_dpo --b base --tie-tolerance pickscore=0.02
        --trained-against my_dpo=pickscore --accuracy judged --out c4
    """
    from rich.console import Console

    from prefbench.bench.comparison import compare_all, compare_scores
    from prefbench.bench.electorate.options import VotingOptions, parse_trained_against, tie_rule_named
    from prefbench.bench.named_values import comma_names, named_lists
    from prefbench.bench.resamples import interval_named
    from prefbench.bench.terminal import print_results

    _check_choice(scores, a, b, every, baseline, method or [])
    methods = named_lists("--method", "NAME=CHECKPOINT,CHECKPOINT", method or []) or None
    options: dict[str, Any] = {
        "voters": comma_names("--electorate", electorate),
        "held_out": comma_names("--held-out", held_out),
        "resamples": resamples,
        "seed": seed,
        "incomplete": "drop" if drop_incomplete else "refuse",
        "interval": interval_named(interval),
        "planned_slices": planned or [],
        "definitions": definitions,
        "voting": VotingOptions(
            tie_rule_named(tie_rule),
            tie_tolerance or [],
            parse_trained_against(trained_against or []),
            accuracy,
        ),
    }
    if every:
        results = compare_all(scores, out, baseline=baseline or None, methods=methods, **options)
    else:
        results = compare_scores(scores, a, b, out, **options)
    console = Console()
    print_results(console, results)
    console.print(f"\nReport: {out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _check_choice(scores: Path, a: str, b: str, every: bool, baseline: str, methods: list[str]) -> None:
    from prefbench.bench.exceptions import UsageError

    if every and (a or b):
        raise UsageError(
            "--all compares every two checkpoints, --a and --b name two of them. Leave one or the other out; --baseline "
            "names the checkpoint that verdicts are against."
        )
    if not every and baseline:
        raise UsageError("--baseline goes with --all. Without --all, --b names the baseline.")
    if not every and methods:
        raise UsageError("--method goes with --all: a method is compared with every other checkpoint.")
    if not every and not (a and b):
        raise UsageError(
            f"Give --a and --b, two checkpoints of {scores}, or --all to compare every two of them."
        )
