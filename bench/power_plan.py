"""What `prefbench plan` answers: prompts for a win rate, the win rate for prompts, or the power of both.

Where nobody measured, a default stands in, and is called one wherever it is printed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from prefbench.bench.exceptions import UsageError
from prefbench.bench.tally.correlated_voters import latent_correlation, majority_of
from prefbench.bench.tally.power import Design, half_width, power_at, required_prompts, smallest_win_rate

if TYPE_CHECKING:  # pandas comes with it, and a plan without a pilot needs none
    from prefbench.bench.pilot import Pilot

__all__ = ["Assumed", "PowerPlan", "Request", "Row", "make_power_plan"]

TIE_RATE = 0.1
"""Ours: neither none, nor the many of an even electorate."""

SEED_CORRELATION = 0.3
"""Ours, above most of the real ones in docs/statistics.md: .07 to .40, medians .18 and .26 by two scorers."""

VOTE_CORRELATION = 0.4
"""Ours, above the .19 to .35 of the two scorers there, because scorers with a common backbone repeat one another more."""

SEEDS_SHOWN = (1, 2, 4)
"""Seeds a prompt in the table, besides the number asked for."""

MOST_VOTERS = 99

Source = Literal["given", "pilot", "default"]


@dataclass(frozen=True)
class Assumed:
    """A number that the answer rests on, and where it is from."""

    value: float
    source: Source
    remark: str = ""


@dataclass(frozen=True)
class Request:
    """What was asked; None where nothing was said."""

    win_rate: float | None = None
    prompts: int | None = None
    power: float = 0.8
    alpha: float = 0.05
    margin: float = 0.0
    seeds: int = 1
    tie_rate: float | None = None
    seed_correlation: float | None = None
    voters: int = 1
    """More than 1: win_rate and tie_rate are those of one of so many scorers, and their majority decides."""
    scorer_correlation: float | None = None


@dataclass(frozen=True)
class Row:
    """One number of seeds a prompt."""

    seeds: int
    prompts: int
    """To be drawn, with those that the tie rule leaves out."""
    win_rate: float | None
    """True win rate that is settled; None where ties leave no room for one so high."""
    power: float
    half_width: float
    """Of the interval near 50 %."""

    @property
    def images(self) -> int:
        """Of both checkpoints together."""
        return 2 * self.prompts * self.seeds


@dataclass(frozen=True)
class PowerPlan:
    """The answer: a row for every number of seeds, the one that was asked for among them."""

    request: Request
    design: Design
    """With the seeds that were asked for."""
    rows: tuple[Row, ...]
    tie_rate: Assumed
    seed_correlation: Assumed
    scorer_correlation: Assumed | None
    """Correlation of two scorers' votes; None where no electorate was asked about."""
    vote: tuple[float, float] | None
    """Win rate and tie rate of the majority that the scorers' make; None likewise."""
    floor: int | None
    """Prompts that are needed with any number of seeds; None where prompts were given or seeds are independent."""
    pilot: "Pilot | None"
    counted: float
    """Share of the pairs drawn on which the vote counts: the pilot's, 1 where its tie rule leaves none out."""
    unfavourable: "PowerPlan | None"
    """The answer at the unfavourable end of the pilot's estimates; None where none of them is used or none can be told."""

    @property
    def asked(self) -> Row:
        """The row with the seeds that were asked for."""
        return next(row for row in self.rows if row.seeds == self.request.seeds)


def make_power_plan(request: Request, pilot: "Pilot | None" = None) -> PowerPlan:
    """Answer a request from what was given, else from the pilot, else from defaults.

    Raises:
        UsageError: a number out of its range, or a question that has no answer.
    """
    _check(request)
    measured_ties = (
        None if pilot is None else pilot.tie_rate if request.voters == 1 else pilot.scorer_tie_rate
    )
    ties = _assume(request.tie_rate, measured_ties, TIE_RATE)
    if not ties.value < 1:
        raise UsageError("Every pair of the pilot ties: there is nothing to plan from. Give --tie-rate.")
    seeds = _assume_seeds(request, pilot)
    scorers = vote = None
    rate, tie_rate = request.win_rate, ties.value
    if rate is not None:
        _check_possible(rate, tie_rate)
        if request.voters > 1:
            scorers = _assume_scorers(request, pilot)
            latent = latent_correlation(rate, tie_rate, vote_correlation=scorers.value)
            vote = majority_of(rate, tie_rate, voters=request.voters, correlation=latent)
            rate, tie_rate = vote
        _check_differs(rate, 0.5 - request.margin)
    design = Design(tie_rate, request.seeds, seeds.value, request.alpha, request.margin)
    shown = sorted({*SEEDS_SHOWN, request.seeds})
    # The model of an electorate counts even splits half, so there nothing is left out.
    counted = 1.0 if pilot is None or request.voters > 1 else pilot.counted
    used = counted < 1 or any(
        found is not None and found.source == "pilot" for found in (ties, seeds, scorers)
    )
    worse = pilot.unfavourable if pilot is not None and used else None
    return PowerPlan(
        request=request,
        design=design,
        rows=tuple(_row(rate, request, replace(design, seeds=s), s, counted) for s in shown),
        tie_rate=ties,
        seed_correlation=seeds,
        scorer_correlation=scorers,
        vote=vote,
        floor=_floor(rate, request, design, counted),
        pilot=pilot,
        counted=counted,
        unfavourable=None if worse is None else make_power_plan(request, worse),
    )


