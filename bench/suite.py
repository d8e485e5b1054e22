"""Suite, Sampling, Electorate: what a run does, read from TOML.

    name = "mine"
    prompts = ["partiprompts"]        # names of prompt sets, or paths of a .csv / .txt, relative to this file
    seeds = [0, 1]
    limit = 100                       # optional

    [sampling]
    steps = 50
    guidance = 7.5
    scheduler = "ddim"                # or "euler"; left out: the scheduler the pipeline was saved with

    [electorate]
    voters = ["pickscore", "hpsv2.1", "imagereward"]
    held_out = ["aesthetic.v2"]       # reported, does not vote

An unknown key is an error that names the nearest known one: a mistyped setting that is ignored changes a
number unseen.
"""

import difflib
import os
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.registry import unknown_name
from prefbench.bench.toml_text import toml_text

__all__ = ["SUITES", "Electorate", "Sampling", "Suite", "load_suite", "suite_text", "with_limit"]

SUITES = ("miniature", "smoke", "partiprompts", "hpdv2")
"""Built-in suites; each is the file `suites/<name>.toml` of this package."""

Name = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sampling(_Strict):
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


class Electorate(_Strict):
    """Which scorers vote, and which are only reported."""

    voters: list[Name] = Field(min_length=1)
    held_out: list[Name] = []

    @model_validator(mode="after")
    def _each_once(self) -> "Electorate":
        both = [*self.voters, *self.held_out]
        twice = sorted({name for name in both if both.count(name) > 1})
        if twice:
            raise ValueError(
                f"{', '.join(twice)} stands in it twice; a scorer either votes or is held out, once"
            )
        return self

    @property
    def scorers(self) -> list[str]:
        """Voters, then held-out scorers."""
        return [*self.voters, *self.held_out]


class Suite(_Strict):
    """Prompt sets x seeds x sampling settings x electorate."""

    name: Name
    prompts: list[Name] = Field(min_length=1)
    """Prompt sets: registered names, or paths of a .csv or .txt file; `load_suite` makes them absolute."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many prompts of each set, evenly spread over it (sets are sorted by category)."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = Field(min_length=1)
    sampling: Sampling
    electorate: Electorate

    @model_validator(mode="after")
    def _distinct(self) -> "Suite":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds contains a seed twice")
        if len(set(self.prompts)) < len(self.prompts):
            raise ValueError("prompts names a set twice")
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
        problems = "; ".join(_problem(detail) for detail in error.errors())
        raise DataError(f"{where}: {problems}.") from error


def suite_text(suite: Suite) -> str:
    """The suite as TOML, every default written out; `parse_suite` reads it back to an equal suite."""
    return toml_text(suite.model_dump(exclude_none=True))


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


def _problem(detail: ErrorDetails) -> str:
    """One pydantic error as a sentence: the field's dotted name; for an unknown key the nearest one."""
    location = [str(part) for part in detail["loc"]]
    field = ".".join(location) or "the suite"
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {field!r}; {hint}Known here: {', '.join(known)}"
    if detail["type"] == "missing":
        return f"{field} is missing; add it"
    message = detail["msg"].removeprefix("Value error, ")
    given = f" (given: {detail['input']!r})" if not isinstance(detail["input"], dict) else ""
    return f"{field}: {message[0].lower() + message[1:]}{given}"


def _known_keys(location: list[str]) -> list[str]:
    model: Any = {"": Suite, "sampling": Sampling, "electorate": Electorate}[".".join(location)]
    return list(model.model_fields)
