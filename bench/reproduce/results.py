"""From finished jobs to the dict of reproduce.json.

{"schema": 1, "prefbench", "created", "recipe": "miniature",
 "whole": false where --steps, --limit or --pairs cut it, "size": {"steps", "limit", "pairs"},
 "training_seeds": [...], "electorate": {"voters", "held_out"}, "intervals",
 "sweep": null | {"rule", "seed", "base": mean truth, "arms": {arm: {factor: mean truth | null}}},
 "base": {"mean_truth"},
 "arms": [{"name", "method", "only_control", "settings", "why", "controls", "factor", "lr", "mean_truth",
           "diverged": {seed: sentence}, "seconds_a_training",
           "comparisons": [{"over", "judge", the fields of results.json's comparisons, "per_seed", "verdict",
                           "trainings_ci95"}],
           "stability": what stability.spreads returns, null for an arm that is not traced or diverged}]}
"""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefbench.bench.reproduce.arms import Arm
from prefbench.bench.reproduce.comparisons import RESAMPLES, compare_runs
from prefbench.bench.reproduce.jobs import (
    TRUTH,
    Done,
    Job,
    Size,
    mean_truth,
    read_job_scores,
    read_trace,
)
from prefbench.bench.reproduce.stability import spreads
from prefbench.bench.reproduce.sweep import RULE, SWEEP_SEED

__all__ = ["BASE", "collect"]

SCHEMA = 1
BASE = "base"
INTERVALS = (
    "win rates pool the pairs of all training seeds; 95 % bootstrap over prompts, each drawn with its pairs of all seeds. "
    "The interval is about these trainings and not about the method; the range of the single seeds' rates stands beside it. "
    "beats / loses: the interval leaves out 50 % and every seed lies on that side; ties: not told apart."
)


def collect(
    arms: Sequence[Arm],
    sweep: Sequence[Job],
    report: Sequence[Job],
    done: Mapping[Path, Done],
    *,
    size: Size,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Compare every arm with the base and with its controls.

    Args:
        arms: in the order of the table.
        sweep: jobs of stage 1, the base's first; empty without one.
        report: jobs of stage 2, the base's first.
        done: folder -> how the job ended, for all of them.
        size: what was cut.
        resamples: of the bootstrap.
    """
    base, *trained = report
    electorate = base.suite.electorate
    seeds = sorted({job.seed for job in trained})
    base_scores = read_job_scores(base)
    runs = {
        arm.name: {
            job.seed: read_job_scores(job)
            for job in trained
            if job.arm == arm and done[job.folder].diverged is None
        }
        for arm in arms
    }
    runs[BASE] = dict.fromkeys(seeds, base_scores)
    entries = []
    for arm in arms:
        jobs = [job for job in trained if job.arm == arm]
        comparisons = [
            entry
            for other in (BASE, *(name for name in arm.controls if name in runs))
            for entry in compare_runs(
                arm.name,
                runs[arm.name],
                other,
                runs[other],
                voters=electorate.voters,
                held_out=electorate.held_out,
                resamples=resamples,
            )
        ]
        stability = _stability_entry(jobs, done) if arm.traced else None
        entries.append(_arm_entry(arm, jobs, done) | {"comparisons": comparisons, "stability": stability})
    return {
        "schema": SCHEMA,
        "prefbench": version("prefbench"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": "miniature",
        "whole": size.is_whole,
        "size": dataclasses.asdict(size),
        "training_seeds": seeds,
        "electorate": {"voters": electorate.voters, "held_out": electorate.held_out},
        "intervals": INTERVALS,
        "sweep": _sweep_entry(sweep, done) if sweep else None,
        "base": {"mean_truth": mean_truth(base, done[base.folder])},
        "arms": entries,
    }


def _arm_entry(arm: Arm, jobs: Sequence[Job], done: Mapping[Path, Done]) -> dict[str, Any]:
    ended = {job.seed: done[job.folder] for job in jobs}
    truths = [mean_truth(job, done[job.folder]) for job in jobs]
    known = [truth for truth in truths if truth is not None]
    whole = [d.seconds["train"] for d in ended.values() if d.uninterrupted and d.diverged is None]
    recipe = jobs[0].recipe()
    assert recipe is not None, "an arm is trained"
    return {
        "name": arm.name,
        "method": arm.method,
        "only_control": arm.only_control,
        "settings": dict(arm.settings),
        "why": arm.why,
        "controls": list(arm.controls),
        "factor": jobs[0].factor,
        "lr": recipe.loop.lr,
        "mean_truth": sum(known) / len(known) if known else None,
        "diverged": {str(seed): d.diverged for seed, d in ended.items() if d.diverged is not None},
        "seconds_a_training": sum(whole) / len(whole) if whole else None,
    }


def _stability_entry(jobs: Sequence[Job], done: Mapping[Path, Done]) -> dict[str, Any] | None:
    """By the reward that the selection read, and by the truth."""
    traces = {job.seed: read_trace(job) for job in jobs if done[job.folder].diverged is None}
    recipe = jobs[0].recipe()
    if not traces or recipe is None:
        return None
    reward = recipe.composition.select_scorer
    judges = [TRUTH] if reward is None else [reward, TRUTH]
    return spreads(traces, recipe.loop.steps, judges)


def _sweep_entry(sweep: Sequence[Job], done: Mapping[Path, Done]) -> dict[str, Any]:
    base, *trained = sweep
    means: dict[str, dict[str, float | None]] = {}
    for job in trained:
        assert job.arm is not None, "only the first job is the base's"
        means.setdefault(job.arm.name, {})[f"{job.factor:g}"] = mean_truth(job, done[job.folder])
    return {"rule": RULE, "seed": SWEEP_SEED, "base": mean_truth(base, done[base.folder]), "arms": means}
