"""How many prompts or seeds an open claim still needs, if the truth is what was seen.

Power 80 %, by the formulas of `tally.power`: the normal approximation, with the ties and the seed correlation that were seen.
It is a plan and no promise: the next estimate will not be this one. A claim whose estimate lies exactly on the threshold
is decided by no number of prompts.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from prefbench.bench.gate.evidence import ROUNDING, Evidence, Floats
from prefbench.bench.power_plan import SEED_CORRELATION
from prefbench.bench.tally.power import Design, required_prompts
from prefbench.bench.tally.resampling import ENOUGH_PROMPTS
from prefbench.bench.tally.seed_correlation import seed_correlation
from prefbench.bench.tally.unanimity import RARE, prompts_of
from prefbench.bench.wording import count

__all__ = ["POWER", "Needed", "needed_for_mean", "needed_for_win_rate"]

POWER = 0.8

MOST = 10**9
"""More than anybody draws: such an estimate is on the threshold for all practical purposes."""

MOST_EXACT = 10**5
"""Prompts up to which the exact bound is looked at one by one."""


@dataclass(frozen=True)
class Needed:
    """What would decide."""

    prompts: int | None
    """Prompts in all, with the seeds that there are; None where no number decides."""
    more_prompts: int | None
    """Beyond those that there are."""
    seeds: int | None
    """Seeds a prompt, with the prompts that there are; None where no number decides, or where it was not asked."""
    text: str


def needed_for_win_rate(
    evidence: Evidence,
    outcomes: Floats,
    prompts: Floats,
    threshold: float,
    alpha: float,
    drawn: Floats | None = None,
) -> Needed:
    """For a win rate.

    Args:
        evidence: open.
        outcomes: win 1, tie 1/2, loss 0 of every pair, shape (pairs,).
        prompts: number of each pair's prompt, shape (pairs,).
        threshold: in (0, 0.5].
        alpha: one minus the level that must leave the threshold out.
        drawn: number of the prompt of every pair, with those that the tie rule leaves out, so that their share of the prompts
            stays what it is; None if it leaves out none.
    """
    rate, ties = evidence.estimate, float((outcomes == 0.5).mean())
    if abs(rate - threshold) < ROUNDING:
        return _on_threshold()
    found = seed_correlation(outcomes, prompts)
    correlation = SEED_CORRELATION if found is None else found.value
    seeds = evidence.pairs / evidence.prompts
    total = _fewest_exact(evidence, threshold, alpha) if evidence.method == "exact" else ENOUGH_PROMPTS
    if ties < 1:
        design = Design(ties, seeds, correlation, alpha, 0.5 - threshold)
        total = max(total, required_prompts(rate, design, power=POWER))
        enough = _seeds(rate, evidence.prompts, design)
    else:
        enough = None
    there = evidence.prompts if drawn is None else len(np.unique(drawn))
    total = max(math.ceil(total * there / evidence.prompts), there + 1)
    if total > MOST:
        return _on_threshold()
    if evidence.method == "exact" or evidence.prompts < ENOUGH_PROMPTS:
        # An exact bound goes by prompts alone, and bootstrap limits of few prompts decide nothing.
        enough = None
    assumed = f" (correlation of a prompt's seeds assumed to be {correlation:.2f})" if found is None else ""
    these = "this prompt" if there == 1 else f"these {there:,} prompts"
    if drawn is not None and len(drawn) > evidence.pairs:
        # What more seeds do to a pair that is left out is not known.
        enough = None
        also = f"the tie rule counts {evidence.pairs:,} of {count(len(drawn), 'pair')}, and that share is taken to stay"
    elif enough is None:
        also = f"no number of seeds of {these} would"
    else:
        also = f"or {these} with {enough:,} seeds each{assumed}"
    return Needed(
        total,
        total - there,
        enough,
        f"If the true win rate is the {100 * rate:.1f} % seen, about {total:,} prompts in all decide it with power "
        f"{100 * POWER:.0f} %: {total - there:,} more; {also}.",
    )


def needed_for_mean(evidence: Evidence, threshold: float, alpha: float, shown: str) -> Needed:
    """For any other mean: its spread between prompts stays, the limits narrow with the root of their number.

    Args:
        evidence: open.
        threshold: of the claim.
        alpha: one minus the level.
        shown: the estimate as a reader sees it.
    """
    if evidence.resampled is None or evidence.prompts < 2:
        return Needed(
            ENOUGH_PROMPTS,
            ENOUGH_PROMPTS - evidence.prompts,
            None,
            f"One prompt has no limits: {ENOUGH_PROMPTS} prompts or more are needed, {ENOUGH_PROMPTS - evidence.prompts} more.",
        )
    distance = abs(evidence.estimate - threshold)
    if distance <= ROUNDING * abs(threshold):
        return _on_threshold()
    spread = float(np.std(evidence.per_prompt, ddof=1))
    z = float(special.ndtri(1 - alpha / 2) + special.ndtri(POWER))
    needed = math.ceil((z * spread / distance) ** 2)
    exact = _fewest_exact(evidence, threshold, alpha) if evidence.method == "exact" else ENOUGH_PROMPTS
    total = max(needed, exact, evidence.prompts + 1)
    if total > MOST:
        return _on_threshold()
    return Needed(
        total,
        total - evidence.prompts,
        None,
        f"If the truth is the {shown} seen, about {total:,} prompts in all decide it with power {100 * POWER:.0f} %: "
        f"{total - evidence.prompts:,} more.",
    )


def _on_threshold() -> Needed:
    return Needed(
        None,
        None,
        None,
        "The estimate is on the threshold: if that is the truth, no number of prompts or seeds decides it.",
    )


def _fewest_exact(evidence: Evidence, threshold: float, alpha: float) -> int:
    """Fewest prompts that decide with power `POWER`, if as large a share of them is off the commonest value as was seen.

    With fewer than `RARE` off it the exact bound must leave the threshold out; with more, bootstrap limits take over, which is
    left to the other formulas. Numbers of pairs a prompt are taken to be spread as they are.
    """
    found, counts = np.unique(evidence.per_prompt, return_counts=True)
    share = 1 - counts.max() / len(evidence.per_prompt)
    upwards = evidence.estimate > threshold
    modes = found[counts == counts.max()]
    value = float(modes.min() if upwards else 1 - modes.max())
    wanted = threshold if upwards else 1 - threshold
    share_wanted = prompts_of(wanted / value, evidence.sizes) if wanted < value else 1.0
    off = np.arange(RARE)
    prompts = max(RARE, evidence.prompts)
    while (prompts := prompts + 1) < MOST_EXACT:
        cumulated = special.bdtr(off, prompts, share)
        bounds = 1 - special.betaincinv(off + 1, prompts - off, 1 - alpha / 2)
        power = np.diff(cumulated, prepend=0.0)[bounds > share_wanted].sum()
        if power + (prompts >= ENOUGH_PROMPTS) * (1 - cumulated[-1]) >= POWER:
            break
    return prompts


def _seeds(rate: float, prompts: int, design: Design) -> int | None:
    """Fewest seeds a prompt with which so many prompts suffice; None where no number does."""

    def suffice(seeds: float) -> bool:
        return required_prompts(rate, replace(design, seeds=seeds), power=POWER) <= prompts

    if not suffice(math.inf):
        return None
    few, many = math.floor(design.seeds), 2 * math.ceil(design.seeds)
    while not suffice(many):
        few, many = many, 2 * many
        if many > MOST:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if suffice(middle) else (middle, many)
    return many
