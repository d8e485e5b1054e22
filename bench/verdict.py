"""One plain sentence for every two checkpoints, from the majority vote's interval."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prefbench.bench.wording import count, interval_end, nothing_but_zeros

__all__ = [
    "CONTRADICTIONS",
    "MAJORITY",
    "difference_text",
    "give_verdicts",
    "interval_text",
    "mean_outcome",
    "opposed",
    "outcome",
]

MAJORITY = "majority"
"""The scorer name under which the vote stands in `comparisons`."""

CONTRADICTIONS = ("reward_hacking", "head_to_head")
"""Kinds of warning that speak against a verdict and are repeated in it."""


def outcome(ci95: Sequence[float] | None) -> str:
    """Whether the interval leaves out 50 %: "better", "worse", else "open"; no interval is open."""
    if ci95 is None:
        return "open"
    if ci95[0] > 0.5:
        return "better"
    return "worse" if ci95[1] < 0.5 else "open"


def opposed(one: Sequence[float] | None, other: Sequence[float] | None) -> bool:
    """Whether the intervals of two win rates leave out 50 % on opposite sides: one judge contradicts the other."""
    return {outcome(one), outcome(other)} == {"better", "worse"}


def mean_outcome(ci95: Sequence[float] | None, lower_is_better: bool) -> str:
    """The same of a mean difference: whether its interval leaves out 0, and on which side."""
    if ci95 is None or ci95[0] <= 0 <= ci95[1]:
        return "open"
    return "better" if (ci95[0] > 0) != lower_is_better else "worse"


def interval_text(ci95: list[float] | None) -> str:
    """The interval of a win rate in per cent: "[83.5, 90.8]", or why there is none."""
    return (
        "(no interval: 1 prompt)" if ci95 is None else f"[{interval_end(ci95[0])}, {interval_end(ci95[1])}]"
    )


def difference_text(mean: float, ci95: Sequence[float] | None) -> str:
    """A mean difference to two figures of its interval's half-width: "-0.89 [-1.25, -0.56]".

    Where the eight decimals that there are at most would show nothing but zeros, two figures of each: "+1.2e-09".
    """
    spread = abs(mean) if ci95 is None else (ci95[1] - ci95[0]) / 2
    digits = 3 if spread == 0 else min(8, max(0, 1 - math.floor(math.log10(spread))))
    form = "+.1e" if nothing_but_zeros([mean, *(ci95 or ())], digits) else f"+.{digits}f"
    if ci95 is None:
        return f"{mean:{form}} [n/a: 1 prompt]"
    return f"{mean:{form}} [{ci95[0]:{form}}, {ci95[1]:{form}}]"


def give_verdicts(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Verdicts for the comparisons of `results`, in their order; `results["warnings"]` must be there."""
    verdicts = []
    for entry in results["comparisons"]:
        if entry["scorer"] != MAJORITY or entry["slice"] != "all":
            continue
        against = [
            warning["text"]
            for warning in results["warnings"]
            if warning["kind"] in CONTRADICTIONS
            and warning["checkpoints"][:2] in ([entry["a"], entry["b"]], [entry["b"], entry["a"]])
        ]
        verdicts.append({
            "a": entry["a"],
            "b": entry["b"],
            "outcome": outcome(entry["ci95"]),
            "sentence": _sentence(entry, entry["voters"]),
            "caveats": against,
        })  # fmt: skip
    return verdicts


def _sentence(entry: Mapping[str, Any], voters: list[str]) -> str:
    a, b, rate = entry["a"], entry["b"], f"{100 * entry['win_rate']:.1f} %"
    of = count(entry["prompts"], "prompt")
    if entry["pairs"] > entry["prompts"]:
        of = f"{count(entry['pairs'], 'pair')} over {of}"
    ties = f", ties ({100 * entry['ties'] / entry['pairs']:.1f} %) counted half" if entry["ties"] else ""
    left_out = entry["abstained"]
    split = f", {count(left_out, 'pair')} left out as even splits" if left_out else ""
    numbers = f"{rate} of {of} {interval_text(entry['ci95'])}{ties}{split}"
    by = f"by the vote of {len(voters)} scorers" if len(voters) > 1 else f"by {voters[0]} alone"
    match outcome(entry["ci95"]):
        case "better":
            return f"{a} beats {b}: {numbers}, {by}."
        case "worse":
            return f"{a} loses to {b}: it wins {numbers}, {by}."
    if entry["ci95"] is None:
        return f"{a} against {b} stays open: one prompt can not be generalised; it wins {numbers}, {by}."
    return f"{a} against {b} stays open: it wins {numbers}, {by}; the interval includes 50 %."
