"""`prefbench plan`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["plan_command"]


def plan_command(
    win_rate: Annotated[
        float | None,
        typer.Option(
            "--win-rate", help="True win rate that must not be missed, ties half.", show_default=False
        ),
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option(
            "--prompts", help="Prompts at hand: how small a difference do they show?", show_default=False
        ),
    ] = None,
    power: Annotated[float, typer.Option("--power", help="Probability of settling it.")] = 0.8,
    alpha: Annotated[
        float, typer.Option("--alpha", help="1 minus the interval's level, both ends together.")
    ] = 0.05,
    margin: Annotated[
        float,
        typer.Option("--margin", help="Gate's margin: the lower limit must lie above 0.5 - margin."),
    ] = 0.0,
    seeds: Annotated[int, typer.Option("--seeds", help="Images a prompt and checkpoint.")] = 1,
    tie_rate: Annotated[
        float | None,
        typer.Option("--tie-rate", help="Share of pairs that tie; 0.1 without a pilot.", show_default=False),
    ] = None,
    seed_correlation: Annotated[
        float | None,
        typer.Option(
            "--seed-correlation",
            help="Correlation of the outcomes of one prompt's seeds; 0.3 without a pilot.",
            show_default=False,
        ),
    ] = None,
    voters: Annotated[
        int,
        typer.Option("--voters", help="Read --win-rate as that of one scorer; so many of them vote."),
    ] = 1,
    scorer_correlation: Annotated[
        float | None,
        typer.Option(
            "--scorer-correlation",
            help="With --voters: correlation of two scorers' votes; 0.4 without a pilot.",
            show_default=False,
        ),
    ] = None,
    pilot: Annotated[
        Path | None,
        typer.Option(
            "--pilot", help="Run folder or scores table to measure all this on.", show_default=False
        ),
    ] = None,
    a: Annotated[str, typer.Option("--a", help="Checkpoint of the pilot.", show_default=False)] = "",
    b: Annotated[str, typer.Option("--b", help="Its baseline.", show_default=False)] = "",
) -> None:
    """How many prompts and seeds a comparison needs, before any image is drawn.

    With --prompts alone the reverse: the smallest win rate that they settle. With
    both, the power. Numbers come from the options, else from --pilot, else from
    defaults, and the answer says which.

    Examples:
        prefbench plan --win-rate 0.55

        prefbench plan --prompts 1632 --seeds 4

        prefbench plan --win-rate 0.5 --margin 0.03 --power 0.9

        prefbench plan --win-rate 0.53 --pilot runs/small --a my_dpo --b base
    """
    from rich.console import Console

    from prefbench.bench.exceptions import UsageError
    from prefbench.bench.power_plan import Request, make_power_plan
    from prefbench.bench.power_text import print_power_plan

    if pilot is None and (a or b):
        raise UsageError("--a and --b name checkpoints of a pilot. Give --pilot too, or leave them out.")
    request = Request(
        win_rate=win_rate,
        prompts=prompts,
        power=power,
        alpha=alpha,
        margin=margin,
        seeds=seeds,
        tie_rate=tie_rate,
        seed_correlation=seed_correlation,
        voters=voters,
        scorer_correlation=scorer_correlation,
    )
    measured = None
    if pilot is not None:
        from prefbench.bench.pilot import read_pilot

        measured = read_pilot(pilot, a, b)
    print_power_plan(Console(), make_power_plan(request, measured))
