"""Suite, Sampling, Electorate: what a run does, read from TOML.

    name = "mine"
    prompts = ["partiprompts"]        # names of prompt sets, or paths of a .csv / .txt, relative to this file
    seeds = [0, 1]
    limit = 100                       # optional
    planned_slices = ["category=People"]   # optional: named before any score is seen

    [sampling]
    steps = 50
    guidance = 7.5
    scheduler = "ddim"                # or "euler"; left out: the scheduler the pipeline was saved with

    [electorate]
    voters = ["pickscore", "hpsv2.1", "imagereward"]
    held_out = ["aesthetic.v2"]       # reported, does not vote
    tie_rule = "tie"                  # of an even split; or "abstain", or "first"
    tie_tolerance = {pickscore = 0.02}    # optional: scores that differ by no more tie

    [trained_against]                 # optional: no judge of that checkpoint
    my_dpo = ["pickscore"]

    [[gate.rules]]                    # optional: what `prefbench gate` asks (gate/rules.py)
    kind = "non_inferiority"
    margin = 0.03

An unknown key is an error that names the nearest known one: a mistyped setting that is ignored changes a
number unseen.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.gate.rules import GateRules
from prefbench.bench.registry import unknown_name
from prefbench.bench.strict_model import StrictModel, faults
from prefbench.bench.tally.votes import TieRule
from prefbench.bench.toml_text import toml_text

__all__ = [
    "SUITES",
    "Electorate",
    "Sampling",
    "Suite",
    "load_suite",
    "suite_text",
    "with_defaults",
    "with_limit",
    "with_trained_against",
]

SUITES = ("miniature", "smoke", "partiprompts", "hpdv2")
"""Built-in suites; each is the file `suites/<name>.toml` of this package."""

Name = Annotated[str, Field(min_length=1)]


class Sampling(StrictModel):
    """How images are drawn. Every field is part of a sample's key."""

    steps: int = Field(ge=1, le=1000)
    """Denoising steps."""
    guidance: float = Field(ge=0, allow_inf_nan=False)
    """Scale of classifier-free guidance; 1 or less switches it off (diffusers' rule)."""
    scheduler: Literal["pipeline default", "ddim", "euler"] = "pipeline default"
    """"pipeline default" keeps the scheduler class that the pipeline was saved with."""
    width: int | None = Field(default=None, ge=8)
    """Pixels; left out: the pipeline's own size."""
    height: int | None = Field(default=None, ge=8)
    """Pixels; left out: the pipeline's own size."""
    negative_prompt: str = ""
    """Text of the unconditional branch."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the networks. Half precision needs a GPU."""

    @model_validator(mode="after")
    def _both_sides(self) -> "Sampling":
        if (self.width is None) != (self.height is None):
            raise ValueError("give both width and height, or neither")
        return self


class Electorate(StrictModel):
    """Which scorers vote, which are only reported, and what a tie is."""

    voters: list[Name] = Field(min_length=1)
    held_out: list[Name] = Field(default_factory=list)
    tie_rule: TieRule = "tie"
    """What becomes of an even split of the voters (`tally.votes.TIE_RULES`)."""
    tie_tolerance: dict[Name, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )
    """Scorer -> difference, in its own units, up to which two of its scores tie; exact ties for one not named."""

    @model_validator(mode="after")
    def _each_once(self) -> "Electorate":
        both = [*self.voters, *self.held_out]
        twice = sorted({name for name in both if both.count(name) > 1})
        if twice:
            raise ValueError(
                f"{', '.join(twice)} stands in it twice; a scorer either votes or is held out, once"
            )
        for name in self.tie_tolerance:
            if name not in both:
                raise ValueError(f"tie_tolerance: {unknown_name('scorer', name, both)}".rstrip("."))
        return self

    @property
    def scorers(self) -> list[str]:
        """Voters, then held-out scorers."""
        return [*self.voters, *self.held_out]


