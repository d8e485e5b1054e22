"""A power plan as text for a terminal: one sentence, a table over seeds, and what it rests on."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.power_plan import Assumed, PowerPlan, Row
from prefbench.bench.wording import count

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
    prompts = f"{count(row.prompts, 'prompt')} with {count(request.seeds, 'seed')} each"
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
    assumptions = [
        found
        for found in (plan.tie_rate, plan.seed_correlation, plan.scorer_correlation)
        if found is not None
    ]
    rests = [_assumed(number, found) for number, found in zip(_numbers(plan), assumptions, strict=True)]
    if plan.vote is not None:
        rests.append(f"ties of the vote {100 * plan.vote[1]:.1f} % (model)")
    interval = f"{100 * (1 - request.alpha):g} % interval (alpha {request.alpha:g}, both ends)"
    lines.append(f"Rests on: {'; '.join(rests)}; {interval}; normal approximation.")
    if plan.counted < 1:
        lines.append(
            f"The tie rule leaves pairs out: in the pilot {_percent(plan.counted)} count. Prompts are those to draw, if that "
            "share stays."
        )
    if plan.floor is not None:
        lines.append(f"No number of seeds brings it below {count(plan.floor, 'prompt')}.")
    lines += _error_of_pilot(plan)
    if any(found.source == "default" for found in assumptions):
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
        f"Pilot {pilot.source}: {pilot.a} over {pilot.b}, {count(pilot.prompts, 'prompt')}, {count(pilot.pairs, 'pair')}, "
        f"{count(pilot.voters, 'voter')}; the vote's win rate {_percent(pilot.win_rate)}, ties {_percent(pilot.tie_rate)}, "
        f"correlation of a prompt's seeds {correlation}; a scorer's ties {_percent(pilot.scorer_tie_rate)}, correlation of "
        f"two scorers' votes {votes}."
    )


def _error_of_pilot(plan: PowerPlan) -> list[str]:
    """What the answer is at the unfavourable end of the pilot's numbers; nothing where none of them is used."""
    found = (plan.tie_rate, plan.seed_correlation, plan.scorer_correlation)
    if plan.pilot is None or (
        plan.counted == 1 and all(one is None or one.source != "pilot" for one in found)
    ):
        return []
    worse, prompts = plan.unfavourable, count(plan.pilot.prompts, "prompt")
    if worse is None:
        return [
            f"A pilot of {prompts} is too small to tell how far off its own numbers are: take them for guesses."
        ]
    if plan.request.win_rate is None:
        answer = f"the smallest win rate is {_percent(worse.asked.win_rate)}"
    elif plan.request.prompts is None:
        answer = f"it takes {count(worse.asked.prompts, 'prompt')}"
    else:
        answer = f"the power is {_percent(worse.asked.power)}"
    counted = [f"{_percent(worse.counted)} of pairs count"] if worse.counted < 1 else []
    return [
        f"The pilot's {prompts} leave room for error: at the unfavourable 90 % end of its estimates (bootstrap over its "
        f"prompts; {', '.join([*_numbers(worse), *counted])}) {answer}."
    ]


def _numbers(plan: PowerPlan) -> list[str]:
    """What a plan rests on."""
    of_whom = "ties of a scorer" if plan.vote else "ties"
    told = [
        f"{of_whom} {100 * plan.tie_rate.value:.1f} %",
        f"correlation of a prompt's seeds {plan.seed_correlation.value:.2f}",
    ]
    if plan.scorer_correlation is not None:
        told.append(f"correlation of two scorers' votes {plan.scorer_correlation.value:.2f}")
    return told


def _assumed(number: str, assumed: Assumed) -> str:
    remark = f": {assumed.remark}" if assumed.remark else ""
    return f"{number} ({assumed.source}{remark})"


def _points(plan: PowerPlan) -> str:
    return f"{100 * plan.request.margin:g} points"


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f} %"
