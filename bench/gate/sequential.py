"""A gate that looks after every block of prompts and stops as soon as it decides.

Every claim has a confidence sequence of its own (`tally/confidence_sequence.py`): limits on the candidate's true win rate
that hold after every prompt at once. A claim passes when the lower limit reaches its threshold and fails when the upper one
sinks to it; the threshold is 1/2 - margin for non-inferiority and 1/2 for superiority. What the sequence gets is one number
a distinct prompt text: the mean over all pairs with that text of win 1, tie 1/2, loss 0.

Several claims share the error rate equally (Bonferroni): with probability 1 - alpha none is ever decided wrongly. The gate
stops when every claim is decided, or when one fails; it passes only if all pass.

Only a mean of numbers in [0, 1] with a threshold that stands beforehand can be decided this way, over prompts in random
order. A floor on a scorer's mean, a slice, a rate of ties or failures, and the time of sampling are for the gate over a
finished run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from prefbench.bench.exceptions import UsageError
from prefbench.bench.gate.claims import Claim, claims_of
from prefbench.bench.gate.rules import ALL, GateRules, NonInferiority, Superiority
from prefbench.bench.tally.confidence_sequence import ConfidenceSequence

__all__ = ["BLOCK", "Look", "SequentialGate", "Settings", "Standing", "sequential_claims"]

BLOCK = 64
"""Prompts between two looks. Ours: a look costs the loading of the networks, and a decision comes half a block late."""

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Settings:
    """All that must stand before the first image is looked at.

    Raises:
        UsageError: a value out of its range, or no claim.
    """

    claims: tuple[Claim, ...]
    """Of `sequential_claims`."""
    alpha: float = 0.05
    """Probability, at most, that any claim is ever decided wrongly."""
    block: int = BLOCK
    """Distinct prompts between two looks."""
    order_seed: int = 0
    """Of `keyed_order`."""

    def __post_init__(self) -> None:
        if not self.claims:
            raise UsageError("A gate needs one rule or more.")
        if not 0 < self.alpha <= 0.5:
            raise UsageError(f"alpha is {self.alpha:g}; it must be above 0 and at most 0.5, such as 0.05.")
        if self.block < 1:
            raise UsageError(f"--block is {self.block}; it must be 1 prompt or more, such as {BLOCK}.")

    @property
    def alpha_of_claim(self) -> float:
        """Each claim's equal share of alpha."""
        return self.alpha / len(self.claims)


def sequential_claims(rules: GateRules, scorers: Sequence[str]) -> tuple[Claim, ...]:
    """The claims of rules that can be decided block by block.

    Args:
        rules: of the gate.
        scorers: that there are.

    Raises:
        UsageError: another kind of rule, or one about a slice; an unknown scorer; a claim made twice.
    """
    for number, rule in enumerate(rules.rules, start=1):
        if not isinstance(rule, (NonInferiority, Superiority)):
            raise UsageError(
                f"Rule {number} of the gate ({rule.kind}) cannot be decided block by block. With --sequential a rule is "
                "non_inferiority or superiority, of the vote or of one scorer; judge the others on a finished run, without "
                "--sequential."
            )
        if rule.slice != ALL:
            raise UsageError(
                f"Rule {number} of the gate ({rule.kind}) is about the slice {rule.slice}. With --sequential prompts come in "
                "random order and rules are about all of them; judge slices on a finished run, without --sequential."
            )
    return tuple(claims_of(rules, scorers=scorers, lower=(), slices=()))


@dataclass(frozen=True)
class Standing:
    """One claim after a look."""

    prompts: int
    """Distinct prompts with an outcome so far; all that were seen, but for a vote that abstains on even splits."""
    pairs: int
    """Pairs of these prompts that count."""
    estimate: float | None
    """Mean outcome over the prompts; None while there is none."""
    limits: tuple[float, float]
    """They hold at every look at once, with probability 1 - alpha / claims."""
    outcome: Outcome
    contradicted: bool
    """Outcomes drifted, as in random order they hardly ever do; the limits stay where they were before."""


