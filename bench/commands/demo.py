"""`prefbench demo`: the whole loop in the miniature world."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo_command"]


def demo_command(
    out: Annotated[
        Path, typer.Option("--out", help="Folder to write; an unfinished demo in it goes on.")
    ] = Path("prefbench-demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute: few steps and prompts, verdicts mostly open.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Training seed: data order, timesteps, noise.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Training processes, one thread each.  [default: one a core]"),
    ] = None,
) -> None:
    """Train three checkpoints in the miniature world, benchmark them against their base, write the report.

    SFT, Diffusion-DPO and Diffusion-DPO with LoRA start from the shipped base
    and see the same preference pairs. Five small scorers vote; the world's
    known truth is held out. Needs no network, no GPU and no downloads.

    Examples:

        prefbench demo

        prefbench demo --quick --out quick-demo
    """
    from rich.console import Console

    from prefbench.bench.demo import run_demo

    run_demo(out, quick=quick, seed=seed, workers=workers, console=Console())
