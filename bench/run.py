"""One run: plan -> generate -> score -> results -> report. Killed at any point and started again, it goes on.

Everything that can be wrong with the input is looked at before the first image is made: prompt files,
checkpoints, scorers, image sizes, and whether the folder belongs to this suite.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.atomic import write_json
from prefbench.bench.checkpoints.checkpoint import Checkpoint
from prefbench.bench.device import release_memory, resolve_device
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.generate import DEFAULT_BATCH_SIZE, generate_missing
from prefbench.bench.plan import Plan, PlannedSet, make_plan, plan_prompts, wanted_images
from prefbench.bench.progress import Stages, silent
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.results import summarise
from prefbench.bench.run_folder import (
    IMAGES,
    REPORT,
    RESULTS,
    SCORES,
    check_suite,
    claim,
    find_ledger,
    open_checkpoints,
)
from prefbench.bench.run_report import sample_paths
from prefbench.bench.scores_table import check_scores, write_scores
from prefbench.bench.scoring import Judge, check_weights, meet_judge, score_missing, wanted_scores
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.keys import score_key
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite
from prefbench.reports.html import write_report

__all__ = ["plan_suite", "run_suite"]


@dataclass(frozen=True)
class _Work:
    """Everything that was looked at and found good."""

    suite: Suite
    sets: list[PlannedSet]
    checkpoints: dict[str, Checkpoint]
    judges: dict[str, Judge]
    weights: Mapping[str, str]
    device: str

    @property
    def prompts(self) -> list[Prompt]:
        return [prompt for planned in self.sets for prompt in planned.prompts]


def run_suite(
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    *,
    prompts_dir: Path | None = None,
    device: str = "auto",
    batch_size: int = DEFAULT_BATCH_SIZE,
    weights: Mapping[str, str] | None = None,
    resamples: int = 10_000,
    stages: Stages = silent,
) -> dict[str, Any]:
    """Run a suite over checkpoints, or go on with a run.

    Args:
        suite: what to run.
        checkpoints: name -> SPEC in order; the first is the baseline. On an existing run folder they are
        added to those in it.
        out: the run folder.
        prompts_dir: where published prompt files lie.
        device: "auto", or a torch device.
        batch_size: images drawn at once.
        weights: scorer -> path of weights to use instead of its own.
        resamples: of the bootstrap.
        stages: shows progress.

    Returns:
        What results.json holds. The folder holds suite.toml, ledger.sqlite, images/, scores.parquet,
        results.json, report.html.

    Raises:
        PrefbenchError: bad input; nothing was made unless it is a non-finite image or score.
    """
    if batch_size < 1:
        raise UsageError(f"The batch size is {batch_size}; it must be 1 or more.")
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(out)) if find_ledger(out) else None
        work = _look(suite, checkpoints, ledger, prompts_dir, device, weights or {}, stages)
        _check_sizes(work)
        if ledger is None:
            ledger = stack.enter_context(Ledger(out))
            check_suite(ledger, suite, work.sets)  # someone else may have been faster
        claim(ledger, suite, work.sets, work.checkpoints)
        store = ImageStore(out / IMAGES)
        _generate(work, ledger, store, batch_size, stages)
        texts = {prompt.id: prompt.text for prompt in work.prompts}
        for name, judge in work.judges.items():
            total = len(wanted_scores(judge.fingerprint, ledger, texts))
            with stages(f"score {name}", total, "images") as advance:
                score_missing(
                    judge,
                    ledger=ledger,
                    store=store,
                    prompts=texts,
                    weights=work.weights,
                    device=work.device,
                    advance=advance,
                )
            release_memory(work.device)
        return _conclude(work, ledger, store, out, resamples, stages)


def plan_suite(
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    *,
    prompts_dir: Path | None = None,
    device: str = "auto",
    weights: Mapping[str, str] | None = None,
) -> Plan:
    """What `run_suite` would do, with all its checks; writes nothing. Arguments and errors as there."""
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(out, read_only=True)) if find_ledger(out) else None
        work = _look(suite, checkpoints, ledger, prompts_dir, device, weights or {}, silent)
        _check_sizes(work)
        fingerprints = {name: judge.fingerprint for name, judge in work.judges.items()}
        return make_plan(suite, work.prompts, work.checkpoints, fingerprints, ledger)


def _look(
    suite: Suite,
    given: Mapping[str, str],
    ledger: Ledger | None,
    prompts_dir: Path | None,
    device: str,
    weights: Mapping[str, str],
    stages: Stages,
) -> _Work:
    device = resolve_device(device)
    check_weights(suite.electorate.scorers, weights)
    sets = plan_prompts(suite, prompts_dir)
    prompts = [prompt for planned in sets for prompt in planned.prompts]
    if ledger is not None:
        check_suite(ledger, suite, sets)
    if suite.sampling.dtype != "float32" and not device.startswith("cuda"):
        raise UsageError(
            f"sampling.dtype is {suite.sampling.dtype} and the device is {device}: half precision needs a "
            "GPU. Set dtype to "
            "float32 in the suite."
        )
    opened = open_checkpoints(ledger, given)
    with stages("check checkpoints", len(opened), "checkpoints") as advance:
        for checkpoint in opened.values():
            checkpoint.check(prompts, suite.seeds)
            advance(1)
    judges: dict[str, Judge] = {}
    with stages("check scorers", len(suite.electorate.scorers), "scorers") as advance:
        for name in suite.electorate.scorers:
            judges[name] = meet_judge(name, [prompt.text for prompt in prompts], weights, device)
            release_memory(device)
            advance(1)
    return _Work(suite, sets, opened, judges, weights, device)


def _check_sizes(work: _Work) -> None:
    """All checkpoints draw one size, or their pictures are not comparable."""
    sizes = {name: checkpoint.size(work.suite.sampling) for name, checkpoint in work.checkpoints.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {width} x {height}" for name, (width, height) in sizes.items())
        raise DataError(
            f"The checkpoints draw images of different sizes: {listed}. Scorers crop and resize, so they "
            "are not comparable: set "
            "width and height under [sampling] in the suite, or bring finished images to one size."
        )


def _generate(work: _Work, ledger: Ledger, store: ImageStore, batch_size: int, stages: Stages) -> None:
    for name, checkpoint in work.checkpoints.items():
        total = len(wanted_images(checkpoint, work.prompts, work.suite))
        with stages(f"draw {name}", total, "images") as advance:
            generate_missing(
                checkpoint,
                work.prompts,
                work.suite,
                ledger=ledger,
                store=store,
                device=work.device,
                batch_size=batch_size,
                advance=advance,
            )
        release_memory(work.device)


def _conclude(
    work: _Work, ledger: Ledger, store: ImageStore, out: Path, resamples: int, stages: Stages
) -> dict[str, Any]:
    """scores.parquet, results.json, report.html."""
    with stages("compare and report", 3, "files") as advance:
        scores = check_scores(_scores_frame(work, ledger), source="the ledger")
        write_scores(scores, out / SCORES)
        advance(1)
        drawn = any(checkpoint.kind != "images" for checkpoint in work.checkpoints.values())
        results = summarise(
            scores,
            electorate=work.suite.electorate.model_dump(),
            checkpoints={name: _describe(c, work.prompts) for name, c in work.checkpoints.items()},
            suite={
                "name": work.suite.name,
                "prompt_sets": [planned.as_dict() for planned in work.sets],
                "seeds": work.suite.seeds,
                "sampling": _sampling(work) if drawn else None,
            },
            scorers={name: judge.info for name, judge in work.judges.items()},
            resamples=resamples,
        )
        write_json(out / RESULTS, results)
        advance(1)
        write_report(results, scores, out / REPORT, images=sample_paths(ledger, store))
        advance(1)
    return results


def _describe(checkpoint: Checkpoint, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Its entry in results.json."""
    return {
        "spec": checkpoint.spec,
        "kind": checkpoint.kind,
        "identity": checkpoint.identity,
        "training": checkpoint.training,
        "truncated": checkpoint.truncated(prompts),
    }


