"""Reading `results.json` back."""

import json
from pathlib import Path
from typing import Any

from prefbench.bench.exceptions import DataError

__all__ = ["SCHEMA", "read_results"]

SCHEMA = 1
"""Of the file; the schema is in docs/architecture.md."""


def read_results(path: Path) -> dict[str, Any]:
    """The dict of a results.json.

    Raises:
        DataError: the file is not JSON, or not of this schema.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}). Run `prefbench bench` again.") from error
    if not isinstance(results, dict) or results.get("schema") != SCHEMA or "checkpoints" not in results:
        found = (
            f"schema {results['schema']!r}"
            if isinstance(results, dict) and "schema" in results
            else "no schema"
        )
        raise DataError(
            f"{path} has {found}; this version of prefbench reads results of schema {SCHEMA}. Use the prefbench that "
            "wrote them, or run `prefbench bench` or `compare` again into a new folder."
        )
    return results