@dataclass(frozen=True)
class Look:
    """What was seen after one more block."""

    prompts: int
    """Distinct prompts so far."""
    standings: Mapping[str, Standing]
    """Name of the claim -> how it stands."""


class SequentialGate:
    """Claims that are looked at block by block.

    Args:
        settings: fixed before the first outcome.

    Attributes:
        course: every look, in order.

    >>> rules = GateRules(rules=[Superiority(kind="superiority")])
    >>> gate = SequentialGate(Settings(sequential_claims(rules, ["pickscore"])))
    >>> gate.look({"superiority majority": [1.0] * 9}).standings["superiority majority"].outcome, gate.stopped
    ('inconclusive', False)
    >>> gate.look({"superiority majority": [1.0]}).standings["superiority majority"].outcome, gate.stopped, gate.outcome
    ('pass', True, 'pass')
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.course: list[Look] = []
        self._sequences = {
            claim.name: ConfidenceSequence(alpha=settings.alpha_of_claim) for claim in settings.claims
        }
        self._sums = dict.fromkeys(self._sequences, 0.0)
        self._pairs = dict.fromkeys(self._sequences, 0)
        self._decided: dict[str, Outcome] = {}

    def look(self, outcomes: Mapping[str, npt.ArrayLike], pairs: Mapping[str, int] | None = None) -> Look:
        """Take a block of outcomes and decide what it decides; a decision is never taken back.

        Args:
            outcomes: name of the claim -> mean outcome of each further prompt, in `keyed_order`, shape (prompts,), the
                same prompts for every claim; NaN for a prompt that has none.
            pairs: name of the claim -> pairs of the block; None for one a prompt.

        Raises:
            ValueError: an outcome outside [0, 1], or blocks of unequal length.
        """
        names = [claim.name for claim in self.settings.claims]
        blocks = {name: np.asarray(outcomes[name], dtype=np.float64) for name in names}
        lengths = {len(block) for block in blocks.values()}
        if len(lengths) > 1:
            raise ValueError(f"Claims were given blocks of unequal lengths: {sorted(lengths)} prompts.")
        counted = {name: block[~np.isnan(block)] for name, block in blocks.items()}
        for name in names:
            self._pairs[name] += len(counted[name]) if pairs is None else pairs[name]
        standings = {claim.name: self._look(claim, counted[claim.name]) for claim in self.settings.claims}
        before = self.course[-1].prompts if self.course else 0
        self.course.append(Look(before + lengths.pop(), standings))
        return self.course[-1]

    def _look(self, claim: Claim, block: npt.NDArray[np.float64]) -> Standing:
        sequence = self._sequences[claim.name]
        limits = sequence.add(block)
        self._sums[claim.name] += float(block.sum())
        found = sequence.decide(claim.threshold)
        if claim.name not in self._decided and found != "open":
            self._decided[claim.name] = "pass" if found == "above" else "fail"
        return Standing(
            prompts=sequence.prompts,
            pairs=self._pairs[claim.name],
            estimate=self._sums[claim.name] / sequence.prompts if sequence.prompts else None,
            limits=limits,
            outcome=self._decided.get(claim.name, "inconclusive"),
            contradicted=sequence.contradicted,
        )

    @property
    def outcome(self) -> Outcome:
        """Of all claims together: fail if one fails, pass if all pass."""
        found = [self._decided.get(claim.name, "inconclusive") for claim in self.settings.claims]
        if "fail" in found:
            return "fail"
        return "inconclusive" if "inconclusive" in found else "pass"

    @property
    def stopped(self) -> bool:
        """Whether further prompts can change nothing: it is decided, or an open claim's limits can move no more."""
        stuck = any(
            sequence.contradicted and name not in self._decided for name, sequence in self._sequences.items()
        )
        return stuck or self.outcome != "inconclusive"
