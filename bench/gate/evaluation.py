"""Pass, fail or inconclusive: every claim by its limits, and the release by all of them.

A claim passes where its limits lie on the right side of the threshold, fails where they lie on the wrong side, and is
inconclusive while the threshold is between them (docs/gate.md has the errors and how they were checked).

* **Passing** needs no correction for the number of claims: a release passes only if *every* claim does. If one of them is not
true, the release passes with probability alpha / 2 at most, the probability that this claim passes: the intersection-union
principle (Berger 1982).
* **Failing** is the other way round: one claim that fails is enough, and many slices are many chances. The planned slices, all
claims about a slice and not about all prompts, are one family: with Holm the probability that any of them fails wrongly is alpha
/ 2 at most. Claims about all prompts are not corrected: each is shown with the limits that decide it. A release that keeps to
everything thus fails with probability (number of these + 1 for the slices) x alpha / 2 at most.
* Both hold for win rates and sampling times. A floor and a cap on ties err by an amount that depends on the values
(`Claim.error_is_known`), so they are left out of the numbers, and named beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from prefbench.bench.gate.claims import Claim
from prefbench.bench.gate.errors import check_resamples
from prefbench.bench.gate.evidence import ROUNDING, Evidence, Floats, weigh
from prefbench.bench.gate.material import Material
from prefbench.bench.gate.needed import Needed, needed_for_mean, needed_for_win_rate
from prefbench.bench.gate.rules import ALL
from prefbench.bench.gate.speed import sampling_ratio
from prefbench.bench.resamples import stream
from prefbench.bench.tally.multiplicity import holm
from prefbench.bench.tally.resampling import ENOUGH_PROMPTS
from prefbench.bench.verdict import MAJORITY

__all__ = ["EXIT_CODES", "Outcome", "Ruling", "decide", "evaluate", "outcome_of"]

Outcome = Literal["pass", "fail", "inconclusive"]

EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Ruling:
    """One claim, decided."""

    claim: Claim
    outcome: Outcome
    estimate: float | None
    limits: tuple[float, float] | None
    method: str
    """Of the limits: as in docs/gate.md; "counted" has none, for every sample was looked at."""
    prompts: int
    pairs: int
    p_value: float | None = None
    """Of "the claim is not true": small where it passes."""
    p_value_fail: float | None = None
    """Of "the claim is true": small where it fails."""
    p_adjusted: float | None = None
    """`p_value_fail` after Holm; of planned slices only."""
    needed: Needed | None = None
    """Where it is inconclusive."""
    note: str | None = None
    """Why limits do not decide, or what was counted."""


def evaluate(claims: Sequence[Claim], material: Material, *, alpha: float) -> list[Ruling]:
    """Decide every claim.

    Args:
        claims: of the gate.
        material: the two checkpoints.
        alpha: one minus the level of every interval.

    Raises:
        DataError: sampling times that are asked about and not there.
        UsageError: fewer bootstrap samples than it takes to fail a planned slice.
    """
    family = sum(claim.in_family for claim in claims)
    check_resamples(family, material.results["intervals"]["resamples"], alpha, str(material.source.path))
    drawn = _draw(claims, material)
    decided = decide({claim: evidence for claim, (evidence, *_) in drawn.items()}, alpha=alpha, family=family)
    rulings = []
    for claim in claims:
        if claim.kind == "failure_cap":
            rulings.append(_failures(claim, material))
        elif claim.kind == "slowdown":
            rulings.append(_slowdown(claim, material, alpha))
        elif claim not in drawn:
            rulings.append(_no_pair(claim))
        else:
            ruling = decided[claim]
            if ruling.outcome == "inconclusive":
                ruling = replace(ruling, needed=_needed(claim, *drawn[claim], alpha, family))
            rulings.append(ruling)
    return rulings


def decide(
    evidence: Mapping[Claim, Evidence], *, alpha: float, family: int | None = None
) -> dict[Claim, Ruling]:
    """Decide claims by their limits, and the failing of planned slices by Holm besides.

    Args:
        evidence: on each claim.
        alpha: one minus the level of every interval.
        family: planned slices in all, with those that the tie rule leaves no pair; None if there are no such.
    """
    p_fail = {claim: _p_fail(claim, found) for claim, found in evidence.items() if claim.in_family}
    # One prompt has no p-value, no pair has not even that, and nothing can be said against them: 1, and they still count for
    # the number of slices.
    p_values = [1.0 if p is None else p for p in p_fail.values()]
    p_values += [1.0] * ((family or len(p_values)) - len(p_values))
    adjusted = dict(zip(p_fail, map(float, holm(p_values)), strict=False))
    return {claim: _decide(claim, found, alpha, adjusted.get(claim)) for claim, found in evidence.items()}


def outcome_of(rulings: Sequence[Ruling]) -> Outcome:
    """Of the release: fail if one claim fails, pass if all pass."""
    found = {ruling.outcome for ruling in rulings}
    if "fail" in found:
        return "fail"
    return "inconclusive" if "inconclusive" in found else "pass"


Drawn = tuple[Evidence, Floats, Floats, Floats]
"""Evidence, values of the pairs, each pair's prompt by number; the last also of pairs that the tie rule leaves out."""


