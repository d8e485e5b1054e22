"""What gate.json holds; its schema is in docs/gate.md."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from prefbench.bench.gate.errors import errors_of
from prefbench.bench.gate.evaluation import EXIT_CODES, Outcome, Ruling, outcome_of
from prefbench.bench.gate.material import Material
from prefbench.bench.gate.rules import GateRules
from prefbench.bench.gate.wording import estimate_text, gate_sentence, threshold_text

__all__ = ["SCHEMA", "gate_report", "rule_entry"]

SCHEMA = 1
"""Of gate.json."""

QUIET = ("exploratory_slices",)
"""Warnings of results.json about what a gate does not show."""


def gate_report(
    material: Material,
    rules: GateRules,
    rulings: Sequence[Ruling],
    *,
    rules_from: str,
    allow: Sequence[str],
    worst: Sequence[Mapping[str, Any]],
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """The dict of gate.json.

    Args:
        material: what was compared.
        rules: that were asked.
        rulings: what came of each claim.
        rules_from: "default", "suite", or the path of the file.
        allow: kinds of difference that were accepted.
        worst: prompts that are lost worst.
        remarks: to be told beside those of `material`.
    """
    outcome: Outcome = outcome_of(rulings)
    entries = [rule_entry(ruling) for ruling in rulings]
    results = material.results
    return {
        "schema": SCHEMA,
        "prefbench": version("prefbench"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "mode": "fixed",
        "outcome": outcome,
        "exit_code": EXIT_CODES[outcome],
        "sentence": gate_sentence(outcome, material.candidate, material.baseline, entries),
        "candidate": material.candidate,
        "baseline": material.baseline,
        **_sources(material),
        "allowed": list(allow),
        "rules_from": rules_from,
        "alpha": rules.alpha,
        "errors": errors_of([ruling.claim for ruling in rulings], rules.alpha),
        "electorate": results["suite"]["electorate"],
        "prompts": results["suite"]["distinct_prompts"],
        "pairs": len(material.samples.about),
        "seeds_per_prompt": results["suite"]["seeds_per_prompt"],
        "rules": entries,
        "worst": [dict(each) for each in worst],
        "warnings": [
            {"kind": warning["kind"], "text": warning["text"]}
            for warning in results["warnings"]
            if warning["kind"] not in QUIET
        ],
        "remarks": [*material.remarks, *remarks],
        "intervals": {key: results["intervals"][key] for key in ("interval", "resamples", "seed")},
    }


def _sources(material: Material) -> dict[str, Any]:
    told, stored = material.source.results or {}, material.stored
    return {
        "source": {
            "path": str(material.source.path),
            "kind": material.source.kind,
            "created": told.get("created"),
            "prefbench": told.get("prefbench"),
        },
        "stored_baseline": None
        if stored is None
        else {"name": stored.name, "path": str(stored.path), "saved": str(stored.saved)},
    }


def rule_entry(ruling: Ruling) -> dict[str, Any]:
    """One entry of "rules"."""
    claim = ruling.claim
    return {
        "name": claim.name,
        "rule": claim.rule,
        "kind": claim.kind,
        "scorer": claim.scorer,
        "slice": claim.slice if claim.quantity != "ratio of sampling times" else None,
        "quantity": claim.quantity,
        "margin": claim.margin,
        "threshold": claim.threshold,
        "outcome": ruling.outcome,
        "estimate": ruling.estimate,
        "interval": None if ruling.limits is None else list(ruling.limits),
        "interval_method": ruling.method,
        "prompts": ruling.prompts,
        "pairs": ruling.pairs,
        "p_value": ruling.p_value,
        "p_value_fail": ruling.p_value_fail,
        "p_adjusted": ruling.p_adjusted,
        "needed": None if ruling.needed is None else asdict(ruling.needed),
        "note": ruling.note,
        "shown": {
            "estimate": estimate_text(claim, ruling.estimate, ruling.limits),
            "threshold": threshold_text(claim),
        },
    }
