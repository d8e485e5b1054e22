"""A nested dict as TOML text: strings, integers, floats, booleans, lists of these, tables and lists of tables.

The standard library reads TOML and does not write it. This is the subset that a suite needs, so no dependency
is taken.
"""

import json
import math
import re
from typing import Any

__all__ = ["toml_text"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(table: dict[str, Any]) -> str:
    """TOML of `table`; `tomllib.loads` gives back an equal dict.

    Raises:
        TypeError: a value that is no string, int, finite float, bool, list or dict (None has no TOML form).
    """
    lines: list[str] = []
    _write(table, [], lines)
    return "\n".join(lines).strip("\n") + "\n"


def _write(table: dict[str, Any], path: list[str], lines: list[str]) -> None:
    for key, value in table.items():
        if not isinstance(value, dict) and not _is_tables(value):
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in table.items():
        name = ".".join(_key(part) for part in [*path, key])
        if isinstance(value, dict):
            lines += ["", f"[{name}]"]
            _write(value, [*path, key], lines)
        elif _is_tables(value):
            for each in value:
                lines += ["", f"[[{name}]]"]
                _write(each, [*path, key], lines)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are all TOML's; only DEL must be escaped in TOML and is not in JSON.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"{value!r} has no TOML form here")
