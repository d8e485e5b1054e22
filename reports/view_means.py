"""Mean differences between two checkpoints, in the scorer's own unit."""

from prefbench.reports.view_facts import Comparison
from prefbench.reports.view_numbers import difference_words

__all__ = ["mean_parts", "mean_words"]


def mean_words(row: Comparison) -> str:
    """The mean difference with its interval, in the scorer's own unit; empty where the table has none."""
    number, spread = mean_parts(row)
    return f"{number} ({spread})" if number else ""


def mean_parts(row: Comparison) -> tuple[str, str]:
    """The mean difference and its interval; both empty where the table has none."""
    if row.mean_difference is None:
        return "", ""
    return difference_words(row.mean_difference, row.mean_difference_ci95, row.prompts)
