"""The demo: three trained checkpoints of the miniature world against their base, from nothing to the report.

Training runs in worker processes of one thread each, which on few cores is faster than one process with all of them.
Each step of it is the ordinary one: `prefbench train` for the checkpoints, `prefbench bench miniature` for the rest.
"""

import json
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prefbench.bench.out_folder import check_out
from prefbench.bench.worker_pool import run_in_workers

__all__ = ["ARMS", "Arm", "run_demo"]


@dataclass(frozen=True)
class Arm:
    """One checkpoint of the demo: a method, and the settings in which it differs from its miniature recipe."""

    name: str
    method: str
    settings: Mapping[str, Any]

    def command(self, out: Path, data: str, settings: Mapping[str, Any]) -> str:
        """The command line that trains this arm alone."""
        options = [
            word for key, value in settings.items() for word in ("--" + key.replace("_", "-"), str(value))
        ]
        words = ["prefbench", "train", self.method, "--backbone", "miniature", "--data", data, *options]
        return shlex.join([*words, "--out", str(out)])


#: Longest first, so that the workers end together.
ARMS = (
    Arm("diffusion_dpo", "diffusion_dpo", {}),
    Arm("diffusion_dpo_lora", "diffusion_dpo", {"lora_rank": 8}),
    Arm("sft", "sft", {}),
)
#: Order of the columns in tables and report: the baseline, the control, then what is compared with both.
ORDER = ("base", "sft", "diffusion_dpo", "diffusion_dpo_lora")
QUICK_STEPS, QUICK_PROMPTS, QUICK_DATA = 12, 24, "miniature:400"
CHECKPOINTS = "checkpoints"
#: Images drawn at once: many, because they are tiny.
BATCH_SIZE = 50


def run_demo(out: Path, *, quick: bool, seed: int, workers: int | None, console: Console) -> dict[str, Any]:
    """Train, benchmark, report; an unfinished demo in `out` goes on.

    Args:
        out: folder for `checkpoints/` and the run's files.
        quick: few steps and prompts.
        seed: training seed of every arm.
        workers: training processes; None for one a core, three at most.
        console: where to print.

    Returns:
        The results dict, as results.json holds it.

    Raises:
        UsageError: `out` cannot be written, or is a file.
        LedgerError: `out` is something else than the folder of a demo.
    """
    from prefbench.bench.run_folder import find_ledger

    started = time.monotonic()
    for folder in (out, out / CHECKPOINTS):
        check_out(folder)
    find_ledger(out)
    shared: dict[str, Any] = {"seed": seed} | ({"steps": QUICK_STEPS} if quick else {})
    data = QUICK_DATA if quick else "miniature"
    console.print(
        "[bold]1. Train[/] three checkpoints on the miniature world's preference pairs", highlight=False
    )
    for arm in ARMS:
        command = arm.command(out / CHECKPOINTS / arm.name, data, {**shared, **arm.settings})
        console.print(f"   {command}", style="dim", highlight=False, soft_wrap=True)
    _train_arms(out / CHECKPOINTS, data, shared, workers or min(len(ARMS), os.cpu_count() or 1), console)

    from prefbench.bench.progress import shown_on
    from prefbench.bench.run import run_suite
    from prefbench.bench.run_folder import REPORT
    from prefbench.bench.suite import load_suite, with_limit
    from prefbench.bench.terminal import print_results

    suite = with_limit(load_suite("miniature"), QUICK_PROMPTS if quick else None)
    console.print(
        f"\n[bold]2. Benchmark[/] them against their base: {QUICK_PROMPTS if quick else 200} prompts, same seeds, five "
        "scorers that vote, the known truth held out",
        highlight=False,
    )
    specs = {n: "miniature" if n == "base" else str(out / CHECKPOINTS / n) for n in ORDER}
    with shown_on(console) as stages:
        results = run_suite(suite, specs, out, batch_size=BATCH_SIZE, stages=stages)
    console.print("\n[bold]3. Result[/]\n", highlight=False)
    print_results(console, results)
    console.print()
    if quick:
        console.print(
            "--quick trains and samples too little to say much: run `prefbench demo` for verdicts.\n"
        )
    console.print(
        f"{time.monotonic() - started:.0f} s in all. Report: {out / REPORT}", highlight=False, soft_wrap=True
    )
    return results


def _train_arms(folder: Path, data: str, shared: Mapping[str, Any], workers: int, console: Console) -> None:
    """Every arm in the pool; the bars follow the lines that the workers add to their metrics.jsonl."""
    columns = (
        TextColumn("   {task.description:18}"),
        BarColumn(16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[metrics]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = {arm.name: progress.add_task(arm.name, total=None, metrics="waits") for arm in ARMS}
        tasks = {arm.name: (arm, folder / arm.name, data, {**shared, **arm.settings}) for arm in ARMS}
        waiting = dict(bars)
        # After an error, what the other arms have done is kept in their folders.
        for name, steps in run_in_workers(
            _train_arm, tasks, workers, meanwhile=lambda: _show(progress, waiting, folder)
        ):
            progress.update(waiting.pop(name), total=steps, completed=steps, metrics="done")


def _show(progress: Progress, bars: Mapping[str, Any], folder: Path) -> None:
    for name in bars:
        metrics = folder / name / "metrics.jsonl"
        # A worker may be in the middle of its last line.
        lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True) if metrics.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if whole:
            last = json.loads(whole[-1])
            progress.update(bars[name], completed=last["step"], metrics=f"loss {last['loss']:.3f}")


def _train_arm(arm: Arm, out: Path, data: str, settings: Mapping[str, Any]) -> int:
    """In a worker: train, or find it trained; returns the number of steps."""
    from prefbench.reference_trainers.method import Constant
    from prefbench.reference_trainers.offline import train
    from prefbench.reference_trainers.recipes import resolve_recipe

    given = {key: Constant(value, "prefbench demo") for key, value in settings.items()}
    recipe = resolve_recipe(arm.method, "miniature", given, cache=True)
    train(recipe, backbone="miniature", data=data, out=out)
    return recipe.loop.steps
