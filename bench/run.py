"""One run: plan -> generate -> score -> results -> report. Killed at any point and started again, it goes on.

Everything that can be wrong with the input is looked at before the first image is made: prompt files,
checkpoints, scorers, image sizes, and whether the folder belongs to this suite.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.atomic import write_json
from prefbench.bench.checkpoints.checkpoint import Checkpoint
from prefbench.bench.device import release_memory, resolve_device
from prefbench.bench.exceptions import DataError, LedgerError, UsageError
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
from prefbench.bench.run_report import describe_checkpoints, sample_paths
from prefbench.bench.run_scores import scores_of
from prefbench.bench.scores_table import write_scores
from prefbench.bench.scoring import (
    Judge,
    check_weights,
    meet_judge,
    read_to_the_end,
    score_missing,
    wanted_scores,
)
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite
from prefbench.reports.html import write_report

__all__ = ["plan_suite", "run_suite", "score_suite"]


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
        checkpoints: name -> SPEC in order; the first is the baseline. On an existing run folder they are added to those
            in it that are drawn, unless they name all of these: then their order holds.
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
    with ExitStack() as stack:
        work, ledger, store = _drawn_and_scored(
            stack, suite, checkpoints, out, prompts_dir, device, batch_size, weights or {}, stages
        )
        return _conclude(work, ledger, store, out, resamples, stages)


def score_suite(
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    *,
    device: str = "auto",
    batch_size: int = DEFAULT_BATCH_SIZE,
    stages: Stages = silent,
) -> pd.DataFrame:
    """Draw and score as `run_suite` does, one checkpoint or more, and compare nothing.

    For comparisons over several run folders, each of which another process may have made.

    Returns:
        The scores table, which `out` holds as scores.parquet. Arguments and errors as in `run_suite`.
    """
    with ExitStack() as stack:
        work, ledger, _ = _drawn_and_scored(
            stack, suite, checkpoints, out, None, device, batch_size, {}, stages, fewest=1
        )
        return _write_scores(work, ledger, out)


def _drawn_and_scored(
    stack: ExitStack,
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    prompts_dir: Path | None,
    device: str,
    batch_size: int,
    weights: Mapping[str, str],
    stages: Stages,
    fewest: int = 2,
) -> tuple[_Work, Ledger, ImageStore]:
    """Look, then make every missing image and score; the ledger stays open as long as `stack`."""
    if batch_size < 1:
        raise UsageError(f"The batch size is {batch_size}; it must be 1 or more.")
    ledger = stack.enter_context(Ledger(out)) if find_ledger(out) else None
    work = _look(suite, checkpoints, ledger, prompts_dir, device, weights, stages, fewest)
    _check_sizes(work)
    if ledger is None:
        ledger = stack.enter_context(Ledger(out))
        if ledger.meta("suite") is not None:
            raise LedgerError(f"Another process started a run in {out} just now. Run the same command again.")
    claim(ledger, suite, work.sets, work.checkpoints)
    store = ImageStore(out / IMAGES)
    _generate(work, ledger, store, batch_size, stages)
    texts = {prompt.id: prompt.text for prompt in work.prompts}
    from prefbench.scorers.dual_encoder import EmbeddingStore

    embeddings = EmbeddingStore(judge.tower for judge in work.judges.values())
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
                embeddings=embeddings,
                advance=advance,
            )
        release_memory(work.device)
    return work, ledger, store


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
    fewest: int = 2,
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
    opened = open_checkpoints(ledger, given, fewest)
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


def _write_scores(work: _Work, ledger: Ledger, out: Path) -> pd.DataFrame:
    """scores.parquet."""
    fingerprints = {name: judge.fingerprint for name, judge in work.judges.items()}
    scores = scores_of(ledger, work.checkpoints, work.suite.seeds, work.prompts, fingerprints)
    write_scores(scores, out / SCORES)
    return scores


def _conclude(
    work: _Work, ledger: Ledger, store: ImageStore, out: Path, resamples: int, stages: Stages
) -> dict[str, Any]:
    """scores.parquet, results.json, report.html."""
    with stages("compare and report", 3, "files") as advance:
        scores = _write_scores(work, ledger, out)
        advance(1)
        drawn = any(checkpoint.kind != "images" for checkpoint in work.checkpoints.values())
        results = summarise(
            scores,
            electorate=work.suite.electorate.model_dump(),
            checkpoints=describe_checkpoints(work.checkpoints, work.prompts, ledger),
            suite={
                "name": work.suite.name,
                "prompt_sets": [planned.as_dict() for planned in work.sets],
                "seeds": work.suite.seeds,
                "sampling": _sampling(work) if drawn else None,
            },
            scorers={name: judge.info for name, judge in work.judges.items()},
            untruncated=read_to_the_end(work.judges, work.suite.electorate.voters, work.prompts),
            resamples=resamples,
        )
        write_json(out / RESULTS, results)
        advance(1)
        write_report(results, scores, out / REPORT, images=sample_paths(ledger, store))
        advance(1)
    return results


def _sampling(work: _Work) -> dict[str, Any]:
    """The settings with the size that was drawn, whoever set it."""
    first = next(iter(work.checkpoints.values()))
    width, height = first.size(work.suite.sampling)
    return work.suite.sampling.model_dump() | {"width": width, "height": height}
