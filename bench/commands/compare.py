"""`prefbench compare`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare_command"]


def compare_command(
    scores: Annotated[Path, typer.Argument(help="Scores table: CSV (UTF-8) or Parquet.", show_default=False)],
    a: Annotated[str, typer.Option("--a", help="Checkpoint whose win rate is given.", show_default=False)],
    b: Annotated[str, typer.Option("--b", help="Baseline checkpoint.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.", show_default=False)],
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
    resamples: Annotated[int, typer.Option("--resamples", help="Bootstrap samples of prompts.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    drop_incomplete: Annotated[
        bool,
        typer.Option(
            "--drop-incomplete",
            help="Leave out every (prompt, seed) that lacks a score, for both checkpoints; refused if not given.",
        ),
    ] = False,
) -> None:
    """Compare two checkpoints from a table of scores made anywhere.

    No model is loaded. The table has the columns checkpoint, prompt_id, prompt,
    seed, scorer, score and may have category and challenge; higher is better.
    OUT gets results.json, scores.parquet and report.html (without pictures).

    Examples:
        prefbench compare scores.csv --a my_dpo --b base --out comparison

        prefbench compare scores.csv --a my_dpo --b base --held-out hpsv2.1 --out c2
    """
    from rich.console import Console

    from prefbench.bench.comparison import compare_scores
    from prefbench.bench.terminal import print_results

    results = compare_scores(
        scores,
        a,
        b,
        out,
        voters=_names("--electorate", electorate),
        held_out=_names("--held-out", held_out),
        resamples=resamples,
        seed=seed,
        incomplete="drop" if drop_incomplete else "refuse",
    )
    console = Console()
    print_results(console, results)
    console.print(f"\nReport: {out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _names(option: str, text: str) -> list[str]:
    from prefbench.bench.exceptions import UsageError

    names = [name.strip() for name in text.split(",") if name.strip()]
    if text and not names:
        raise UsageError(f"{option} {text!r} names no scorer. Write the names with commas between them.")
    return names
