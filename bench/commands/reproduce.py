"""`prefbench reproduce`: published methods against the base and their controls, under one set of rules."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from prefbench.bench.reproduce.miniature import Plan

__all__ = ["reproduce_command"]

_TRY = "To try the machinery (verdicts mean nothing then)"


def reproduce_command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name of `prefbench list recipes`.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an unfinished reproduction in it goes on.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="Only this method and what it is held against; repeatable.  [default: all]"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Training seeds of the report.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep/--no-sweep",
            help="Choose each arm's learning rate on the tuning prompts, or take the recipe's.",
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List arms, trainings and the time they will take.")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps of a training.", rich_help_panel=_TRY)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Prompts of each set.", rich_help_panel=_TRY)
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Preference pairs to train on.", rich_help_panel=_TRY)
    ] = None,
) -> None:
    """Train every method and its control with several seeds, and say which beats what.

    Stage 1 chooses the learning rate of every arm by one rule on the tuning prompts; stage 2 trains with three seeds
    and compares on the reporting prompts: with the base and with the arm's stated control, by the majority vote and by
    the known truth. Killed and started again with the same command it goes on; more methods or seeds can be added.

    Examples:
        prefbench reproduce miniature --out repro --dry-run

        prefbench reproduce miniature --out repro --method diffusion_dpo --jobs 2

        prefbench reproduce miniature --out try --method sft --seeds 1 --no-sweep --steps 4 --limit 8 --pairs 100
    """
    from rich.console import Console

    from prefbench.bench.registry import unknown_name
    from prefbench.bench.reproduce.jobs import Size
    from prefbench.bench.reproduce.miniature import plan_miniature, reproduce_miniature
    from prefbench.bench.reproduce.table import print_reproduction

    if recipe != "miniature":
        raise unknown_name("recipe to reproduce", recipe, ["miniature"])
    console, size, methods = Console(), Size(steps, limit, pairs), method or []
    if dry_run:
        plan = plan_miniature(out, methods=methods, seeds=seeds, sweep=sweep, size=size)
        _print_plan(console, plan, jobs)
        return
    results = reproduce_miniature(
        out, methods=methods, seeds=seeds, jobs=jobs, sweep=sweep, size=size, console=console
    )
    console.print()
    print_reproduction(console, results)
    console.print(f"\nTable: {out / 'reproduce.md'}", soft_wrap=True, highlight=False, markup=False)


def _print_plan(console: "Console", plan: "Plan", jobs: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from prefbench.bench.reproduce.clock import span
    from prefbench.bench.reproduce.miniature import MEGABYTES_A_JOB

    table = Table("arm", "settings", "held against, and why", box=None, pad_edge=False, header_style="bold")
    for arm in plan.arms:
        settings = "\n".join(f"{name} = {value}" for name, value in arm.settings.items())
        against = ", ".join(arm.controls) or "base alone"
        table.add_row(Text(arm.name), Text(settings), Text(f"{against}: {arm.why}"))
    console.print(table)
    trained = [sum(job.arm is not None for job in stage) for stage in (plan.sweep, plan.report)]
    seconds = plan.seconds_a_job * plan.missing / jobs
    console.print(
        f"\nTrainings: {trained[0]} for the sweep, {trained[1]} for the report. {plan.missing} of "
        f"{len(plan.sweep) + len(plan.report)} jobs are not done: about {span(seconds)} in {jobs} process"
        f"{'es' if jobs > 1 else ''}, {plan.missing * MEGABYTES_A_JOB / 1000:.1f} GB of disk.",
        markup=False,
        highlight=False,
    )
