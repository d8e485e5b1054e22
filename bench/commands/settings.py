"""Settings of a recipe on the command line: from a TOML file, by --set key=value, or each as an option of its name.

A recipe has some fifty settings. A command declares the dozen that everybody uses; every other one is an option all
the same: `--weight-decay 0.1` is `--set weight_decay=0.1`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["ANY_SETTING", "constants_of", "given_settings", "positional_and_settings"]

ANY_SETTING = MappingProxyType({"allow_extra_args": True, "ignore_unknown_options": True})
"""Context settings of a command whose undeclared options are settings."""


def positional_and_settings(first: str, rest: Sequence[str], what: str) -> tuple[str, dict[str, str]]:
    """The one positional argument of a command, and the settings written as options.

    Args:
        first: what click took for the positional argument; an undeclared option, where that stands before it.
        rest: what click left over.
        what: the positional argument's name, for errors.

    Raises:
        UsageError: an option without a value or given twice, or a word that belongs to none.

    >>> positional_and_settings("sft", ["--weight-decay", "0.1", "--hflip=false"], "METHOD")
    ('sft', {'weight_decay': '0.1', 'hflip': 'false'})
    """
    from prefbench.bench.exceptions import UsageError

    words, found, bare = iter([first, *rest]), {}, []
    for word in words:
        if not word.startswith("--"):
            bare.append(word)
            continue
        option, sign, value = word.partition("=")
        if not sign:
            following = next(words, None)
            if following is None or following.startswith("--"):
                raise UsageError(f"{option} has no value. Settings are written as {option} VALUE.")
            value = following
        name = option.removeprefix("--").replace("-", "_")
        if name in found:
            raise UsageError(f"{option} is given twice. Give it once.")
        found[name] = value
    if len(bare) != 1:
        raise UsageError(
            f"One {what} is needed, and {len(bare)} words could be it: {' '.join(bare) or 'none'}."
        )
    return bare[0], found


def _from_file(path: Path) -> dict[str, Any]:
    import tomllib

    from prefbench.bench.exceptions import DataError

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"--config {path} cannot be read: {error.strerror}. Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"--config {path} is not TOML: {error}.") from None
    tables = [key for key, value in values.items() if isinstance(value, dict)]
    if tables:
        raise DataError(
            f"--config {path}: [{tables[0]}] is a table; settings stand at the top, as lr = 1e-4."
        )
    return values


def given_settings(
    config: Path | None, settings: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The user's settings and where each was written; --set and options win over the file.

    Args:
        config: TOML file, or None.
        settings: of --set, each key=value.
        options: setting -> value of its option; None for one that was not given.

    Raises:
        UsageError: a setting that is given twice or is not of the form key=value.
        DataError: a file that cannot be read.
    """
    from prefbench.bench.exceptions import UsageError

    values = {} if config is None else _from_file(config)
    sources = dict.fromkeys(values, str(config))
    flags: dict[str, Any] = {}
    for text in settings:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"--set {text!r} is not of the form key=value. Example: --set weight_decay=0.01")
        if key.strip() in flags:
            raise UsageError(f"--set gives {key.strip()} twice. Give it once.")
        flags[key.strip()] = value.strip()
        sources[key.strip()] = "--set"
    for key, value in options.items():
        option = "--" + key.replace("_", "-")
        if value is None:
            continue
        if key in flags:
            raise UsageError(f"{key} is given by --set and by {option}. Give it once.")
        flags[key], sources[key] = value, option
    return values | flags, sources


def constants_of(values: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """Values and sources of `given_settings` as a recipe takes them."""
    from prefbench.reference_trainers.method import Constant

    return {key: Constant(value, sources[key]) for key, value in values.items()}
