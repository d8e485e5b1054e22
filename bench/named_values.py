"""`NAME=VALUE` as options and settings write it."""

from collections.abc import Sequence

from prefbench.bench.exceptions import UsageError

__all__ = ["comma_names", "named_lists", "named_values"]


def named_values(option: str, form: str, values: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` options as a dict, in order.

    Raises:
        UsageError: no "=", an empty side, spaces around the name, or a name given twice.
    """
    pairs: dict[str, str] = {}
    for text in values:
        name, _, value = text.partition("=")
        if not name.strip() or not value.strip():
            raise UsageError(f"{option} {text!r} is not of the form {form}.")
        if name != name.strip():
            raise UsageError(f"{option} {text!r}: the name has spaces around it. Write {name.strip()!r}.")
        if name in pairs:
            raise UsageError(f"{option} names {name!r} twice. Names must differ.")
        pairs[name] = value
    return pairs


def named_lists(option: str, form: str, values: Sequence[str]) -> dict[str, list[str]]:
    """`NAME=VALUE,VALUE,...` options as a dict, in order.

    Raises:
        UsageError: as `named_values`, or an empty value between commas.
    """
    lists = {}
    for name, text in named_values(option, form, values).items():
        lists[name] = [value.strip() for value in text.split(",")]
        if not all(lists[name]):
            raise UsageError(f"{option} {name}={text!r} has an empty name between commas. Write {form}.")
    return lists


def comma_names(option: str, text: str) -> list[str]:
    """`NAME,NAME,...` as a list; empty where the option is not given.

    Raises:
        UsageError: commas and no name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if text and not names:
        raise UsageError(f"{option} {text!r} names nothing. Write the names with commas between them.")
    return names
