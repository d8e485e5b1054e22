"""What a release must keep to: the rules of a gate, typed, from `[gate]` of a suite or from a file of their own.

    alpha = 0.05                      # 1 minus the level of every interval, both ends together

    [[rules]]
    kind = "non_inferiority"          # win rate over the baseline above 50 % - margin
    scorer = "majority"               # the vote (also if left out), or a scorer's name
    margin = 0.03
    slice = "category=Animals"        # optional; all prompts if left out

    [[rules]]
    kind = "superiority"              # win rate above 50 %; scorer and slice as above

    [[rules]]
    kind = "floor"                    # the candidate's mean score is at least the minimum
    scorer = "imagereward"
    minimum = 0.2

    [[rules]]
    kind = "slice_loss"               # win rate above 50 % - margin in each slice
    slices = ["category", "challenge=Quantity"]     # a column stands for all its values
    margin = 0.1

    [[rules]]
    kind = "tie_cap"                  # at most this share of pairs ties
    maximum = 0.5

    [[rules]]
    kind = "failure_cap"              # at most this share of samples has no score
    maximum = 0.01

    [[rules]]
    kind = "slowdown"                 # sampling takes at most so many times as long as the baseline's
    maximum = 1.1

In a suite the same stands under `[gate]` and `[[gate.rules]]`.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.strict_model import StrictModel, faults
from prefbench.bench.verdict import MAJORITY

__all__ = [
    "ALL",
    "DEFAULT_MARGIN",
    "FailureCap",
    "Floor",
    "GateRules",
    "NonInferiority",
    "Rule",
    "SliceLoss",
    "Slowdown",
    "Superiority",
    "TieCap",
    "default_rules",
    "load_rules",
]

ALL = "all"
"""The slice of all prompts."""

DEFAULT_MARGIN = 0.03
"""Of the one rule that holds where none is written: three points below 50 %."""

Name = Annotated[str, Field(min_length=1)]
Margin = Annotated[float, Field(ge=0, lt=0.5, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class NonInferiority(StrictModel):
    """The candidate is not worse than the baseline by more than the margin."""

    kind: Literal["non_inferiority"]
    scorer: Name = MAJORITY
    """"majority" for the vote, or a scorer."""
    margin: Margin
    """The true win rate, ties half, must lie above 0.5 - margin."""
    slice: Name = ALL


class Superiority(StrictModel):
    """The candidate is better than the baseline."""

    kind: Literal["superiority"]
    scorer: Name = MAJORITY
    slice: Name = ALL


class Floor(StrictModel):
    """The candidate's mean score does not sink below a number."""

    kind: Literal["floor"]
    scorer: Name
    minimum: Annotated[float, Field(allow_inf_nan=False)]
    """In the scorer's own units."""


class SliceLoss(StrictModel):
    """No slice is lost by more than the margin."""

    kind: Literal["slice_loss"]
    scorer: Name = MAJORITY
    slices: list[Name] = Field(min_length=1)
    """"category=Animals" for one, "category" for all of the column."""
    margin: Margin


class TieCap(StrictModel):
    """Not too many pairs tie: where most do, a win rate near 50 % says little."""

    kind: Literal["tie_cap"]
    scorer: Name = MAJORITY
    maximum: Share
    """Share of pairs."""


class FailureCap(StrictModel):
    """Not too many samples are without a score."""

    kind: Literal["failure_cap"]
    maximum: Share
    """Share of (prompt, seed)."""


class Slowdown(StrictModel):
    """Sampling has not become much slower."""

    kind: Literal["slowdown"]
    maximum: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Of the candidate's time for an image over the baseline's: 1.1 for a tenth more."""


Rule = Annotated[
    NonInferiority | Superiority | Floor | SliceLoss | TieCap | FailureCap | Slowdown,
    Field(discriminator="kind"),
]


class GateRules(StrictModel):
    """All rules of a gate; the release passes if it keeps to each of them."""

    alpha: Annotated[float, Field(ge=0.001, le=0.5, allow_inf_nan=False)] = 0.05
    """Intervals are at level 1 - alpha: a rule on a win rate is passed wrongly, or failed wrongly, with probability alpha / 2 at
    most. Below 0.001 the ends of an interval of 10,000 resamples would be single draws."""
    rules: list[Rule] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> "GateRules":
        seen: list[Rule] = []
        for number, rule in enumerate(self.rules, start=1):
            if rule in seen:
                raise ValueError(f"rule {number} ({rule.kind}) is the same as rule {seen.index(rule) + 1}")
            seen.append(rule)
        return self


def default_rules(margin: float | None = None) -> GateRules:
    """The one rule that holds where none is written: the vote is not worse by more than the margin.

    Raises:
        UsageError: a margin outside [0, 0.5).
    """
    value = DEFAULT_MARGIN if margin is None else margin
    if not 0 <= value < 0.5:  # no comparison holds for NaN
        raise UsageError(f"--margin is {value:g}; it must be from 0 to below 0.5, such as {DEFAULT_MARGIN}.")
    return GateRules(rules=[NonInferiority(kind="non_inferiority", margin=value)])


def load_rules(path: Path) -> GateRules:
    """Rules from a TOML file.

    Raises:
        DataError: the file cannot be read, is no TOML, or a field is missing, unknown or out of range.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"--rules {path} cannot be read ({error.strerror}). Give the path of a TOML file."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). Save the rules as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not valid TOML: {error}. Mend that line.") from error
    if set(table) == {"gate"} and isinstance(table["gate"], dict):
        raise DataError(
            f"{path} has its rules under [gate], as a suite has. In a file of their own they stand at the top: alpha = 0.05, "
            "[[rules]]."
        )
    given = table.get("rules")
    if not isinstance(given, list) or not given or not all(isinstance(rule, dict) for rule in given):
        there = f"it has {', '.join(map(repr, table))}" if table else "it is empty"
        raise DataError(
            f"{path} has no list of rules: {there if given is None else f'its rules are {given!r}'}. Each rule begins with a "
            'line [[rules]], in double brackets, and its kind: kind = "superiority".'
        )
    try:
        return GateRules.model_validate(table)
    except ValidationError as error:
        raise DataError(f"{path}: {faults(error, GateRules, 'the gate')}.") from error