def _draw(claims: Sequence[Claim], material: Material) -> dict[Claim, Drawn]:
    """Evidence on every claim about scores. Claims on the same pairs share their draws, which are those of results.json."""
    about = material.samples.about
    masks = {ALL: np.ones(len(about), dtype=bool)} | material.slices
    # Numbers in the order of the texts, as results.json has them: the draws are the same.
    prompts = np.unique(about["prompt"].to_numpy(dtype=object).astype(str), return_inverse=True)[1].astype(
        float
    )
    groups: dict[tuple[str, bool, bool], list[Claim]] = {}
    for claim in claims:
        if claim.quantity in ("win rate", "mean score", "share of ties"):
            partly = claim.quantity == "win rate" and claim.scorer == MAJORITY
            groups.setdefault((claim.slice, partly, claim.quantity == "mean score"), []).append(claim)
    told = material.results["intervals"]
    found: dict[Claim, Drawn] = {}
    for (name, partly, unbounded), asked in groups.items():
        rows = masks[name] & material.ballots.counted[0] if partly else masks[name]
        if not rows.any():
            continue  # the tie rule leaves this slice no pair
        columns = np.stack([_values(claim, material)[rows] for claim in asked], axis=1)
        weighed = weigh(
            columns,
            prompts[rows],
            bounded=not unbounded,
            resamples=told["resamples"],
            rng=stream(told["seed"], name),
            interval=told["interval"],
        )
        for i, claim in enumerate(asked):
            found[claim] = weighed[i], columns[:, i], prompts[rows], prompts[masks[name]]
    return found


def _values(claim: Claim, material: Material) -> Floats:
    """What the claim is a mean of, one value a pair."""
    samples, ballots = material.samples, material.ballots
    if claim.quantity == "mean score":
        return samples.scores[
            samples.checkpoints.index(material.candidate), :, samples.scorers.index(claim.scorer or "")
        ]
    signs = (
        ballots.vote[0]
        if claim.scorer == MAJORITY
        else ballots.cast[0][samples.scorers.index(claim.scorer or "")]
    )
    if claim.quantity == "share of ties":
        return (signs == 0).astype(np.float64)
    return (1 + signs.astype(np.float64)) / 2


def _p_pass(claim: Claim, evidence: Evidence) -> float | None:
    return evidence.above(claim.threshold) if claim.at_least else evidence.below(claim.threshold)


def _p_fail(claim: Claim, evidence: Evidence) -> float | None:
    return evidence.below(claim.threshold) if claim.at_least else evidence.above(claim.threshold)


