"""`prefbench import-votes`."""

from pathlib import Path
from typing import Annotated

import typer

from prefbench.bench.commands.options import OutFolder, Resamples, ResamplingSeed

__all__ = ["import_votes_command"]


def import_votes_command(
    votes: Annotated[Path, typer.Argument(help="Table of votes, or ratings.", show_default=False)],
    out: OutFolder,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores", help="Scores table of the judged images: CSV or Parquet.", show_default=False
        ),
    ] = None,
    a: Annotated[str, typer.Option("--a", help="Count only the judgements of this checkpoint ...")] = "",
    b: Annotated[str, typer.Option("--b", help="... against this one.")] = "",
    form: Annotated[str, typer.Option("--format", help="votes, imagenhub or tifa.")] = "votes",
    name: Annotated[str, typer.Option("--name", help="Of the people among the scorers.")] = "people",
    drop_flagged: Annotated[
        bool, typer.Option("--drop-flagged", help="Leave out the judgements of flagged annotators.")
    ] = False,
    resamples: Resamples = 10_000,
    seed: ResamplingSeed = 0,
) -> None:
    """Human votes on pairs: who can be relied on, and one more voter.

    VOTES is a table (CSV or Parquet), one row a judgement: prompt_id or prompt,
    seed, checkpoint_a and checkpoint_b as shown, annotator, choice (a, b, tie or
    the checkpoint). With --scores the scorers are held against these people, and
    OUT/scores.parquet has "people" as a scorer whose vote is the human majority.
    OUT gets people.json, annotators.csv and votes.parquet besides. Each annotator
    is tested; docs/human_votes.md says how, and what other columns are read.

    Examples:
        prefbench import-votes votes.csv --out people

        prefbench import-votes votes.csv --scores run/scores.parquet --out people

        prefbench compare people/scores.parquet --a mine --b base
                  --held-out people --out against_people

        prefbench import-votes ratings/ --format imagenhub --out people
    """
    from rich.console import Console

    from prefbench.bench.people.printing import print_people
    from prefbench.bench.people.session import Request, import_votes

    request = Request(votes, form, scores, a, b, name, drop_flagged)
    results = import_votes(request, out, resamples=resamples, seed=seed)
    console = Console()
    print_people(console, results)
    console.print(f"\nFolder: {out}", markup=False, highlight=False, soft_wrap=True)
