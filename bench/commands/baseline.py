"""`prefbench baseline save|list|show`."""

from pathlib import Path
from typing import Annotated

import typer

from prefbench.bench.baselines import DEFAULT_FOLDER

__all__ = ["baseline_app"]

FolderOption = Annotated[Path, typer.Option("--folder", help="Folder of baselines.")]

baseline_app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@baseline_app.callback()
def _baseline() -> None:
    """Keep a release's scores under a name, to hold later ones against it.

    A baseline is a small folder that can be committed: scores.parquet, and
    baseline.json with all that decides what may be compared with it.

    Examples:
        prefbench baseline save runs/today --checkpoint sd15 --name sd15-2026-11

        prefbench baseline list

        prefbench baseline show sd15-2026-11
    """


@baseline_app.command("save")
def save_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of bench, compare or score; or a scores table.", show_default=False
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the baseline.", show_default=False)],
    checkpoint: Annotated[
        str,
        typer.Option("--checkpoint", help="Whose scores; not needed where there is one.", show_default=False),
    ] = "",
    folder: FolderOption = DEFAULT_FOLDER,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the baseline of this name.")] = False,
) -> None:
    """Store one checkpoint's scores of a run under a name.

    Examples:
        prefbench baseline save runs/today --checkpoint sd15 --name sd15-2026-11

        prefbench baseline save scores.csv --checkpoint base --name base-v1 --replace
    """
    from rich.console import Console

    from prefbench.bench.baselines.folder import save_baseline
    from prefbench.bench.baselines.printing import print_saved

    stored = save_baseline(run, name, checkpoint=checkpoint or None, folder=folder, replace=replace)
    print_saved(Console(), stored)


@baseline_app.command("list")
def list_baselines_command(folder: FolderOption = DEFAULT_FOLDER) -> None:
    """List the baselines of a folder, oldest first.

    Examples:
        prefbench baseline list --folder baselines
    """
    from rich.console import Console

    from prefbench.bench.baselines.folder import names_in
    from prefbench.bench.baselines.printing import print_list
    from prefbench.bench.baselines.stored import read_record

    records = [read_record(folder / name) for name in names_in(folder)]
    print_list(Console(), sorted(records, key=lambda record: (record["saved"], record["name"])), folder)


@baseline_app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name, or the path of its folder.")],
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Show where a baseline comes from, and check that it is unchanged.

    Examples:
        prefbench baseline show sd15-2026-11
    """
    from rich.console import Console

    from prefbench.bench.baselines.folder import load_baseline
    from prefbench.bench.baselines.printing import print_baseline

    print_baseline(Console(), load_baseline(name, folder))
