"""`prefbench history`."""

from pathlib import Path
from typing import Annotated

import typer

from prefbench.bench.baselines import DEFAULT_FOLDER
from prefbench.bench.commands.options import OutFolder, Resamples, ResamplingSeed

__all__ = ["history_command"]


def history_command(
    baselines: Annotated[
        list[str],
        typer.Argument(
            metavar="BASELINE...",
            help="Folders of baselines, baselines' own folders, or names in --folder.",
            show_default=False,
        ),
    ],
    out: OutFolder,
    against: Annotated[
        str,
        typer.Option("--against", help="first (of a stretch without break), previous, or a baseline's name."),
    ] = "first",
    order: Annotated[
        str,
        typer.Option(
            "--order",
            help="Names, oldest first, comma-separated; by date saved if not given.",
            show_default=False,
        ),
    ] = "",
    electorate: Annotated[
        str,
        typer.Option(
            "--electorate",
            help="Scorers that vote, comma-separated; the newest release's if not given.",
            show_default=False,
        ),
    ] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            help="prompts, seeds, sampling or scorers: a difference that breaks no course. Repeat for several.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where names are looked up.")] = DEFAULT_FOLDER,
    resamples: Resamples = 10_000,
    seed: ResamplingSeed = 0,
) -> None:
    """Draw the course over releases: every scorer's mean and the vote's win rate.

    Releases that differ in prompts, seeds, sampling settings or a scorer's
    fingerprint are not joined: the course breaks, and the reason is printed.
    OUT gets history.html (one file, opens offline) and history.json.

    Examples:
        prefbench history baselines --out history

        prefbench history sd15-2026-08 sd15-2026-11 --out two

        prefbench history baselines --against previous --allow scorers --out steps
    """
    from rich.console import Console

    from prefbench.bench.baselines.folder import find_baselines
    from prefbench.bench.baselines.history import PAGE, check_history_folder, make_history, write_history
    from prefbench.bench.baselines.history_text import print_history
    from prefbench.bench.named_values import comma_names

    check_history_folder(out)
    history = make_history(
        find_baselines(baselines, folder),
        order=comma_names("--order", order),
        against=against,
        voters=comma_names("--electorate", electorate),
        allow=allow or [],
        resamples=resamples,
        seed=seed,
    )
    write_history(history, out)
    console = Console()
    print_history(console, history)
    console.print(f"\nHistory: {out / PAGE}", markup=False, highlight=False, soft_wrap=True)
