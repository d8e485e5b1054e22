"""One run: plan -> generate -> score -> results -> report. Killed at any point and started again, it goes on.

Everything that can be wrong with the input is looked at before the first image is made: prompt files,
checkpoints, scorers, image sizes, and whether the folder belongs to this suite.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.atomic import write_json
from prefbench.bench.electorate.accuracies import Accuracies, voter_weights
from prefbench.bench.electorate.rules import rules_of
from prefbench.bench.gaps import Incomplete, drop_incomplete
from prefbench.bench.generate import DEFAULT_BATCH_SIZE
from prefbench.bench.methods_block import groups_of
from prefbench.bench.plan import Plan, make_plan
from prefbench.bench.progress import Stages, silent
from prefbench.bench.results import summarise
from prefbench.bench.run_folder import (
    REPORT,
    RESULTS,
    SCORES,
    find_ledger,
)
from prefbench.bench.run_report import describe_checkpoints, sample_paths
from prefbench.bench.run_scores import scores_of
from prefbench.bench.run_stages import draw_and_score, open_run
from prefbench.bench.run_work import Work, look
from prefbench.bench.scores_table import write_scores
from prefbench.bench.scoring import read_to_the_end
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite
from prefbench.bench.tally.win_rate import Interval
from prefbench.reports.html import write_report

__all__ = ["plan_suite", "run_suite", "score_suite"]


def run_suite(
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    *,
    prompts_dir: Path | None = None,
    device: str = "auto",
    batch_size: int = DEFAULT_BATCH_SIZE,
    weights: Mapping[str, str] | None = None,
    methods: Mapping[str, Sequence[str]] | None = None,
    accuracies: Accuracies | None = None,
    resamples: int = 10_000,
    interval: Interval = "percentile",
    incomplete: Incomplete = "refuse",
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
        methods: method -> the checkpoints that are its trainings; None to go by their training records.
        accuracies: of the voters on human data, for the weighted vote; None for none.
        resamples: of the bootstrap.
        interval: which bootstrap interval: "percentile" or "bca".
        incomplete: what is done with a (prompt, seed) for which a scorer that may fail has no score: "drop" leaves it out
            for all checkpoints, and counts it.
        stages: shows progress.

    Returns:
        What results.json holds. The folder holds suite.toml, ledger.sqlite, images/, scores.parquet,
        results.json, report.html.

    Raises:
        PrefbenchError: bad input; nothing was made unless it is a non-finite image or score.
    """
    with ExitStack() as stack:
        run = open_run(
            stack,
            suite,
            checkpoints,
            out,
            prompts_dir=prompts_dir,
            device=device,
            batch_size=batch_size,
            weights=weights,
            stages=stages,
        )
        cards = {name: {"training": checkpoint.training} for name, checkpoint in run.work.checkpoints.items()}
        groups_of(cards, methods)  # a wrong name is told before hours of drawing
        if accuracies is not None:
            voter_weights(accuracies, run.work.suite.electorate.voters)  # and a missing accuracy
        draw_and_score(run, run.work.prompts, incomplete=incomplete, stages=stages)
        return _conclude(
            run.work, run.ledger, run.store, out, resamples, stages, methods, accuracies, interval
        )


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
        run = open_run(
            stack, suite, checkpoints, out, device=device, batch_size=batch_size, stages=stages, fewest=1
        )
        draw_and_score(run, run.work.prompts, stages=stages)
        return _write_scores(run.work, run.ledger, out)[0]


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
        work = look(suite, checkpoints, ledger, prompts_dir, device, weights or {}, silent)
        fingerprints = {name: judge.fingerprint for name, judge in work.judges.items()}
        return make_plan(suite, work.prompts, work.checkpoints, fingerprints, ledger)


def _write_scores(work: Work, ledger: Ledger, out: Path) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """scores.parquet: what is compared; and what is left out of it."""
    fingerprints = {name: judge.fingerprint for name, judge in work.judges.items()}
    scores = scores_of(ledger, work.checkpoints, work.suite.seeds, work.prompts, fingerprints)
    scores, left_out = drop_incomplete(
        scores,
        samples=[(prompt.id, seed) for seed in work.suite.seeds for prompt in work.prompts],
        checkpoints=list(work.checkpoints),
        scorers=list(work.judges),
        source=f"The run {out}",
    )
    write_scores(scores, out / SCORES)
    return scores, left_out


def _conclude(
    work: Work,
    ledger: Ledger,
    store: ImageStore,
    out: Path,
    resamples: int,
    stages: Stages,
    methods: Mapping[str, Sequence[str]] | None = None,
    accuracies: Accuracies | None = None,
    interval: Interval = "percentile",
) -> dict[str, Any]:
    """scores.parquet, results.json, report.html."""
    with stages("compare and report", 3, "files") as advance:
        scores, left_out = _write_scores(work, ledger, out)
        advance(1)
        drawn = any(checkpoint.kind != "images" for checkpoint in work.checkpoints.values())
        results = summarise(
            scores,
            electorate=work.suite.electorate.model_dump(include={"voters", "held_out"}),
            rules=rules_of(work.suite, accuracies),
            checkpoints=describe_checkpoints(work.checkpoints, work.prompts, ledger),
            suite={
                "name": work.suite.name,
                "prompt_sets": [planned.as_dict() for planned in work.sets],
                "seeds": work.suite.seeds,
                "sampling": _sampling(work) if drawn else None,
            },
            scorers={name: judge.info for name, judge in work.judges.items()},
            untruncated=read_to_the_end(work.judges, work.suite.electorate.voters, work.prompts),
            left_out=left_out,
            methods=methods,
            resamples=resamples,
            interval=interval,
            planned_slices=work.suite.planned_slices,
        )
        write_json(out / RESULTS, results)
        advance(1)
        write_report(results, scores, out / REPORT, images=sample_paths(ledger, store))
        advance(1)
    return results


def _sampling(work: Work) -> dict[str, Any]:
    """The settings with the size that was drawn, whoever set it."""
    first = next(iter(work.checkpoints.values()))
    width, height = first.size(work.suite.sampling)
    return work.suite.sampling.model_dump() | {"width": width, "height": height}