def _decide(claim: Claim, evidence: Evidence, alpha: float, adjusted: float | None) -> Ruling:
    """By the limits; a planned slice fails only if Holm agrees."""
    limits = evidence.limits(alpha)
    outcome: Outcome = "inconclusive"
    note = None
    if limits is None:
        note = "One prompt: seeds of one prompt say nothing about others, so there are no limits."
    elif not evidence.decides:
        few = f"{evidence.prompts} prompts: bootstrap limits of fewer than {ENOUGH_PROMPTS}"
        note = f"{few} are too narrow, so they decide nothing."
    else:
        outcome = side_of(limits, claim)
        if outcome == "fail" and adjusted is not None and adjusted > alpha / 2:
            outcome = "inconclusive"
            note = (
                f"By itself it would fail; with Holm over the planned slices p is {adjusted:.3f}, and {alpha / 2:g} or less "
                "would fail it."
            )
    return Ruling(
        claim,
        outcome,
        evidence.estimate,
        limits,
        evidence.method,
        evidence.prompts,
        evidence.pairs,
        _p_pass(claim, evidence),
        _p_fail(claim, evidence),
        adjusted,
        note=note,
    )


def side_of(limits: tuple[float, float], claim: Claim) -> Outcome:
    """On which side of the threshold the limits lie.

    A win rate must be above its threshold. A minimum or maximum may be met exactly, as the words say.
    """
    low, high = limits
    slack = ROUNDING * abs(claim.threshold)
    if claim.quantity == "win rate":
        good, bad = low > claim.threshold + slack, high < claim.threshold - slack
    elif claim.at_least:
        good, bad = low >= claim.threshold - slack, high < claim.threshold - slack
    else:
        good, bad = high <= claim.threshold + slack, low > claim.threshold + slack
    return "pass" if good else "fail" if bad else "inconclusive"


def _needed(
    claim: Claim,
    evidence: Evidence,
    values: Floats,
    prompts: Floats,
    drawn: Floats,
    alpha: float,
    family: int,
) -> Needed:
    if claim.quantity != "win rate":
        shown = (
            f"{100 * evidence.estimate:.1f} %"
            if claim.quantity == "share of ties"
            else f"{evidence.estimate:.4g}"
        )
        return needed_for_mean(evidence, claim.threshold, alpha, shown)
    if claim.in_family and evidence.estimate < claim.threshold:
        alpha /= family  # the first step of Holm; later ones ask for less
    return needed_for_win_rate(evidence, values, prompts, claim.threshold, alpha, drawn)


def _no_pair(claim: Claim) -> Ruling:
    note = "No vote: the voters split evenly on every pair here, and the tie rule leaves such pairs out."
    needed = Needed(None, None, None, "More prompts, or another tie rule, would decide.")
    return Ruling(claim, "inconclusive", None, None, "none", 0, 0, needed=needed, note=note)


def _failures(claim: Claim, material: Material) -> Ruling:
    """Counted and not estimated: it is about this run, of which every sample was looked at."""
    left_out = material.left_out or {"samples": 0, "of": len(material.samples.about), "missing": {}}
    share = left_out["samples"] / left_out["of"]
    told = "; ".join(
        f"{checkpoint}: {', '.join(f'{count} by {scorer}' for scorer, count in scorers.items())}"
        for checkpoint, scorers in left_out["missing"].items()
    )
    note = f"{left_out['samples']:,} of {left_out['of']:,} samples have no score of some checkpoint by some scorer"
    outcome: Outcome = "pass" if share <= claim.threshold * (1 + ROUNDING) else "fail"
    prompts = material.samples.about["prompt"].nunique()
    return Ruling(
        claim,
        outcome,
        share,
        None,
        "counted",
        int(prompts),
        int(left_out["of"]),
        note=f"{note}{f' ({told})' if told else ''}.",
    )


def _slowdown(claim: Claim, material: Material, alpha: float) -> Ruling:
    found = sampling_ratio(material, alpha=alpha)
    outcome: Outcome = "inconclusive" if found.limits is None else side_of(found.limits, claim)
    needed = found.needed(claim.threshold) if outcome == "inconclusive" else None
    about = material.samples.about
    return Ruling(
        claim,
        outcome,
        found.ratio,
        found.limits,
        "none" if found.limits is None else "order statistics",
        int(about["prompt"].nunique()),
        len(about),
        needed=needed,
        note=found.note,
    )