def _row(rate: float | None, request: Request, design: Design, seeds: int, counted: float) -> Row:
    if rate is None:
        assert request.prompts is not None  # _check
        prompts, count = request.prompts, _counting(request.prompts, counted)
        power = request.power
        rate = smallest_win_rate(count, design, power=power)
    elif request.prompts is None:
        count = required_prompts(rate, design, power=request.power)
        prompts, power = _drawn(count, counted), power_at(rate, count, design)
    else:
        prompts, count = request.prompts, _counting(request.prompts, counted)
        power = power_at(rate, count, design)
    return Row(seeds, prompts, rate, power, half_width(count, design))


def _drawn(prompts: int, counted: float) -> int:
    """To draw so that `prompts` count."""
    return math.ceil(prompts / counted - 1e-9)


def _counting(prompts: int, counted: float) -> int:
    """Of those drawn, never fewer than the two that a comparison takes."""
    return max(2, math.floor(prompts * counted + 1e-9))


def _floor(rate: float | None, request: Request, design: Design, counted: float) -> int | None:
    if rate is None or request.prompts is not None or design.seed_correlation == 0:
        return None
    return _drawn(required_prompts(rate, replace(design, seeds=math.inf), power=request.power), counted)


def _assume(given: float | None, measured: float | None, default: float) -> Assumed:
    if given is not None:
        return Assumed(given, "given")
    return Assumed(default, "default") if measured is None else Assumed(measured, "pilot")


def _assume_seeds(request: Request, pilot: "Pilot | None") -> Assumed:
    found = None if pilot is None else pilot.seeds
    assumed = _assume(request.seed_correlation, None if found is None else found.value, SEED_CORRELATION)
    if assumed.source == "default" and pilot is not None:
        return replace(assumed, remark="the pilot has one seed a prompt, or one outcome throughout")
    if assumed.source == "pilot" and found is not None and found.clipped:
        return replace(assumed, remark=f"measured {found.estimate:.2f}, set to 0")
    return assumed


def _assume_scorers(request: Request, pilot: "Pilot | None") -> Assumed:
    found = None if pilot is None else pilot.vote_correlation
    clipped = None if found is None else max(0.0, found)
    assumed = _assume(request.scorer_correlation, clipped, VOTE_CORRELATION)
    if assumed.source == "default" and pilot is not None:
        return replace(assumed, remark="the pilot has one voter, or one that always votes the same")
    if assumed.source == "pilot" and found is not None and found < 0:
        return replace(assumed, remark=f"measured {found:.2f}, set to 0")
    return assumed


def _check(request: Request) -> None:
    """Refuse numbers out of range, each by its option, and questions without an answer."""
    rules: dict[str, tuple[float | None, Callable[[float], bool], str]] = {
        "--win-rate": (request.win_rate, lambda x: 0 < x < 1, "between 0 and 1, such as 0.55"),
        "--prompts": (request.prompts, lambda n: n >= 2, "2 or more: one prompt can not be generalised"),
        "--power": (request.power, lambda x: 0.5 <= x < 1, "from 0.5 to below 1, such as 0.8"),
        "--alpha": (request.alpha, lambda x: 0 < x <= 0.5, "above 0 and at most 0.5, such as 0.05"),
        "--margin": (request.margin, lambda x: 0 <= x < 0.5, "from 0 to below 0.5, such as 0.03"),
        "--seeds": (request.seeds, lambda n: n >= 1, "1 or more"),
        "--tie-rate": (request.tie_rate, lambda x: 0 <= x < 1, "from 0 to below 1"),
        "--seed-correlation": (request.seed_correlation, lambda x: 0 <= x <= 1, "from 0 to 1"),
        "--voters": (request.voters, lambda n: 1 <= n <= MOST_VOTERS, f"from 1 to {MOST_VOTERS}"),
        "--scorer-correlation": (request.scorer_correlation, lambda x: 0 <= x <= 1, "from 0 to 1"),
    }
    for option, (value, fits, wanted) in rules.items():
        if value is not None and not fits(value):  # no comparison holds for NaN
            raise UsageError(f"{option} is {value:g}; it must be {wanted}.")
    if request.win_rate is None and request.prompts is None:
        raise UsageError(
            "Nothing to plan: give --win-rate (how many prompts does it take?), --prompts (how small a difference do "
            "they show?), or both (with what power?)."
        )
    if request.win_rate is None and request.voters > 1:
        raise UsageError(
            "--voters turns the win rate of one scorer into that of the vote, so it needs --win-rate. With --prompts "
            "alone the answer is the win rate of the vote: leave --voters out."
        )
    if request.scorer_correlation is not None and request.voters == 1:
        raise UsageError("--scorer-correlation is about two or more scorers. Give --voters, or leave it out.")


def _check_possible(rate: float, tie_rate: float) -> None:
    low, high = tie_rate / 2, 1 - tie_rate / 2
    if not low <= rate <= high:
        raise UsageError(
            f"--win-rate {rate:g} can not be: with ties of {100 * tie_rate:.1f} %, counted half, a win rate lies between "
            f"{100 * low:.1f} and {100 * high:.1f} %. Give another --win-rate or --tie-rate."
        )


def _check_differs(rate: float, threshold: float) -> None:
    if abs(rate - threshold) < 1e-9:
        raise UsageError(
            f"A win rate of {rate:g} is the very rate that the interval must leave out, so no number of prompts tells "
            "them apart. Give --win-rate the smallest difference that must not be missed, such as 0.55; for a checkpoint "
            "that must only be no worse, --win-rate 0.5 with a --margin such as 0.03."
        )
