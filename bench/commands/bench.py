"""`prefbench bench`: a suite over checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from prefbench.bench.commands.options import Accuracy, Device, IntervalName

__all__ = ["bench_command"]


def bench_command(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="miniature, smoke, partiprompts, hpdv2, or a TOML file.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder; an unfinished one is continued.")],
    checkpoint: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=SPEC",
            help="What to compare, the baseline first; once for each. SPEC: miniature, a diffusers folder, a "
            "hub id, a training output, lora:PATH@BASE, unet:PATH@BASE, or images:DIR.",
        ),
    ],
    prompts_dir: Annotated[
        Path | None, typer.Option(help="Folder with published prompt files (or set PREFBENCH_PROMPTS).")
    ] = None,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(help="Images drawn at once.")] = 8,
    limit: Annotated[
        int | None, typer.Option(help="At most so many prompts of each set, evenly spread over it.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="SCORER=PATH", help="Weights for a scorer instead of its own; repeatable."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=CHECKPOINT,...",
            help="Trainings of one method that differ in their seed alone; repeatable. If not given, the training "
            "records tell.",
        ),
    ] = None,
    trained_against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SCORER,...",
            help="Scorers that a checkpoint was trained against: no vote where it takes part; repeatable. If not "
            "given, the suite and the training record tell; NAME=none for none.",
        ),
    ] = None,
    accuracy: Accuracy = None,
    drop_incomplete: Annotated[
        bool,
        typer.Option(
            "--drop-incomplete",
            help="Leave out, for all checkpoints, a (prompt, seed) for which a judge:URL has no score.",
        ),
    ] = False,
    interval: IntervalName = "percentile",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is missing, make nothing.")] = False,
) -> None:
    """Draw, score, vote and report: a suite of prompts over two or more checkpoints.

    Killed and started again with the same command it goes on where it was. More checkpoints can be added to a
    finished run: name the new ones alone, or all of them in the order that you want.

    Examples:
        prefbench bench miniature --checkpoint base=miniature --checkpoint mine=out --out run

        prefbench bench partiprompts --prompts-dir prompts --checkpoint
        sd=stable-diffusion-v1-5/stable-diffusion-v1-5
        --checkpoint dpo=unet:mhdang/dpo-sd1.5-text2image-v1@stable-diffusion-v1-5/stable-diffusion-v1-5 --out
        run
    """
    from prefbench.bench.electorate.accuracies import read_accuracies
    from prefbench.bench.electorate.options import parse_trained_against
    from prefbench.bench.named_values import named_lists, named_values
    from prefbench.bench.resamples import interval_named
    from prefbench.bench.suite import load_suite, with_limit, with_trained_against

    chosen = with_limit(load_suite(suite), limit)
    chosen = with_trained_against(chosen, parse_trained_against(trained_against or []))
    accuracies = None if accuracy is None else read_accuracies(accuracy)
    checkpoints = named_values("--checkpoint", "NAME=SPEC", checkpoint)
    own_weights = named_values("--weights", "SCORER=PATH", weights or [])
    chosen_interval = interval_named(interval)
    methods = named_lists("--method", "NAME=CHECKPOINT,CHECKPOINT", method or []) or None

    # After the cheap errors: these import torch.
    from rich.console import Console

    from prefbench.bench.plan_table import print_plan
    from prefbench.bench.progress import shown_on
    from prefbench.bench.run import plan_suite, run_suite
    from prefbench.bench.run_folder import REPORT
    from prefbench.bench.terminal import print_results

    console, progress = Console(), Console(stderr=True)
    if dry_run:
        plan = plan_suite(
            chosen, checkpoints, out, prompts_dir=prompts_dir, device=device, weights=own_weights
        )
        print_plan(console, plan)
        return
    with shown_on(progress) as stages:
        results = run_suite(
            chosen,
            checkpoints,
            out,
            prompts_dir=prompts_dir,
            device=device,
            batch_size=batch_size,
            weights=own_weights,
            methods=methods,
            accuracies=accuracies,
            interval=chosen_interval,
            incomplete="drop" if drop_incomplete else "refuse",
            stages=stages,
        )
    print_results(console, results)
    console.print(f"\nReport: {out / REPORT}", soft_wrap=True, highlight=False, markup=False)