class Suite(StrictModel):
    """Prompt sets x seeds x sampling settings x electorate."""

    name: Name
    prompts: list[Name] = Field(min_length=1)
    """Prompt sets: registered names, or paths of a .csv or .txt file; `load_suite` makes them absolute."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many prompts of each set, evenly spread over it (sets are sorted by category)."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = Field(min_length=1)
    sampling: Sampling
    electorate: Electorate
    planned_slices: list[Name] = Field(default_factory=list)
    """Slices on which the vote against the baseline is planned, as on all prompts: "category=Animals"."""
    trained_against: dict[Name, list[Name]] = Field(default_factory=dict)
    """Checkpoint -> scorers it was trained against, which have no vote where it takes part. In place of what its training
    record says; an empty list: none of them."""
    gate: GateRules | None = None
    """What `prefbench gate` asks of a run of this suite. It decides no number, and may change between runs into one folder."""

    @model_validator(mode="after")
    def _known_scorers(self) -> "Suite":
        for checkpoint, names in self.trained_against.items():
            for name in names:
                if name not in self.electorate.scorers:
                    error = unknown_name("scorer", name, self.electorate.scorers)
                    raise ValueError(f"trained_against.{checkpoint}: {error}".rstrip("."))
        return self

    @model_validator(mode="after")
    def _distinct(self) -> "Suite":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds contains a seed twice")
        if len(set(self.prompts)) < len(self.prompts):
            raise ValueError("prompts names a set twice")
        if len(set(self.planned_slices)) < len(self.planned_slices):
            raise ValueError("planned_slices names a slice twice")
        return self


def load_suite(name_or_path: str) -> Suite:
    """A built-in suite by name, or one of your own from a TOML file.

    Prompt files are looked for beside the TOML file, and named by absolute paths in what is returned: the suite in a
    run folder means the same from every current folder.

    Raises:
        UsageError: neither a built-in name nor a file.
        DataError: the file is no TOML, or a field is missing, unknown or out of range.
    """
    path = Path(name_or_path)
    if name_or_path in SUITES:
        text = (files("prefbench.bench") / "suites" / f"{name_or_path}.toml").read_text(encoding="utf-8")
        return parse_suite(text, where=f"built-in suite {name_or_path}")
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} is not UTF-8 text (byte {error.start}). Save the suite as UTF-8."
            ) from error
        suite = parse_suite(text, where=str(path))
        return suite.model_copy(update={"prompts": _found_from(path.parent, suite.prompts)})
    if path.suffix == ".toml" or path.name != name_or_path:
        raise UsageError(
            f"There is no suite file {name_or_path}. Give the path of a TOML file or one of: "
            f"{', '.join(SUITES)}."
        )
    raise unknown_name("suite", name_or_path, list(SUITES))


def _found_from(folder: Path, prompts: list[str]) -> list[str]:
    """Prompt files of a suite in `folder` by their absolute paths; names of prompt sets as they are."""
    from prefbench.bench.prompts import PROMPT_SETS

    def found(name: str) -> str:
        path = Path(os.path.abspath(folder / name))
        is_file = path.suffix.lower() in (".csv", ".txt") or path.exists()
        return str(path) if name not in PROMPT_SETS and is_file else name

    return [found(name) for name in prompts]


def parse_suite(text: str, *, where: str) -> Suite:
    """A suite from TOML text; `where` names the source in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{where} is not valid TOML: {error}. Mend that line.") from error
    try:
        return Suite.model_validate(table)
    except ValidationError as error:
        raise DataError(f"{where}: {faults(error, Suite, 'the suite')}.") from error


def suite_text(suite: Suite) -> str:
    """The suite as TOML, every default written out but empty tables; `parse_suite` reads it back to an equal suite."""
    table = suite.model_dump(exclude_none=True)
    for holder, key in ((table["electorate"], "tie_tolerance"), (table, "trained_against")):
        if not holder[key]:
            del holder[key]
    return toml_text(table)


def with_defaults(fields: dict[str, Any], model: type[BaseModel] = Suite) -> dict[str, Any]:
    """The fields of a stored suite with the defaults of those that it was written without: it is from before they were."""
    filled = dict(fields)
    for name, field in model.model_fields.items():
        if name not in filled and not field.is_required():
            filled[name] = field.get_default(call_default_factory=True)
        elif (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel) and name in filled
        ):
            filled[name] = with_defaults(filled[name], field.annotation)
    return filled


def with_limit(suite: Suite, limit: int | None) -> Suite:
    """The suite with another limit of prompts; None leaves it as it is.

    Raises:
        UsageError: a limit below 1.
    """
    if limit is None:
        return suite
    if limit < 1:
        raise UsageError(f"The limit is {limit}; it must be 1 or more prompts of each set.")
    return suite.model_copy(update={"limit": limit})


def with_trained_against(suite: Suite, told: Mapping[str, Sequence[str]]) -> Suite:
    """The suite that says of these checkpoints what they were trained against; of others what it said.

    Raises:
        UsageError: a scorer that is not in the electorate.
    """
    for checkpoint, names in told.items():
        for name in names:
            if name not in suite.electorate.scorers:
                raise unknown_name(
                    f"scorer that {checkpoint!r} was trained against", name, suite.electorate.scorers
                )
    if not told:
        return suite
    merged = suite.trained_against | {name: list(scorers) for name, scorers in told.items()}
    return suite.model_copy(update={"trained_against": merged})
