"""The results dict as typed facts: scorers, comparisons either way round, and outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prefbench.bench.exceptions import DataError
from prefbench.bench.tally.votes import TieRule
from prefbench.bench.verdict import CONTRADICTIONS, mean_outcome
from prefbench.reports.view_comparison import VOTE, Comparison, State, Variant, comparison_of, variant_of

__all__ = ["CONTRADICTIONS", "VOTE", "Comparison", "Facts", "Judge", "State", "read_facts"]

STATES: dict[str, State] = {"better": "higher", "worse": "lower", "open": "open"}


@dataclass(frozen=True)
class Judge:
    """One scorer and its part in the election."""

    name: str
    votes: bool
    prompt_blind: bool
    lower_is_better: bool


@dataclass(frozen=True)
class Facts:
    """Everything in results.json that has arithmetic behind it."""

    checkpoints: tuple[str, ...]
    voters: tuple[Judge, ...]
    held_out: tuple[Judge, ...]
    comparisons: tuple[Comparison, ...]
    outcomes: Mapping[tuple[str, str], str]
    index: Mapping[tuple[str, str, str, str], Comparison]
    trained_against: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Checkpoint -> scorers that it was trained against."""
    tie_rule: TieRule = "tie"
    tie_tolerance: Mapping[str, float] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()

    @property
    def baseline(self) -> str:
        """The first checkpoint of the run."""
        return self.checkpoints[0]

    @property
    def candidates(self) -> tuple[str, ...]:
        """All others that were compared with the baseline, in the order given."""
        return tuple(name for name in self.checkpoints[1:] if self.find(name, self.baseline))

    @property
    def judges(self) -> tuple[Judge, ...]:
        """Voters, then held-out scorers."""
        return self.voters + self.held_out

    def barred(self, a: str, b: str) -> tuple[str, ...]:
        """Scorers that one of the two was trained against; none of them votes on this comparison."""
        against = {*self.trained_against.get(a, ()), *self.trained_against.get(b, ())}
        return tuple(judge.name for judge in self.judges if judge.name in against)

    def voting(self, a: str, b: str) -> tuple[str, ...]:
        """The voters whose votes count in this comparison."""
        barred = self.barred(a, b)
        return tuple(judge.name for judge in self.voters if judge.name not in barred)

    def ways(self, a: str, b: str) -> tuple[Variant, ...]:
        """Other ways to count the votes on `a` over `b`; without the majority, which the verdict goes by."""
        found = []
        for variant in self.variants:
            if variant.rule == VOTE:
                continue
            if (variant.rate.a, variant.rate.b) == (a, b):
                found.append(variant)
            elif (variant.rate.a, variant.rate.b) == (b, a):
                found.append(replace(variant, rate=variant.rate.turned()))
        return tuple(found)

    def find(self, a: str, b: str, scorer: str = VOTE, slice_: str = "all") -> Comparison | None:
        """The comparison of `a` over `b`, turned round if stored the other way; None if there is none."""
        if (a, b, scorer, slice_) in self.index:
            return self.index[a, b, scorer, slice_]
        stored = self.index.get((b, a, scorer, slice_))
        return None if stored is None else stored.turned()

    def get(self, a: str, b: str, scorer: str = VOTE) -> Comparison:
        """The comparison over all prompts.

        Raises:
            DataError: it is not in the results.
        """
        found = self.find(a, b, scorer)
        if found is None:
            raise DataError(
                f"results.json: `comparisons` has no entry for {a!r} against {b!r} by {scorer!r} on slice "
                "'all'. Make the results again with the command that wrote them."
            )
        return found

    def mean_state(self, row: Comparison) -> State:
        """Better (`higher`), worse or open by the interval of the mean difference, whatever the direction."""
        lower = any(judge.name == row.scorer and judge.lower_is_better for judge in self.judges)
        return STATES[mean_outcome(row.mean_difference_ci95, lower)]

    def outcome(self, a: str, b: str) -> State:
        """The verdict on `a` against `b` as the results state it."""
        if (a, b) in self.outcomes:
            word = self.outcomes[a, b]
        elif (b, a) in self.outcomes:
            word = {"better": "worse", "worse": "better"}.get(self.outcomes[b, a], "open")
        else:
            raise DataError(
                f"results.json: `verdicts` has no entry for {a!r} against {b!r}. Make the results again "
                "with the command that wrote them."
            )
        return STATES[word]


def _judge(name: str, results: Mapping[str, Any], votes: bool) -> Judge:
    info = results["scorers"].get(name)
    if info is None:
        raise DataError(
            f"results.json: the electorate names the scorer {name!r}, and `scorers` does not describe it. "
            f"Described: {', '.join(results['scorers']) or 'none'}."
        )
    direction = str(info.get("direction") or "")
    # Of a scorer that only a table names the results know by its name whether it reads the prompt.
    blind = info.get("prompt_blind") or name in results.get("agreement", {}).get("prompt_blind", ())
    return Judge(name, votes, bool(blind), direction.lower().startswith("lower"))


def read_facts(results: Mapping[str, Any]) -> Facts:
    """Typed facts of a results dict.

    Raises:
        DataError: another schema, fewer than two checkpoints, or a part that is missing.
    """
    if results.get("schema") != 1:
        raise DataError(
            f"results.json: schema {results.get('schema')!r}; this version of prefbench writes reports from "
            "schema 1. Use the prefbench that wrote the results."
        )
    try:
        checkpoints = tuple(results["checkpoints"])
        electorate = results["suite"]["electorate"]
        comparisons = tuple(comparison_of(row) for row in results["comparisons"])
        outcomes = {(row["a"], row["b"]): row["outcome"] for row in results["verdicts"]}
        voters = tuple(_judge(name, results, True) for name in electorate["voters"])
        held_out = tuple(_judge(name, results, False) for name in electorate["held_out"])
    except KeyError as error:
        raise DataError(
            f"results.json: the field {error} is missing. Make the results again with this version."
        ) from error
    if len(checkpoints) < 2:
        raise DataError(
            "results.json: a report compares checkpoints and needs at least two; `checkpoints` has 1."
        )
    index = {(row.a, row.b, row.scorer, row.slice): row for row in comparisons}
    facts = Facts(
        checkpoints,
        voters,
        held_out,
        comparisons,
        outcomes,
        index,
        trained_against={
            name: tuple(info.get("trained_against") or ()) for name, info in results["checkpoints"].items()
        },
        tie_rule=results.get("votes", {}).get("tie_rule", "tie"),
        tie_tolerance=electorate.get("tie_tolerance") or {},
        variants=tuple(variant_of(row) for row in results.get("votes", {}).get("variants", ())),
    )
    if not facts.candidates:
        raise DataError(
            f"results.json: nothing is compared with the first checkpoint, {facts.baseline!r}, which is the "
            "baseline of the report. Compare it with at least one other."
        )
    return facts
