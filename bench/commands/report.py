"""`prefbench report`: the report of a run folder, written again."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report_command"]


def report_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `prefbench bench`.")],
) -> None:
    """Write report.html again from what is in a run folder: nothing is drawn, scored or counted anew.

    Examples:
        prefbench report run
    """
    from rich.console import Console

    from prefbench.bench.run_report import rewrite_report

    path = rewrite_report(run)
    Console().print(f"Report: {path}", soft_wrap=True, highlight=False, markup=False)
