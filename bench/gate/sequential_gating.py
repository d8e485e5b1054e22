"""A sequential gate from end to end: while it draws, or replayed on scores that are there."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prefbench.bench.baselines import DEFAULT_FOLDER
from prefbench.bench.baselines.source import ScoreSource
from prefbench.bench.electorate.rules import rules_of
from prefbench.bench.gate.evaluation import Ruling
from prefbench.bench.gate.gating import choose_rules, naming, suite_of
from prefbench.bench.gate.material import Material, gather, told_apart
from prefbench.bench.gate.outputs import add_gate, check_gate_folder, write_gate
from prefbench.bench.gate.prompt_order import keyed_order
from prefbench.bench.gate.report import gate_report
from prefbench.bench.gate.rules import GateRules
from prefbench.bench.gate.sequential import BLOCK, Look, SequentialGate, Settings, sequential_claims
from prefbench.bench.gate.sequential_run import Drawn, gate_suite, plan_gate
from prefbench.bench.gate.sequential_scores import Use, replay
from prefbench.bench.gate.wording import stop_text
from prefbench.bench.gate.worst import pictures_of, worst_prompts
from prefbench.bench.paired_samples import ballots_of
from prefbench.bench.plan import Plan
from prefbench.bench.results import summarise
from prefbench.bench.suite import Suite

__all__ = ["gate_by_blocks", "plan_by_blocks", "replay_gate"]

QUIET = ("unequal_seeds", "exact_interval")
"""About means over pairs and about the intervals of results.json; here are means over prompt texts, with limits of their own."""


def gate_by_blocks(
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    candidate: str,
    baseline: str,
    *,
    margin: float | None = None,
    rules: Path | None = None,
    block: int = BLOCK,
    order_seed: int = 0,
    allow: Collection[str] = (),
    **drawing: Any,
) -> dict[str, Any]:
    """Draw until it is decided, and write gate.json, junit.xml, gate.md and thumbnails into the run folder.

    Args:
        suite: as in `sequential_run.gate_suite`, as are the other arguments, and what is raised.
        checkpoints: candidate and baseline.
        out: the run folder.
        candidate: what is to be released.
        baseline: what it is held against.
        margin: of the one rule that holds where none is written.
        rules: TOML file; None for those of the suite, if it has any.
        block: prompts between two looks.
        order_seed: of the order of the prompts.
        allow: `comparable.IDENTICAL`, where it is meant.
        drawing: further arguments of `gate_suite`.

    Returns:
        The report, as it stands in gate.json.
    """
    chosen, rules_from = choose_rules(suite, margin, rules)
    settings = _settings(chosen, rules_from, suite.electorate.scorers, block, order_seed)
    drawn = gate_suite(suite, checkpoints, out, candidate, baseline, settings, allow=allow, **drawing)
    material = _material(drawn, out, candidate, baseline, allow)
    report, pictures = _report(material, chosen, drawn.gate, drawn.use, rules_from, allow)
    add_gate(out, report, pictures)
    return report


def plan_by_blocks(
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    candidate: str,
    baseline: str,
    *,
    margin: float | None = None,
    rules: Path | None = None,
    block: int = BLOCK,
    order_seed: int = 0,
    **options: Any,
) -> Plan:
    """What `gate_by_blocks` would make at most, with all its checks; writes nothing. Arguments as there."""
    chosen, rules_from = choose_rules(suite, margin, rules)
    settings = _settings(chosen, rules_from, suite.electorate.scorers, block, order_seed)
    return plan_gate(suite, checkpoints, out, candidate, baseline, settings, **options)


def replay_gate(
    path: Path,
    candidate: str,
    baseline: str,
    out: Path,
    *,
    margin: float | None = None,
    rules: Path | None = None,
    block: int = BLOCK,
    order_seed: int = 0,
    allow: Collection[str] = (),
    folder: Path = DEFAULT_FOLDER,
) -> dict[str, Any]:
    """What the gate would have decided, and after how many prompts; writes the folder `out` as `gate_release` does.

    Args:
        path: as in `gating.gate_release`, as are the other arguments, and what is raised.
        candidate: what is to be released.
        baseline: what it is held against.
        out: folder to write.
        margin: of the one rule that holds where none is written.
        rules: TOML file; None for those of the run's suite, if it has any.
        block: prompts between two looks.
        order_seed: of the order of the prompts.
        allow: kinds of difference to a stored baseline that are accepted, and `comparable.IDENTICAL`.
        folder: of stored baselines.

    Returns:
        The report, as it stands in gate.json.
    """
    check_gate_folder(out)
    chosen, rules_from = choose_rules(suite_of(path), margin, rules)
    material = gather(path, candidate, baseline, folder=folder, allow=allow, sequential=True)
    settings = _settings(chosen, rules_from, material.scorers, block, order_seed)
    gate, use = replay(material.samples, material.ballots, settings)
    texts = material.samples.about["prompt"]
    seen = texts.isin(keyed_order(texts, order_seed)[: use.prompts]).to_numpy()
    samples, ballots = material.samples, material.ballots
    part = replace(
        material,
        samples=replace(
            samples, scores=samples.scores[:, seen], about=samples.about[seen].reset_index(drop=True)
        ),
        ballots=replace(ballots, cast=ballots.cast[:, :, seen]),
    )
    report, pictures = _report(part, chosen, gate, use, rules_from, allow)
    write_gate(out, report, pictures)
    return report


def _settings(
    rules: GateRules, rules_from: str, scorers: Collection[str], block: int, order_seed: int
) -> Settings:
    with naming(rules_from):
        claims = sequential_claims(rules, list(scorers))
    return Settings(claims, rules.alpha, block, order_seed)


def _material(drawn: Drawn, out: Path, candidate: str, baseline: str, allow: Collection[str]) -> Material:
    """What was looked at, compared as every run is: for the warnings, and the prompts that are lost."""
    work, frame = drawn.work, drawn.scores
    infos = {name: judge.info for name, judge in work.judges.items()}
    opened = {name: work.checkpoints[name] for name in (baseline, candidate)}
    results = summarise(
        frame,
        electorate=work.suite.electorate.model_dump(include={"voters", "held_out"}),
        rules=rules_of(work.suite, None),
        checkpoints={
            name: {"spec": one.spec, "kind": one.kind, "identity": one.identity, "training": one.training}
            for name, one in opened.items()
        },
        suite={
            "name": work.suite.name,
            "prompt_sets": [planned.as_dict() for planned in work.sets],
            "seeds": work.suite.seeds,
            "sampling": work.suite.sampling.model_dump(),
        },
        scorers=infos,
    )
    samples, ballots = ballots_of(results, frame)
    source = ScoreSource(out, "run", frame, None, infos)
    same = told_apart(samples, ballots, allow)
    return Material(candidate, baseline, source, None, results, samples, ballots, same)


def _report(
    material: Material,
    rules: GateRules,
    gate: SequentialGate,
    use: Use,
    rules_from: str,
    allow: Collection[str],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """gate.json of a sequential gate, and its thumbnails."""
    worst, pictures, missing = pictures_of(material, worst_prompts(material))
    report = gate_report(
        material,
        rules,
        _rulings(gate, use),
        rules_from=rules_from,
        allow=sorted(set(allow)),
        worst=worst,
        remarks=[missing] if missing else [],
    )
    settings = gate.settings
    report |= {
        "mode": "sequential",
        "prompts": use.prompts,
        "pairs": use.images // 2,
        "errors": {
            "wrong_pass": settings.alpha_of_claim / 2,
            "wrong_fail": settings.alpha / 2,
            "not_bounded": [],
            "planned_slices": 0,
        },
        "warnings": [warning for warning in report["warnings"] if warning["kind"] not in QUIET],
        "sequential": {
            "order": "by sha256 of the seed, a line break and the prompt text",
            "order_seed": settings.order_seed,
            "block": settings.block,
            "alpha_of_rule": settings.alpha_of_claim,
            "stopped_early": use.prompts < use.of_prompts,
            **asdict(use),
            "course": [_look_entry(look) for look in gate.course],
        },
    }
    report["sentence"] = f"{report['sentence']} {stop_text(report)}"
    return report, pictures


def _look_entry(look: Look) -> dict[str, Any]:
    return {
        "prompts": look.prompts,
        "rules": {name: asdict(standing) for name, standing in look.standings.items()},
    }


def _rulings(gate: SequentialGate, use: Use) -> list[Ruling]:
    last = gate.course[-1]
    rulings = []
    for claim in gate.settings.claims:
        standing = last.standings[claim.name]
        note = None
        if standing.outcome == "inconclusive":
            note = _why_open(standing.contradicted, use.prompts == use.of_prompts)
        rulings.append(
            Ruling(
                claim,
                standing.outcome,
                standing.estimate,
                standing.limits,
                "confidence sequence",
                standing.prompts,
                standing.pairs,
                note=note,
            )
        )
    return rulings


def _why_open(contradicted: bool, at_the_end: bool) -> str:
    if contradicted:
        return (
            "The outcomes turned round on the way, as they hardly ever do in random order: no win rate explains them all, and "
            "more prompts would not mend it. Look for scores that were made in different ways."
        )
    if at_the_end:
        return (
            "All prompts of the set are seen and the limits still include the threshold. A larger prompt set, or more seeds a "
            "prompt, in a folder of its own, can decide it."
        )
    return "It was open when another rule failed and ended the gate."