def _sampling(work: _Work) -> dict[str, Any]:
    """The settings with the size that was drawn, whoever set it."""
    first = next(iter(work.checkpoints.values()))
    width, height = first.size(work.suite.sampling)
    return work.suite.sampling.model_dump() | {"width": width, "height": height}


def _scores_frame(work: _Work, ledger: Ledger) -> pd.DataFrame:
    """The scores table, rows in the order of checkpoints, seeds, prompts, scorers."""
    images = ledger.images()
    image_of = {(s.checkpoint, s.prompt_id, s.seed): images[s.image].pixels for s in ledger.samples()}
    known = {name: ledger.scores(judge.fingerprint) for name, judge in work.judges.items()}
    rows: list[dict[str, Any]] = []
    for checkpoint in work.checkpoints:
        for seed in work.suite.seeds:
            for prompt in work.prompts:
                pixels = image_of[checkpoint, prompt.id, seed]
                for name, judge in work.judges.items():
                    key = score_key(pixels, prompt.text, judge.fingerprint)
                    rows.append(
                        {**_columns(checkpoint, prompt, seed), "scorer": name, "score": known[name][key]}
                    )
    return _without_empty(pd.DataFrame(rows))


def _columns(checkpoint: str, prompt: Prompt, seed: int) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint,
        "prompt_id": prompt.id,
        "prompt": prompt.text,
        "seed": seed,
        "category": prompt.category,
        "challenge": prompt.challenge,
    }


def _without_empty(frame: pd.DataFrame, columns: Sequence[str] = ("category", "challenge")) -> pd.DataFrame:
    return frame.drop(columns=[name for name in columns if frame[name].isna().all()])
