"""`prefbench list`: every name that the other commands take."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["list_command"]


def list_command(
    kind: Annotated[str, typer.Argument(help="scorers, methods, prompts, suites or checkpoints.")],
) -> None:
    """List the names of one kind of thing.

    Examples:

        prefbench list scorers

        prefbench list methods
    """
    from rich.console import Console
    from rich.table import Table

    from prefbench.bench.registry import unknown_name

    if kind not in _ROWS:
        raise unknown_name("kind of thing to list", kind, list(_ROWS))
    columns, rows = _ROWS[kind]()
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]
