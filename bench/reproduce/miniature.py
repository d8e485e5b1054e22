"""Every method in the miniature world against the base and its control: what `prefbench reproduce miniature` does.

    OUT/base/PROMPTS/                  the base, drawn once on each prompt set
    OUT/sweep/ARM/lr-xFACTOR/          stage 1: one training a factor, on the tuning prompts
    OUT/arms/ARM/lr-xFACTOR/seed-S/    stage 2: the chosen factor, on the reporting prompts
    OUT/reproduce.json, reproduce.md   the results

A folder of a job is kept when it is done and found again by the same command, or by one with more methods or seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from prefbench.bench.atomic import write_json, write_text
from prefbench.bench.exceptions import UsageError
from prefbench.bench.reproduce.arms import Arm, choose_arms
from prefbench.bench.reproduce.clock import Clock
from prefbench.bench.reproduce.jobs import Done, Job, Size, do_job, find_done, mean_truth
from prefbench.bench.reproduce.sweep import FACTORS, SWEEP_SEED, choose_factor
from prefbench.bench.store.folder_lock import LOCK_NAME, folder_lock
from prefbench.bench.worker_pool import one_thread, run_in_workers

__all__ = ["MEGABYTES_A_JOB", "Plan", "plan_miniature", "reproduce_miniature"]

RESULTS, TABLE = "reproduce.json", "reproduce.md"
OURS = ("arms", "base", "sweep", RESULTS, TABLE, LOCK_NAME)
GUESS_S = 160.0
"""Seconds of a job on one thread where none is measured yet; see docs/reproduce.md."""
MEGABYTES_A_JOB = 10.0
"""Disk space: a checkpoint, 200 small images, their ledger."""


@dataclass(frozen=True)
class Plan:
    """Jobs of a reproduction; a stage-2 job of an arm whose factor is not chosen yet stands with factor 1."""

    arms: tuple[Arm, ...]
    sweep: tuple[Job, ...]
    report: tuple[Job, ...]
    done: Mapping[Path, Done]

    @property
    def missing(self) -> int:
        """Jobs left to do."""
        return sum(job.folder not in self.done for job in (*self.sweep, *self.report))

    @property
    def seconds_a_job(self) -> float:
        """Mean of the trained jobs that one process made whole; a guess where there is none."""
        measured = [
            sum(done.seconds.values())
            for done in self.done.values()
            if done.uninterrupted and done.seconds["train"]
        ]
        return sum(measured) / len(measured) if measured else GUESS_S


def plan_miniature(
    out: Path, *, methods: Sequence[str] = (), seeds: int = 3, sweep: bool = True, size: Size | None = None
) -> Plan:
    """What `reproduce_miniature` would do, with its checks; writes nothing. Arguments and errors as there."""
    arms = choose_arms(methods)
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: at least one training seed is needed; three are usual.")
    _check_out(out)
    size = size or Size()
    stage_1 = tuple(_sweep_jobs(out, arms, size)) if sweep else ()
    done = _find_all(stage_1)
    factors = _chosen(out, arms, size, done) if sweep else {}
    stage_2 = tuple(_report_jobs(out, arms, factors, seeds, size))
    for job in stage_2:
        job.recipe()  # constants that do not fit together are an error now, not after hours
    return Plan(arms, stage_1, stage_2, done | _find_all(stage_2))


def reproduce_miniature(
    out: Path,
    *,
    methods: Sequence[str] = (),
    seeds: int = 3,
    jobs: int = 1,
    sweep: bool = True,
    size: Size | None = None,
    console: Console,
) -> dict[str, Any]:
    """Sweep, train, draw, score, compare; goes on where an earlier call stopped.

    Args:
        out: folder to write.
        methods: names; none for all. The controls that they name are trained as well.
        seeds: training seeds 0, 1, ... of the report.
        jobs: processes of one torch thread each.
        sweep: choose the learning rate on the tuning prompts; otherwise the recipe's own holds.
        size: smaller, to try the machinery.
        console: where progress is printed, a line a job.

    Returns:
        What reproduce.json holds.

    Raises:
        UsageError: an unknown method, or a folder that holds something else or other settings.
    """
    from prefbench.bench.reproduce.results import collect
    from prefbench.bench.reproduce.table import markdown

    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least one process is needed.")
    size = size or Size()
    plan = plan_miniature(out, methods=methods, seeds=seeds, sweep=sweep, size=size)
    out.mkdir(parents=True, exist_ok=True)
    with folder_lock(out):
        done = dict(plan.done)
        clock = Clock(console, jobs, plan.seconds_a_job)
        clock.start(len(plan.sweep) + len(plan.report), plan.missing)
        done |= _run(plan.sweep, done, jobs, clock)
        factors = _chosen(out, plan.arms, size, done) if sweep else {}
        stage_2 = list(_report_jobs(out, plan.arms, factors, seeds, size))
        done |= _find_all(stage_2)
        clock.recount(
            sum(job.folder not in done for job in stage_2)
        )  # the sweep may have chosen other folders
        done |= _run(stage_2, done, jobs, clock)
        results = collect(plan.arms, plan.sweep, stage_2, done, size=size)
        write_json(out / RESULTS, results)
        write_text(out / TABLE, markdown(results))
    return results


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file. Give a folder, new or of an earlier reproduction.")
    foreign = sorted(path.name for path in out.iterdir() if path.name not in OURS) if out.exists() else []
    if foreign:
        raise UsageError(
            f"--out {out} holds something that a reproduction did not write ({', '.join(foreign[:3])}). Give a new folder."
        )


def _sweep_jobs(out: Path, arms: Sequence[Arm], size: Size) -> Iterator[Job]:
    yield Job(out / "base" / "tuning", None, 1.0, 0, "tuning", size)
    for arm in arms:
        for factor in FACTORS:
            folder = out / "sweep" / arm.name / f"lr-x{factor:g}"
            yield Job(folder, arm, factor, SWEEP_SEED, "tuning", size)


def _report_jobs(
    out: Path, arms: Sequence[Arm], factors: Mapping[str, float], seeds: int, size: Size
) -> Iterator[Job]:
    yield Job(out / "base" / "reporting", None, 1.0, 0, "reporting", size)
    for seed in range(seeds):
        for arm in arms:
            factor = factors.get(arm.name, 1.0)
            folder = out / "arms" / arm.name / f"lr-x{factor:g}" / f"seed-{seed}"
            yield Job(folder, arm, factor, seed, "reporting", size)


def _find_all(jobs: Sequence[Job]) -> dict[Path, Done]:
    found = ((job.folder, find_done(job)) for job in jobs)
    return {folder: done for folder, done in found if done is not None}


def _chosen(out: Path, arms: Sequence[Arm], size: Size, done: Mapping[Path, Done]) -> dict[str, float]:
    """Arm -> factor, for the arms whose sweep is done."""
    means: dict[str, dict[float, float | None]] = {}
    for job in _sweep_jobs(out, arms, size):
        if job.arm is not None and job.folder in done:
            means.setdefault(job.arm.name, {})[job.factor] = mean_truth(job, done[job.folder])
    return {name: choose_factor(found) for name, found in means.items() if len(found) == len(FACTORS)}


def _run(jobs: Sequence[Job], done: Mapping[Path, Done], workers: int, clock: Clock) -> dict[Path, Done]:
    """The jobs that are not done; with one process in this one, which saves a start."""
    waiting = {str(job.folder): job for job in jobs if job.folder not in done}
    found: dict[Path, Done] = {}
    for name, ended in _do_all(waiting, workers):
        clock.tick(waiting[name], ended)
        found[waiting[name].folder] = ended
    return found


def _do_all(waiting: Mapping[str, Job], workers: int) -> Iterator[tuple[str, Done]]:
    if workers == 1:
        for name, job in waiting.items():
            with one_thread():
                ended = do_job(job)
            yield name, ended
        return
    yield from run_in_workers(do_job, {name: (job,) for name, job in waiting.items()}, workers)
