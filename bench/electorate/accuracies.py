"""How often each voter agrees with people, read from a file, and the weights that follow from it."""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.tally.votes import accuracy_weights

__all__ = ["Accuracies", "read_accuracies", "voter_weights"]

TIES = "left_out"
"""Which accuracy of `prefbench judges` counts: that on pairs which people did not tie."""


@dataclass(frozen=True)
class Accuracies:
    """Share of human choices that a scorer agrees with."""

    values: Mapping[str, float]
    """Scorer -> accuracy."""
    source: str
    """Where they are from, for a reader."""


def read_accuracies(path: Path) -> Accuracies:
    """Accuracies from a file.

    Args:
        path: the folder or results.json of `prefbench judges`; or a TOML or JSON file with a table `accuracy` of
            scorer = number.

    Raises:
        DataError: no such file, not TOML or JSON, no accuracies in it, or one that is not between 0 and 1.
    """
    file = path / "results.json" if path.is_dir() else path
    table = _table(file)
    found = table.get("accuracy")
    if isinstance(found, list):
        return _of_judges(file, table, found)
    if not isinstance(found, dict) or not found:
        raise DataError(
            f"{file} has no accuracies: it needs a table `accuracy` of scorer = number, or be the results.json of `prefbench "
            "judges`."
        )
    return Accuracies({name: _number(file, name, value) for name, value in found.items()}, str(path))


def _table(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        table = tomllib.loads(text) if file.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}). Give the path of the accuracies."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{file} is neither TOML (.toml) nor JSON ({error}). Mend it, or give another file."
        ) from error
    if not isinstance(table, dict):
        raise DataError(f"{file} holds a {type(table).__name__} and no table `accuracy`.")
    return table


def _of_judges(file: Path, table: Mapping[str, Any], found: Sequence[Any]) -> Accuracies:
    try:
        rows = [row for row in found if row["ties"] == TIES]
        values = {row["scorer"]: _number(file, row["scorer"], row["accuracy"]) for row in rows}
        source = f"{file}: agreement with {table['data']['source']}, human ties left out"
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{file} has a list `accuracy` that is not that of `prefbench judges` (missing: {error})."
        ) from error
    if not values:
        raise DataError(
            f"{file}: people tied every pair, so no scorer has an accuracy there. Give other data."
        )
    return Accuracies(values, source)


def _number(file: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{file}: the accuracy of {name} is {value!r}, not a number.")
    if not 0 < value < 1:
        raise DataError(
            f"{file}: the accuracy of {name} is {value:g}; it must lie between 0 and 1, without either. A voter that is always "
            "right would outvote all others together, and one that is always wrong would be as good turned round: such a number "
            "is one of few pairs. Measure on more."
        )
    return float(value)


def voter_weights(accuracies: Accuracies, voters: Sequence[str]) -> dict[str, float]:
    """Voter -> log(p / (1 - p)), 0 for one that is no better than a coin.

    Raises:
        UsageError: a voter without an accuracy, or none that is better than a coin.
    """
    absent = [name for name in voters if name not in accuracies.values]
    if absent:
        raise UsageError(
            f"{accuracies.source} has no accuracy of {', '.join(absent)}. Each voter needs one for the weighted vote: add it, "
            "or hold the scorer out."
        )
    weights = accuracy_weights([accuracies.values[name] for name in voters])
    if not weights.any():
        raise UsageError(
            f"By {accuracies.source} no voter agrees with people more often than a coin does, so a weighted vote has no voters. "
            "Leave the accuracies out, or choose other voters."
        )
    return dict(zip(voters, map(float, weights), strict=True))
