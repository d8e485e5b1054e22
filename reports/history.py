"""The page of `prefbench history`: one HTML file that opens offline, asks for nothing and runs no script."""

from collections.abc import Mapping
from typing import Any

from prefbench.reports.html import page
from prefbench.reports.view_history import build_history_view

__all__ = ["render_history"]


def render_history(history: Mapping[str, Any]) -> str:
    """The page of a history dict; the same dict gives the same text.

    Args:
        history: as `prefbench.bench.baselines.history.make_history` returns it.
    """
    return page("history.html.jinja", build_history_view(history), styles=("report.css", "history.css"))
