"""Tie tolerances as the command line and TOML files give them."""

import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path

from prefbench.bench.electorate.rules import check_tolerance
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.named_values import named_values
from prefbench.bench.registry import unknown_name

__all__ = ["parse_tolerances", "read_tolerances"]

OPTION = "--tie-tolerance"


def parse_tolerances(texts: Sequence[str], scorers: Collection[str]) -> dict[str, float]:
    """Scorer -> tolerance from `SCORER=VALUE` and paths of TOML files; what is given by name replaces a file's.

    Args:
        texts: each `SCORER=VALUE`, or a path that ends in .toml: a file with a table `tie_tolerance` of scorer = value.
        scorers: that there are. A name that is not among them is an error; in a file, which may serve many tables, it
            is passed over, unless none of its scorers is there.

    Raises:
        UsageError: an unknown scorer, or a value that is no finite number of 0 or more.
        DataError: a file that cannot be used.
    """
    found: dict[str, float] = {}
    for text in texts:
        if text.lower().endswith(".toml"):
            table = read_tolerances(Path(text))
            here = {name: value for name, value in table.items() if name in scorers}
            if not here:
                raise UsageError(
                    f"{OPTION} {text} names {', '.join(table)}, and the scorers here are {', '.join(scorers)}: it has no effect. "
                    "Leave it out, or give another file."
                )
            found |= here
    named = [text for text in texts if not text.lower().endswith(".toml")]
    for name, text in named_values(OPTION, "SCORER=VALUE, nor the path of a .toml file", named).items():
        if name not in scorers:
            raise unknown_name(f"scorer in {OPTION}", name, list(scorers))
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"{OPTION} {name}={text}: {text!r} is no number.") from None
        check_tolerance(name, value)
        found[name] = value
    return {name: found[name] for name in scorers if name in found}


def read_tolerances(path: Path) -> dict[str, float]:
    """The table `tie_tolerance` of a TOML file.

    Raises:
        DataError: no such file, not TOML, or no such table of numbers.
        UsageError: a value that is negative or not finite.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tie_tolerance")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}). Give the path of the tolerances."
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not valid TOML ({error}). Mend it, or give another file.") from error
    if not isinstance(table, dict) or not table:
        raise DataError(
            f"{path} has no table `tie_tolerance` of scorer = value. Add it, or give another file."
        )
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"{path}: tie_tolerance of {name} is {value!r}, not a number.")
        check_tolerance(name, float(value))
    return {name: float(value) for name, value in table.items()}
