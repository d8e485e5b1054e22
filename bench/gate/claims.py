"""From rules to single claims: one number, one threshold, one outcome each. A rule about several slices makes one a slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prefbench.bench.exceptions import UsageError
from prefbench.bench.gate.rules import (
    ALL,
    FailureCap,
    Floor,
    GateRules,
    NonInferiority,
    Rule,
    SliceLoss,
    Slowdown,
    Superiority,
    TieCap,
)
from prefbench.bench.paired_samples import UNTRUNCATED
from prefbench.bench.registry import unknown_name
from prefbench.bench.scores_table import OPTIONAL
from prefbench.bench.verdict import MAJORITY

__all__ = ["Claim", "Quantity", "claims_of"]

Quantity = Literal[
    "win rate", "mean score", "share of ties", "share without a score", "ratio of sampling times"
]


@dataclass(frozen=True)
class Claim:
    """One thing that a release must keep to."""

    rule: int
    """Place of its rule in the file, from 1."""
    kind: str
    quantity: Quantity
    threshold: float
    at_least: bool
    """Whether the quantity must be above the threshold; else it must not be above."""
    scorer: str | None = None
    """"majority", a scorer, or None where no score is asked about."""
    slice: str = ALL
    margin: float | None = None

    @property
    def in_family(self) -> bool:
        """Whether it is one of the planned slices, whose failing is corrected for their number."""
        return self.slice != ALL

    @property
    def error_is_known(self) -> bool:
        """Whether alpha bounds how often it is judged wrongly.

        Not so for a mean score or a share of ties: where values are one-sided, bootstrap limits err oftener on the long side, by
        how much depends on the values (docs/gate.md).
        """
        return self.quantity not in ("mean score", "share of ties")

    @property
    def name(self) -> str:
        """Different for every claim of a gate, and the same from release to release."""
        whose = [] if self.scorer is None else [self.scorer]
        where = [] if self.slice == ALL else [f"on {self.slice}"]
        limit = f"margin {self.margin:g}" if self.margin is not None else self._limit
        return " ".join([self.kind, *whose, *where, *([limit] if limit else [])])

    @property
    def _limit(self) -> str:
        if self.kind == "superiority":
            return ""
        return f"{'minimum' if self.at_least else 'maximum'} {self.threshold:g}"


def claims_of(
    rules: GateRules, *, scorers: Sequence[str], lower: Sequence[str], slices: Sequence[str]
) -> list[Claim]:
    """All claims, in the order of their rules.

    Args:
        rules: of the gate.
        scorers: that there are.
        lower: those of them whose lower value is the better one.
        slices: that there are, without `ALL`.

    Raises:
        UsageError: a scorer or slice that is not there, a floor that can not be one, or a claim made twice.
    """
    found: list[Claim] = []
    for number, rule in enumerate(rules.rules, start=1):
        found += _claims(number, rule, scorers, lower, slices)
    names: dict[str, int] = {}
    for claim in found:
        if claim.name in names:
            raise UsageError(
                f"Rules {names[claim.name]} and {claim.rule} of the gate both ask: {claim.name}. Leave one of them out."
            )
        names[claim.name] = claim.rule
    return found


def _claims(
    number: int, rule: Rule, scorers: Sequence[str], lower: Sequence[str], slices: Sequence[str]
) -> list[Claim]:
    scorer = getattr(rule, "scorer", MAJORITY)
    known = [*scorers] if isinstance(rule, Floor) else [MAJORITY, *scorers]
    if scorer not in known:
        raise unknown_name(f"scorer in rule {number} ({rule.kind}) of the gate:", scorer, known)
    match rule:
        case NonInferiority():
            _check_slice(number, rule, rule.slice, slices)
            return [_win_rate(number, rule.kind, scorer, rule.slice, rule.margin)]
        case Superiority():
            _check_slice(number, rule, rule.slice, slices)
            return [_win_rate(number, rule.kind, scorer, rule.slice, None)]
        case SliceLoss():
            named = dict.fromkeys(
                part for name in rule.slices for part in _expanded(number, rule, name, slices)
            )
            return [_win_rate(number, rule.kind, scorer, name, rule.margin) for name in named]
        case Floor():
            if scorer in lower:
                raise UsageError(
                    f"Rule {number} of the gate is a floor on {scorer}, of which lower values are better: a minimum would guard "
                    "the wrong side. Ask for non_inferiority by this scorer instead."
                )
            return [Claim(number, rule.kind, "mean score", rule.minimum, True, scorer)]
        case TieCap():
            return [Claim(number, rule.kind, "share of ties", rule.maximum, False, scorer)]
        case FailureCap():
            return [Claim(number, rule.kind, "share without a score", rule.maximum, False)]
        case Slowdown():
            return [Claim(number, rule.kind, "ratio of sampling times", rule.maximum, False)]


def _win_rate(number: int, kind: str, scorer: str, slice_: str, margin: float | None) -> Claim:
    return Claim(number, kind, "win rate", 0.5 - (margin or 0.0), True, scorer, slice_, margin)


def _check_slice(number: int, rule: Rule, name: str, slices: Sequence[str]) -> None:
    if name != ALL and name not in slices:
        raise _no_slice(number, rule, name, [ALL, *slices])


def _expanded(number: int, rule: Rule, name: str, slices: Sequence[str]) -> list[str]:
    """The slice itself, or all of a column."""
    whole: Mapping[str, list[str]] = {
        column: [each for each in slices if each.startswith(f"{column}=")] for column in OPTIONAL
    }
    if whole.get(name):
        return whole[name]
    if name in slices:
        return [name]
    raise _no_slice(number, rule, name, [column for column, of in whole.items() if of] + [*slices])


def _no_slice(number: int, rule: Rule, name: str, known: Sequence[str]) -> UsageError:
    if name == UNTRUNCATED:
        return UsageError(
            f"Rule {number} ({rule.kind}) of the gate is about the slice {UNTRUNCATED}, and there is none here. It is there in "
            "the folder of a `prefbench bench` of this version, if its voters cut off some of the prompts and not all. Leave the "
            "rule out, or gate such a run."
        )
    return unknown_name(f"slice in rule {number} ({rule.kind}) of the gate:", name, list(known))
