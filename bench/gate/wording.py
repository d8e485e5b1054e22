"""The numbers of a gate as its texts print them: one form for terminal, Markdown, JUnit and gate.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prefbench.bench.gate.claims import Claim
from prefbench.bench.gate.rules import ALL
from prefbench.bench.verdict import MAJORITY
from prefbench.bench.wording import count, interval_end

__all__ = [
    "WORDS",
    "basis_text",
    "error_rates",
    "errors_text",
    "estimate_text",
    "gate_sentence",
    "look_text",
    "p_note",
    "p_text",
    "rule_sentence",
    "shown_p",
    "stop_text",
    "threshold_text",
]

WORDS = {"pass": "PASS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE"}

PER_CENT = ("win rate", "share of ties", "share without a score")


def estimate_text(claim: Claim, estimate: float | None, limits: tuple[float, float] | None) -> str:
    """The estimate with its limits: "48.2 % [45.1, 51.3]"."""
    if estimate is None:
        return "n/a"
    if claim.quantity in PER_CENT:
        value, ends = (
            f"{100 * estimate:.1f} %",
            [interval_end(end, edge=claim.threshold) for end in limits or ()],
        )
    else:
        digits = _digits(estimate, limits)
        value, ends = f"{estimate:.{digits}f}", [f"{end:.{digits}f}" for end in limits or ()]
    return f"{value} [{', '.join(ends)}]" if ends else value


def threshold_text(claim: Claim) -> str:
    """What is asked: "> 47.0 %", "at most 20.0 %"."""
    in_per_cent = claim.quantity in PER_CENT
    value = f"{100 * claim.threshold:g} %" if in_per_cent else f"{claim.threshold:g}"
    if claim.quantity == "win rate":
        return f"> {value}"
    return f"at least {value}" if claim.at_least else f"at most {value}"


def rule_sentence(entry: Mapping[str, Any]) -> str:
    """One rule of a report: quantity, numbers, what is asked and what came of it."""
    where = "" if entry["slice"] in (None, "all") else f" on {entry['slice']}"
    whose = {"majority": " by the vote", None: ""}.get(entry["scorer"], f" by {entry['scorer']}")
    text = (
        f"{entry['quantity'][0].upper() + entry['quantity'][1:]}{whose}{where}: {entry['shown']['estimate']}, asked "
        f"{entry['shown']['threshold']}: {entry['outcome']}."
    )
    return " ".join(
        [
            text,
            *([entry["note"]] if entry["note"] else []),
            *([entry["needed"]["text"]] if entry["needed"] else []),
        ]
    )


def gate_sentence(outcome: str, candidate: str, baseline: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """The verdict on a release in one sentence; the first rules that decide it are named."""
    deciding = [entry for entry in entries if entry["outcome"] == outcome]
    of = f"{len(deciding)} of {count(len(entries), 'rule')}"
    named = "; ".join(
        f"{entry['name']}: {entry['shown']['estimate']}, asked {entry['shown']['threshold']}"
        for entry in deciding[:3]
    )
    more = f"; and {len(deciding) - 3} more" if len(deciding) > 3 else ""
    if outcome == "pass":
        kept = "the rule" if len(entries) == 1 else f"all {len(entries)} rules"
        return f"{candidate} keeps to {kept} against {baseline}{_one(entries)}."
    if outcome == "fail":
        return f"{candidate} breaks {of} against {baseline} ({named}{more})."
    return f"{candidate} against {baseline} is not decided: {of} open ({named}{more}), none broken."


def _one(entries: Sequence[Mapping[str, Any]]) -> str:
    """The numbers of a single rule, which fit into the sentence."""
    if len(entries) > 1:
        return ""
    (entry,) = entries
    return f" ({entry['name']}: {entry['shown']['estimate']}, asked {entry['shown']['threshold']})"


def stop_text(report: Mapping[str, Any]) -> str:
    """After how many prompts a sequential gate stopped, and what that saved."""
    told = report["sequential"]
    if not told["stopped_early"]:
        return f"All {told['of_prompts']:,} prompts were looked at: nothing was saved."
    saved = 100 * (1 - told["images"] / told["of_images"])
    return (
        f"Stopped after {told['prompts']:,} of {count(told['of_prompts'], 'prompt')}: {told['images']:,} of "
        f"{told['of_images']:,} images, {saved:.0f} % saved."
    )


def look_text(look: Mapping[str, Any], of_prompts: int) -> str:
    """One look of a sequential gate on a line: the numbers of a single rule, or how many are decided."""
    head = f"{look['prompts']:>7,} of {count(of_prompts, 'prompt')}"
    rules = list(look["rules"].values())
    outcomes = [rule["outcome"] for rule in rules]
    if len(rules) > 1:
        words = {"pass": "kept", "fail": "broken", "inconclusive": "open"}
        told = ", ".join(f"{outcomes.count(outcome)} {word}" for outcome, word in words.items())
        return f"{head}   {told}"
    estimate = "  n/a  " if rules[0]["estimate"] is None else f"{100 * rules[0]['estimate']:5.1f} %"
    low, high = (f"{100 * end:.1f}" for end in rules[0]["limits"])
    return f"{head}   {estimate} [{low}, {high}]   {'open' if outcomes[0] == 'inconclusive' else outcomes[0]}"


def basis_text(report: Mapping[str, Any]) -> str:
    """How much a gate rests on, and how much of it the vote counts where the tie rule leaves pairs out."""
    text = f"{count(report['prompts'], 'prompt')} ({count(report['pairs'], 'pair')})"
    for entry in report["rules"]:
        of_vote = (entry["scorer"], entry["quantity"], entry["slice"]) == (MAJORITY, "win rate", ALL)
        if of_vote and entry["pairs"] < report["pairs"]:
            counted = f"{entry['prompts']:,} ({count(entry['pairs'], 'pair')})"
            return f"{text}, of which the tie rule counts {counted} for the vote"
    return text


def errors_text(report: Mapping[str, Any]) -> str:
    """What the intervals of a report mean, and how often a gate like this errs; empty where all is counted."""
    if all(entry["kind"] == "failure_cap" for entry in report["rules"]):
        return ""
    level, over = 100 * (1 - report["alpha"]), basis_text(report)
    if report["mode"] == "sequential":
        level = 100 * (1 - report["sequential"]["alpha_of_rule"])
        how = f"Limits at {level:g} % hold at every look at once, here over {over}."
    else:
        how = f"{level:g} % intervals over {over}."
    return f"{how} {error_rates(report)}"


def error_rates(report: Mapping[str, Any]) -> str:
    """How often a gate like this errs, and which rules that is not about."""
    errors = report["errors"]
    kinds = dict.fromkeys(
        entry["kind"] for entry in report["rules"] if entry["name"] in errors["not_bounded"]
    )
    aside = " and ".join(f"a {kind}" for kind in kinds)
    if errors["wrong_pass"] is None and not kinds:
        return ""
    if errors["wrong_pass"] is None:
        return f"How often {aside} errs depends on how its values are spread, and has no bound here (docs/gate.md)."
    return (
        f"The gate passes wrongly with a probability of about {100 * errors['wrong_pass']:g} % at most, fails wrongly with about "
        f"{100 * errors['wrong_fail']:g} % at most{f', but for {aside}, which can err oftener (docs/gate.md)' if kinds else ''}."
    )


def shown_p(entry: Mapping[str, Any]) -> float | None:
    """The p-value to print beside a rule: against what was found. Of a failed one, corrected where it was corrected."""
    failed = entry["outcome"] == "fail"
    key = "p_value" if not failed else "p_value_fail" if entry["p_adjusted"] is None else "p_adjusted"
    p: float | None = entry[key]
    return p


def p_note(report: Mapping[str, Any]) -> str:
    """What the printed p-values are of, and held against; empty where none is printed."""
    entries = report["rules"]
    if all(shown_p(entry) is None for entry in entries):
        return ""
    failed = [entry for entry in entries if entry["outcome"] == "fail" and shown_p(entry) is not None]
    holm = ", after Holm for a slice" if any(entry["p_adjusted"] is not None for entry in failed) else ""
    kept = f'; of a failed one, of "the rule is kept"{holm}' if failed else ""
    return f'p: one-sided, of "the rule is broken"{kept}; cut-off alpha/2 = {report["alpha"] / 2:g}.'


def p_text(p: float | None) -> str:
    """A p-value, short."""
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _digits(estimate: float, limits: tuple[float, float] | None) -> int:
    """Places after the point: two figures of half of the limits' width, or four of the number itself."""
    spread = abs(estimate) / 100 if limits is None else (limits[1] - limits[0]) / 2
    return 3 if spread == 0 else min(8, max(0, 1 - math.floor(math.log10(spread))))
