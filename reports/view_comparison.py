"""One comparison of results.json as a typed value, which can be read either way round."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from prefbench.bench.wording import complement

__all__ = ["VOTE", "Comparison", "State", "Variant", "comparison_of", "variant_of"]

VOTE = "majority"

State = Literal["higher", "lower", "open"]


@dataclass(frozen=True)
class Comparison:
    """One row of `comparisons`: `a` over `b` by one scorer (or the vote) on one slice."""

    a: str
    b: str
    scorer: str
    slice: str
    prompts: int
    pairs: int
    wins: int
    ties: int
    losses: int
    win_rate: float
    ci95: tuple[float, float] | None
    mean_difference: float | None
    mean_difference_ci95: tuple[float, float] | None
    p_value: float | None
    ci_method: str
    p_adjusted: float | None = None
    permutation_p_value: float | None = None
    effect_size: float | None = None
    abstained: int = 0
    planned: bool | None = None
    """None in results of old, which do not say."""

    def turned(self) -> "Comparison":
        """The same facts read as `b` over `a`."""
        return replace(
            self,
            a=self.b,
            b=self.a,
            wins=self.losses,
            losses=self.wins,
            win_rate=complement(self.win_rate),
            ci95=None if self.ci95 is None else (complement(self.ci95[1]), complement(self.ci95[0])),
            mean_difference=None if self.mean_difference is None else -self.mean_difference,
            mean_difference_ci95=None
            if self.mean_difference_ci95 is None
            else (-self.mean_difference_ci95[1], -self.mean_difference_ci95[0]),
            effect_size=None if self.effect_size is None else -self.effect_size,
        )

    @property
    def state(self) -> State:
        """Where the interval lies: above one half, below it, or (also without an interval) open."""
        if self.ci95 is None or self.ci95[0] <= 0.5 <= self.ci95[1]:
            return "open"
        return "higher" if self.ci95[0] > 0.5 else "lower"


def _pair(value: Any) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def comparison_of(row: Mapping[str, Any]) -> Comparison:
    """An entry of `comparisons`, of this version or an older one."""
    return Comparison(
        a=row["a"],
        b=row["b"],
        scorer=row["scorer"],
        slice=row["slice"],
        prompts=int(row["prompts"]),
        pairs=int(row["pairs"]),
        wins=int(row["wins"]),
        ties=int(row["ties"]),
        losses=int(row["losses"]),
        win_rate=float(row["win_rate"]),
        ci95=_pair(row["ci95"]),
        mean_difference=_number(row["mean_difference"]),
        mean_difference_ci95=_pair(row["mean_difference_ci95"]),
        p_value=_number(row["p_value"]),
        ci_method=str(row.get("ci_method") or ""),
        p_adjusted=_number(row.get("p_adjusted")),
        permutation_p_value=_number(row.get("permutation_p_value")),
        effect_size=_number(row.get("effect_size")),
        abstained=int(row.get("abstained") or 0),
        planned=row.get("planned"),
    )


@dataclass(frozen=True)
class Variant:
    """What another way to count the votes says of a comparison."""

    rule: str
    voters: tuple[str, ...]
    rate: Comparison


def variant_of(row: Mapping[str, Any]) -> Variant:
    """An entry of `variants` of the block "votes"."""
    rest = {
        "scorer": VOTE,
        "slice": "all",
        "mean_difference": None,
        "mean_difference_ci95": None,
        "p_value": None,
    }
    # The block says how many pairs; prompts matter only where there is one, and then there is no interval.
    return Variant(
        row["rule"], tuple(row["voters"]), comparison_of({"prompts": row["pairs"]} | dict(row) | rest)
    )
