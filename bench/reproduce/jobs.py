"""One checkpoint of an arm: trained, drawn on a prompt set, scored; each step resumable, and kept when it is done.

FOLDER/checkpoint/    what `prefbench train` writes
FOLDER/samples/       ledger, images and scores.parquet, as `prefbench bench` writes them
FOLDER/trace/         the same for checkpoints of the last steps, of an arm that is traced
FOLDER/job.json       written last: what was made, how it ended, how long it took
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from prefbench.bench.atomic import write_json
from prefbench.bench.exceptions import DataError, DivergedError, UsageError
from prefbench.bench.reproduce.arms import Arm
from prefbench.bench.reproduce.stability import draw_trace, export_every
from prefbench.bench.suite import Suite, load_suite, with_limit

if TYPE_CHECKING:
    from prefbench.reference_trainers.recipes import Recipe

__all__ = ["TRUTH", "Done", "Job", "Prompts", "Size", "do_job", "find_done", "mean_truth", "read_job_scores"]

JOB = "job.json"
BATCH_SIZE = 50
"""Images drawn at once: many, because they are tiny."""

TRUTH = "mini:truth"
"""The known utility of this world, held out of the vote."""

Prompts = Literal["tuning", "reporting"]
PROMPT_SETS: Mapping[Prompts, str] = {"tuning": "miniature-tuning", "reporting": "miniature"}


@dataclass(frozen=True)
class Size:
    """Smaller than the recipe, to try the machinery: verdicts of such a run mean nothing. None for the whole."""

    steps: int | None = None
    """Optimizer steps."""
    limit: int | None = None
    """Prompts."""
    pairs: int | None = None
    """Preference pairs to choose from."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is cut."""
        return self == Size()


@dataclass(frozen=True)
class Job:
    """A checkpoint to make and score."""

    folder: Path
    arm: Arm | None
    """None for the base, which is drawn and scored only."""
    factor: float
    """Multiplies the learning rate of the arm's miniature recipe."""
    seed: int
    """Of training; flips and random subsets are drawn by it as well, so an arm and its control share them."""
    prompts: Prompts
    size: Size

    @property
    def label(self) -> str:
        """For a line of progress."""
        if self.arm is None:
            return f"base on the {self.prompts} prompts"
        return f"{self.arm.name}, lr x{self.factor:g}, seed {self.seed}, {self.prompts} prompts"

    @property
    def traced(self) -> bool:
        """Whether checkpoints of its last steps are drawn as well."""
        return self.arm is not None and self.arm.traced and self.prompts == "reporting"

    @property
    def suite(self) -> Suite:
        """The miniature suite on the prompts of this job."""
        suite = load_suite("miniature")
        name = PROMPT_SETS[self.prompts]
        return with_limit(suite.model_copy(update={"name": name, "prompts": [name]}), self.size.limit)

    @property
    def data(self) -> str:
        """What training reads; of lists of four images, six pairs each, so many that the pairs suffice."""
        data = "miniature" if self.arm is None else self.arm.data
        if self.size.pairs is None:
            return data
        return (
            f"miniature:{self.size.pairs}"
            if data == "miniature"
            else f"miniature:{-(-self.size.pairs // 6)}x4"
        )

    def recipe(self) -> "Recipe | None":
        """Every constant; None for the base."""
        from prefbench.reference_trainers.method import Constant
        from prefbench.reference_trainers.recipes import resolve_recipe

        if self.arm is None:
            return None
        source = f"prefbench reproduce: arm {self.arm.name}"
        values = {**self.arm.settings, "seed": self.seed}
        if "flip" in values:
            values["flip_seed"] = self.seed
        if values.get("control") == "random":
            values["select_seed"] = self.seed
        if self.size.steps is not None:
            values["steps"] = self.size.steps
        given = {name: Constant(value, source) for name, value in values.items()}
        whole = resolve_recipe(self.arm.method, "miniature", given, cache=True).loop
        if self.traced:
            given["export_every"] = Constant(export_every(whole.steps), source)
        if self.factor != 1:
            given["lr"] = Constant(
                self.factor * whole.lr, f"prefbench reproduce: {self.factor:g} x the recipe's"
            )
        return resolve_recipe(self.arm.method, "miniature", given, cache=True)

    def description(self) -> dict[str, Any]:
        """All that decides the scores, as JSON values."""
        recipe = self.recipe()
        constants = {} if recipe is None else recipe.constants()
        return {
            "method": None if self.arm is None else self.arm.method,
            "constants": {name: constant["value"] for name, constant in constants.items()},
            "data": None if self.arm is None else self.data,
            "suite": self.suite.model_dump(),
        }


