"""One plain sentence for every two checkpoints, from the majority vote's interval."""

from collections.abc import Mapping
from typing import Any

from prefbench.bench.wording import count

__all__ = ["CONTRADICTIONS", "MAJORITY", "give_verdicts", "interval_text", "outcome"]

MAJORITY = "majority"
"""The scorer name under which the vote stands in `comparisons`."""

CONTRADICTIONS = ("reward_hacking", "head_to_head")
"""Kinds of warning that speak against a verdict and are repeated in it."""


def outcome(ci95: list[float] | None) -> str:
    """Whether the interval leaves out 50 %: "better", "worse", else "open"; no interval is open."""
    if ci95 is None:
        return "open"
    if ci95[0] > 0.5:
        return "better"
    return "worse" if ci95[1] < 0.5 else "open"


def interval_text(ci95: list[float] | None) -> str:
    """An interval in per cent: "[83.5, 90.8]", or why there is none."""
    return "(no interval: 1 prompt)" if ci95 is None else f"[{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]"


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
