"""How many prompts or seeds an open claim still needs, if the truth is what was seen.

Power 80 %, by the formulas of `tally.power`: the normal approximation, with the ties and the seed correlation that were seen.
It is a plan and no promise: the next estimate will not be this one. A claim whose estimate lies exactly on the threshold
is decided by no number of prompts.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from prefbench.bench.gate.evidence import FEWEST, ROUNDING, Evidence, Floats
from prefbench.bench.power_plan import SEED_CORRELATION
from prefbench.bench.tally.power import Design, required_prompts
from prefbench.bench.tally.seed_correlation import seed_correlation
from prefbench.bench.tally.win_rate import RARE

__all__ = ["POWER", "Needed", "needed_for_mean", "needed_for_win_rate"]

POWER = 0.8

MOST = 10**9
"""More than anybody draws: such an estimate is on the threshold for all practical purposes."""


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
    evidence: Evidence, outcomes: Floats, prompts: Floats, threshold: float, alpha: float
) -> Needed:
    """For a win rate.

    Args:
        evidence: open.
        outcomes: win 1, tie 1/2, loss 0 of every pair, shape (pairs,).
        prompts: number of each pair's prompt, shape (pairs,).
        threshold: in (0, 0.5].
        alpha: one minus the level that must leave the threshold out.
    """
    rate, ties = evidence.estimate, float((outcomes == 0.5).mean())
    if abs(rate - threshold) < ROUNDING:
        return _on_threshold()
    found = seed_correlation(outcomes, prompts)
    correlation = SEED_CORRELATION if found is None else found.value
    seeds = evidence.pairs / evidence.prompts
    total = _fewest_exact(evidence, threshold, alpha) if evidence.method == "exact" else FEWEST
    if ties < 1:
        design = Design(ties, seeds, correlation, alpha, 0.5 - threshold)
        total = max(total, required_prompts(rate, design, power=POWER))
        enough = _seeds(rate, evidence.prompts, design)
    else:
        enough = None
    total = max(total, evidence.prompts + 1)
    if total > MOST:
        return _on_threshold()
    if evidence.prompts < 2 or (evidence.prompts < FEWEST and evidence.method != "exact"):
        enough = None
    assumed = f" (correlation of a prompt's seeds assumed to be {correlation:.2f})" if found is None else ""
    if enough is None:
        also = f"no number of seeds of these {_prompts(evidence.prompts)} would"
    else:
        also = f"or these {_prompts(evidence.prompts)} with {enough:,} seeds each{assumed}"
    return Needed(
        total,
        total - evidence.prompts,
        enough,
        f"If the true win rate is the {100 * rate:.1f} % seen, about {total:,} prompts in all decide it with power "
        f"{100 * POWER:.0f} %: {total - evidence.prompts:,} more; {also}.",
    )


def _prompts(number: int) -> str:
    return f"{number:,} prompt{'' if number == 1 else 's'}"


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
            FEWEST,
            FEWEST - evidence.prompts,
            None,
            f"One prompt has no limits: {FEWEST} prompts or more are needed, {FEWEST - evidence.prompts} more.",
        )
    distance = abs(evidence.estimate - threshold)
    if distance <= ROUNDING * abs(threshold):
        return _on_threshold()
    spread = float(np.std(evidence.per_prompt, ddof=1))
    z = float(special.ndtri(1 - alpha / 2) + special.ndtri(POWER))
    needed = math.ceil((z * spread / distance) ** 2)
    total = max(needed, FEWEST, evidence.prompts + 1)
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
    """Fewest prompts of which as many differ from the commonest, and whose exact bound leaves the threshold out."""
    found, counts = np.unique(evidence.per_prompt, return_counts=True)
    differing = len(evidence.per_prompt) - int(counts.max())
    upwards = evidence.estimate > threshold
    modes = found[counts == counts.max()]
    value = float(modes.min() if upwards else 1 - modes.max())
    wanted = threshold if upwards else 1 - threshold
    if value <= wanted:
        return FEWEST
    for prompts in range(max(2, differing + 1), 10_000):
        u = float(special.betaincinv(differing + 1, prompts - differing, 1 - alpha / 2))
        if value * (1 - u) > wanted:
            return prompts
    return FEWEST if differing < RARE else evidence.prompts


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
