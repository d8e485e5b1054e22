"""`prefbench history`."""

from pathlib import Path
from typing import Annotated

import typer

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
    out: Annotated[Path, typer.Option("--out", help="Folder to write.", show_default=False)],
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
    folder: Annotated[Path, typer.Option("--folder", help="Where names are looked up.")] = Path("baselines"),
    resamples: Annotated[int, typer.Option("--resamples", help="Bootstrap samples of prompts.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")] = 0,
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

    check_history_folder(out)
    history = make_history(
        find_baselines(baselines, folder),
        order=_names("--order", order),
        against=against,
        voters=_names("--electorate", electorate),
        allow=allow or [],
        resamples=resamples,
        seed=seed,
    )
    write_history(history, out)
    console = Console()
    print_history(console, history)
    console.print(f"\nHistory: {out / PAGE}", markup=False, highlight=False, soft_wrap=True)


def _names(option: str, text: str) -> list[str]:
    from prefbench.bench.exceptions import UsageError

    names = [name.strip() for name in text.split(",") if name.strip()]
    if text and not names:
        raise UsageError(f"{option} {text!r} names nothing. Write the names with commas between them.")
    return names
