"""VotingRules: how votes are cast and counted, beyond who votes."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prefbench.bench.electorate.accuracies import Accuracies
from prefbench.bench.exceptions import UsageError
from prefbench.bench.registry import unknown_name
from prefbench.bench.tally.votes import TIE_RULES, TieRule

if TYPE_CHECKING:
    from prefbench.bench.suite import Suite

__all__ = ["VotingRules", "check_rules", "check_tolerance", "rules_of"]


@dataclass(frozen=True)
class VotingRules:
    """Rules of a vote; the defaults are exact ties, and an even split is a tie."""

    tie_rule: TieRule = "tie"
    """What becomes of an even split of the voters (`tally.votes.TIE_RULES`)."""
    tie_tolerance: Mapping[str, float] = field(default_factory=dict)
    """Scorer -> difference, in its units, up to which two scores tie; a scorer that is not named ties exactly."""
    trained_against: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Checkpoint -> scorers it was trained against, as the user says; takes the place of what its training record says."""
    accuracies: Accuracies | None = None
    """Of the voters on human data, for the weighted vote; None for none."""


def rules_of(suite: "Suite", accuracies: Accuracies | None = None) -> VotingRules:
    """The rules that a suite states."""
    return VotingRules(
        suite.electorate.tie_rule, suite.electorate.tie_tolerance, suite.trained_against, accuracies
    )


def check_rules(rules: VotingRules, scorers: Collection[str]) -> None:
    """Refuse rules that do not fit the scorers; what is said of training is for `trained_against.resolve`.

    Raises:
        UsageError: an unknown rule or scorer, or a tolerance that is no finite number of 0 or more.
    """
    if rules.tie_rule not in TIE_RULES:
        raise unknown_name("tie rule", rules.tie_rule, list(TIE_RULES))
    for name, value in rules.tie_tolerance.items():
        if name not in scorers:
            raise unknown_name("scorer in the tie tolerances", name, list(scorers))
        check_tolerance(name, value)


def check_tolerance(name: str, value: float) -> None:
    """Raises UsageError for a tolerance that is no finite number of 0 or more."""
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(
            f"The tie tolerance of {name} is {value:g}. It is a finite number of 0 or more, in the scorer's own units; 0 "
            "means exact ties."
        )
