"""A power plan as text for a terminal: one sentence, a table over seeds, and what it rests on."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.power_plan import Assumed, PowerPlan, Row

if TYPE_CHECKING:  # pandas comes with it, and a plan without a pilot needs none
    from prefbench.bench.pilot import Pilot

__all__ = ["print_power_plan"]

ROUGH = 30
"""Under so many prompts the normal approximation is rough; the usual rule."""


def print_power_plan(console: Console, plan: PowerPlan) -> None:
    """Print a plan; lines wrap at the console's width, the table needs 71 columns."""
    console.print(Text(_sentence(plan), style="bold"))
    console.print()
    console.print(_table(plan))
    console.print()
    for line in _rests_on(plan):
        console.print(Text(line, style="dim"))


def _sentence(plan: PowerPlan) -> str:
    request, row = plan.request, plan.asked
    prompts = f"{row.prompts:,} prompts with {_count(request.seeds, 'seed')} each"
    images = f"{row.images:,} images, {row.images // 2:,} of each checkpoint"
    of_vote = (
        "" if plan.vote is None else f"{_percent(request.win_rate)} by each of {request.voters} scorers, so "
    )
    truth = f"a true win rate of {of_vote}{_percent(row.win_rate)}{' by their vote' if plan.vote else ''}"
    power = f"with power {_percent(row.power)}"
    if row.win_rate is None:
        threshold = _percent(plan.design.threshold)
        return (
            f"{prompts} settle no win rate {power}: ties leave no room for one far enough from {threshold}."
        )
    if request.win_rate is None:
        return f"{prompts} {_settle(plan, row.win_rate)} {power} ({images})."
    if request.prompts is None:
        return f"It takes {prompts} to {_outcome(plan, row.win_rate, truth)} with power {_percent(request.power)}: {images}."
    return f"{prompts} {_outcome(plan, row.win_rate, truth)} {power} ({images})."


def _outcome(plan: PowerPlan, rate: float, truth: str) -> str:
    """What the interval does if `truth` is the truth."""
    threshold = plan.design.threshold
    if not plan.request.margin:
        return f"tell {truth} from 50 %"
    if rate > threshold:
        return f"pass {truth} at a margin of {_points(plan)} (lower limit above {_percent(threshold)})"
    return f"fail {truth} at a margin of {_points(plan)} (upper limit below {_percent(threshold)})"


def _settle(plan: PowerPlan, rate: float) -> str:
    """What prompts can do from `rate` on."""
    wanted = f"a true win rate of {_percent(rate)} or more"
    if plan.request.margin:
        return f"pass {wanted} at a margin of {_points(plan)} (lower limit above {_percent(plan.design.threshold)})"
    return f"tell {wanted} (or {_percent(1 - rate)} or less) from 50 %"


def _table(plan: PowerPlan) -> Table:
    """Columns that the request fixes are left out."""
    request = plan.request
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    headers = ["seeds", "prompts", "images a checkpoint", "of both"]
    if request.win_rate is None:
        headers += ["smallest rate", "interval +-"]
    elif request.prompts is not None:
        headers.append("power")
    for header in headers:
        table.add_column(Text(header), justify="right", overflow="fold")
    for row in plan.rows:
        table.add_row(*_cells(plan, row))
    return table


def _cells(plan: PowerPlan, row: Row) -> list[str]:
    cells = [str(row.seeds), f"{row.prompts:,}", f"{row.images // 2:,}", f"{row.images:,}"]
    if plan.request.win_rate is None:
        return [*cells, "none" if row.win_rate is None else _percent(row.win_rate), _percent(row.half_width)]
    return cells if plan.request.prompts is None else [*cells, _percent(row.power)]


def _rests_on(plan: PowerPlan) -> list[str]:
    request = plan.request
    lines = []
    if plan.pilot is not None:
        lines.append(_pilot(plan.pilot))
    of_whom = "ties of a scorer" if plan.vote else "ties"
    rests = [
        _assumed(of_whom, f"{100 * plan.tie_rate.value:.1f} %", plan.tie_rate),
        _assumed(
            "correlation of a prompt's seeds", f"{plan.seed_correlation.value:.2f}", plan.seed_correlation
        ),
    ]
    if plan.scorer_correlation is not None and plan.vote is not None:
        value = f"{plan.scorer_correlation.value:.2f}"
        rests.append(_assumed("correlation of two scorers' votes", value, plan.scorer_correlation))
        rests.append(f"ties of the vote {100 * plan.vote[1]:.1f} % (model)")
    interval = f"{100 * (1 - request.alpha):g} % interval (alpha {request.alpha:g}, both ends)"
    lines.append(f"Rests on: {'; '.join(rests)}; {interval}; normal approximation.")
    if plan.floor is not None:
        lines.append(f"No number of seeds brings it below {plan.floor:,} prompts.")
    assumptions = (plan.tie_rate, plan.seed_correlation, plan.scorer_correlation)
    if any(found is not None and found.source == "default" for found in assumptions):
        lines.append(
            "A default is a guess about your checkpoints: a small run with two or more seeds, given as --pilot, tells."
        )
    if min(row.prompts for row in plan.rows) < ROUGH:
        lines.append(f"Under {ROUGH} prompts the approximation is rough: take {ROUGH} at least.")
    return lines


def _pilot(pilot: "Pilot") -> str:
    correlation = "n/a" if pilot.seeds is None else f"{pilot.seeds.value:.2f}"
    votes = "n/a" if pilot.vote_correlation is None else f"{pilot.vote_correlation:.2f}"
    return (
        f"Pilot {pilot.source}: {pilot.a} over {pilot.b}, {_count(pilot.prompts, 'prompt')}, {_count(pilot.pairs, 'pair')}, "
        f"{_count(pilot.voters, 'voter')}; the vote's win rate {_percent(pilot.win_rate)}, ties {_percent(pilot.tie_rate)}, "
        f"correlation of a prompt's seeds {correlation}; a scorer's ties {_percent(pilot.scorer_tie_rate)}, correlation of "
        f"two scorers' votes {votes}."
    )


def _assumed(name: str, value: str, assumed: Assumed) -> str:
    remark = f": {assumed.remark}" if assumed.remark else ""
    return f"{name} {value} ({assumed.source}{remark})"


def _points(plan: PowerPlan) -> str:
    return f"{100 * plan.request.margin:g} points"


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f} %"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