@dataclass(frozen=True)
class Done:
    """How a job ended."""

    diverged: str | None
    """The sentence of the training that stopped; then there are no scores. None for a good end."""
    seconds: Mapping[str, float]
    """"train" and "draw_and_score"."""
    uninterrupted: bool
    """Whether one process made all of it, so that `seconds` is the whole time."""


def find_done(job: Job) -> Done | None:
    """How this job ended, or None if there is something left to do.

    Raises:
        UsageError: the folder holds the same job with other constants.
        DataError: job.json cannot be read.
    """
    path = job.folder / JOB
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        # By the suite's own model: what a later version added had its default before.
        there = found["description"] | {"suite": _suite_of(found["description"]["suite"])}
        done = Done(found["diverged"], found["seconds"], found["uninterrupted"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({error!r}). Delete {job.folder}; it is made again."
        ) from None
    # Through JSON and back: tuples are lists there.
    here = json.loads(json.dumps(job.description()))
    differing = sorted(_differences(there, here))
    if differing:
        raise UsageError(
            f"{job.folder} was made with other settings: {', '.join(differing)}. Give another --out, or delete that "
            "folder to make it again."
        )
    return done


def _suite_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(Suite.model_validate(stored).model_dump_json())
    return values


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in there.keys() | here.keys():
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} ({old} there, {new} now)")
    return found


def read_job_scores(job: Job) -> pd.DataFrame:
    """The scores table of a job that ended well."""
    from prefbench.bench.run_folder import SCORES
    from prefbench.bench.scores_table import read_scores

    return read_scores(job.folder / "samples" / SCORES)


def read_trace(job: Job) -> pd.DataFrame:
    """The scores table of the checkpoints of a traced job's last steps."""
    from prefbench.bench.run_folder import SCORES
    from prefbench.bench.scores_table import read_scores

    return read_scores(job.folder / "trace" / SCORES)


def mean_truth(job: Job, done: Done) -> float | None:
    """Mean known truth of the job's images; None where the training diverged."""
    if done.diverged is not None:
        return None
    scores = read_job_scores(job)
    return float(scores.loc[scores["scorer"] == TRUTH, "score"].mean())


def do_job(job: Job) -> Done:
    """Train, draw, score; goes on where an earlier process stopped. A training that diverges is a result.

    Raises:
        PrefbenchError: anything else that is wrong.
    """
    from prefbench.bench.run import score_suite
    from prefbench.reference_trainers.offline import train

    checkpoint, samples = job.folder / "checkpoint", job.folder / "samples"
    fresh = not checkpoint.exists() and not samples.exists()
    seconds = {"train": 0.0, "draw_and_score": 0.0}
    diverged = None
    started = time.perf_counter()
    try:
        if (recipe := job.recipe()) is not None:
            train(recipe, backbone="miniature", data=job.data, out=checkpoint)
        seconds["train"] = time.perf_counter() - started
    except DivergedError as error:
        diverged, seconds["train"] = str(error), time.perf_counter() - started
    else:
        started = time.perf_counter()
        name, spec = ("base", "miniature") if job.arm is None else (job.arm.name, str(checkpoint))
        score_suite(job.suite, {name: spec}, samples, device="cpu", batch_size=BATCH_SIZE)
        if job.traced and recipe is not None:
            draw_trace(job.suite, checkpoint, recipe.loop.steps, job.folder / "trace", BATCH_SIZE)
        seconds["draw_and_score"] = time.perf_counter() - started
    done = Done(diverged, {name: round(value, 2) for name, value in seconds.items()}, fresh)
    write_json(job.folder / JOB, {"description": job.description(), **dataclasses.asdict(done)})
    return done
