"""What a run is made of, looked at before its first image: prompts, checkpoints, scorers, sizes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd

from prefbench.bench.checkpoints.checkpoint import Checkpoint
from prefbench.bench.device import release_memory, resolve_device
from prefbench.bench.electorate.trained_against import resolve_with_voters
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.paired_samples import slices_of
from prefbench.bench.plan import PlannedSet, plan_prompts
from prefbench.bench.progress import Stages
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.registry import unknown_name
from prefbench.bench.run_folder import check_suite, open_checkpoints
from prefbench.bench.scores_table import OPTIONAL
from prefbench.bench.scoring import Judge, check_distinct, check_weights, meet_judge, read_to_the_end
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite

__all__ = ["Work", "look"]


@dataclass(frozen=True)
class Work:
    """Everything that was looked at and found good."""

    suite: Suite
    sets: list[PlannedSet]
    checkpoints: dict[str, Checkpoint]
    judges: dict[str, Judge]
    weights: Mapping[str, str]
    device: str

    @property
    def prompts(self) -> list[Prompt]:
        """Of all sets, in their order."""
        return [prompt for planned in self.sets for prompt in planned.prompts]


def look(
    suite: Suite,
    given: Mapping[str, str],
    ledger: Ledger | None,
    prompts_dir: Path | None,
    device: str,
    weights: Mapping[str, str],
    stages: Stages,
    fewest: int = 2,
) -> Work:
    """Open everything a run needs, and let it go again but for the descriptions.

    Args:
        suite: what to run.
        given: checkpoint -> SPEC.
        ledger: of the run folder, None where there is none yet.
        prompts_dir: where published prompt files lie.
        device: "auto", or a torch device.
        weights: scorer -> path of weights to use instead of its own.
        stages: shows progress.
        fewest: checkpoints.

    Raises:
        PrefbenchError: of whatever cannot be used; nothing was made.
    """
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
    if fewest > 1:
        _check_voters(suite, opened)
    judges: dict[str, Judge] = {}
    known: dict[str, str] = {}
    with stages("check scorers", len(suite.electorate.scorers), "scorers") as advance:
        for name in suite.electorate.scorers:
            judges[name] = meet_judge(name, [prompt.text for prompt in prompts], weights, device)
            check_distinct(known, name, judges[name].fingerprint)
            release_memory(device)
            advance(1)
    _check_sizes(suite, opened)
    _check_planned(suite, prompts, read_to_the_end(judges, suite.electorate.voters, prompts))
    return Work(suite, sets, opened, judges, weights, device)


def _check_voters(suite: Suite, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Somebody whom neither was trained against judges every two checkpoints, or images are drawn for nothing.

    Raises:
        UsageError: `trained_against` names a checkpoint that is not in the run, or a comparison has no voter left.
    """
    for name in suite.trained_against:
        if name not in checkpoints:
            raise unknown_name("checkpoint in trained_against", name, list(checkpoints))
    trainings = {name: checkpoint.training for name, checkpoint in checkpoints.items()}
    pairs = [(a, b) for b, a in combinations(checkpoints, 2)]
    electorate = suite.electorate
    resolve_with_voters(trainings, suite.trained_against, pairs, electorate.voters, electorate.held_out)


def _check_planned(suite: Suite, prompts: Sequence[Prompt], untruncated: Collection[str] | None) -> None:
    """Every planned slice is one that these prompts make."""
    about = pd.DataFrame(
        [(p.text, p.category or "", p.challenge or "") for p in prompts], columns=["prompt", *OPTIONAL]
    )
    known = ["all", *slices_of(about, untruncated or ())]
    for name in suite.planned_slices:
        if name not in known:
            raise unknown_name("slice", name, known)


def _check_sizes(suite: Suite, checkpoints: Mapping[str, Checkpoint]) -> None:
    """All checkpoints draw one size, or their pictures are not comparable."""
    sizes = {name: checkpoint.size(suite.sampling) for name, checkpoint in checkpoints.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {width} x {height}" for name, (width, height) in sizes.items())
        raise DataError(
            f"The checkpoints draw images of different sizes: {listed}. Scorers crop and resize, so they "
            "are not comparable: set "
            "width and height under [sampling] in the suite, or bring finished images to one size."
        )
