"""A plan as text for a terminal."""

from rich.console import Console
from rich.table import Table

from prefbench.bench.plan import Plan
from prefbench.bench.wording import count

__all__ = ["print_plan"]


def print_plan(console: Console, plan: Plan) -> None:
    """Print how many images and scores a run would make, a line for every checkpoint and scorer."""
    console.print(
        f"{count(plan.prompts, 'prompt')} x {count(plan.seeds, 'seed')}. Nothing was written.",
        highlight=False,
    )
    table = Table("", "wanted", "present", "missing", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = [(f"images of {row.name}", row.wanted, row.present) for row in plan.checkpoints]
    rows += [(f"scores of {row.name}", row.wanted, row.present) for row in plan.scorers]
    for name, wanted, present in rows:
        table.add_row(name, f"{wanted:,}", f"{present:,}", f"{wanted - present:,}")
    console.print(table)
