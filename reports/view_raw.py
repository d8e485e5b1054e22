"""Every comparison as a row of plain numbers, for copying and for the CSV that the page offers."""

from dataclasses import dataclass

from prefbench.reports.view_facts import Comparison, Facts

__all__ = ["COLUMNS", "RawTable", "raw_table"]

COLUMNS = (
    "a",
    "b",
    "scorer",
    "slice",
    "prompts",
    "pairs",
    "wins",
    "ties",
    "losses",
    "win_rate",
    "ci95_low",
    "ci95_high",
    "mean_difference",
    "mean_difference_ci95_low",
    "mean_difference_ci95_high",
    "p_value",
    "ci_method",
)
NEWER = ("p_adjusted", "permutation_p_value", "effect_size", "planned")
"""Further columns of results that say what was planned."""
TEXT_COLUMNS = 4


@dataclass(frozen=True)
class RawTable:
    """Header and rows; the first four columns are text."""

    columns: tuple[str, ...]
    text_columns: int
    rows: tuple[tuple[str, ...], ...]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _row(row: Comparison) -> tuple[str, ...]:
    ci, mean_ci = row.ci95 or (None, None), row.mean_difference_ci95 or (None, None)
    counts = (row.prompts, row.pairs, row.wins, row.ties, row.losses)
    numbers = (row.win_rate, *ci, row.mean_difference, *mean_ci, row.p_value)
    return (row.a, row.b, row.scorer, row.slice, *map(str, counts), *map(_number, numbers), row.ci_method)


def _newer(row: Comparison) -> tuple[str, ...]:
    numbers = (row.p_adjusted, row.permutation_p_value, row.effect_size)
    return (*map(_number, numbers), "" if row.planned is None else str(row.planned).lower())


def raw_table(facts: Facts) -> RawTable:
    """All comparisons in the order of the results: ASCII minus, six digits, empty where unknown."""
    if all(row.planned is None for row in facts.comparisons):
        return RawTable(COLUMNS, TEXT_COLUMNS, tuple(_row(row) for row in facts.comparisons))
    rows = tuple(_row(row) + _newer(row) for row in facts.comparisons)
    return RawTable(COLUMNS + NEWER, TEXT_COLUMNS, rows)
