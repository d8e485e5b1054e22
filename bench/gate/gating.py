"""A gate from end to end: scores and rules in, a decision and its folder out."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefbench.bench.baselines import DEFAULT_FOLDER
from prefbench.bench.exceptions import UsageError
from prefbench.bench.gate.claims import claims_of
from prefbench.bench.gate.evaluation import evaluate
from prefbench.bench.gate.material import gather
from prefbench.bench.gate.outputs import check_gate_folder, write_gate
from prefbench.bench.gate.report import gate_report
from prefbench.bench.gate.rules import GateRules, default_rules, load_rules
from prefbench.bench.gate.worst import pictures_of, worst_prompts
from prefbench.bench.run_folder import RESULTS, SCORES, SUITE
from prefbench.bench.suite import Suite, load_suite

__all__ = ["choose_rules", "gate_release", "naming", "suite_of"]


def gate_release(
    path: Path,
    candidate: str,
    baseline: str,
    out: Path,
    *,
    margin: float | None = None,
    rules: Path | None = None,
    allow: Collection[str] = (),
    folder: Path = DEFAULT_FOLDER,
) -> dict[str, Any]:
    """Decide on a release and write the folder `out`, whole or not at all.

    Args:
        path: run folder, comparison, or scores table.
        candidate: what is to be released, a checkpoint in it.
        baseline: what it is held against: another checkpoint in it, or the name or path of a stored baseline.
        out: folder to write; an earlier gate's is replaced.
        margin: of the one rule that holds where none is written.
        rules: TOML file; None for those of the run's suite, if it has any.
        allow: kinds of difference to a stored baseline that are accepted, and `comparable.IDENTICAL`.
        folder: of stored baselines.

    Returns:
        The report, as it stands in gate.json.

    Raises:
        PrefbenchError: bad input; nothing is written, and an earlier folder stays as it was.
    """
    check_gate_folder(out)
    chosen, rules_from = choose_rules(suite_of(path), margin, rules)
    gaps = any(rule.kind == "failure_cap" for rule in chosen.rules)
    material = gather(path, candidate, baseline, folder=folder, allow=allow, gaps=gaps)
    with naming(rules_from):
        claims = claims_of(
            chosen, scorers=material.scorers, lower=material.lower, slices=list(material.slices)
        )
    rulings = evaluate(claims, material, alpha=chosen.alpha)
    worst, pictures, missing = pictures_of(material, worst_prompts(material))
    report = gate_report(
        material,
        chosen,
        rulings,
        rules_from=rules_from,
        allow=sorted(set(allow)),
        worst=worst,
        remarks=[missing] if missing else [],
    )
    write_gate(out, report, pictures)
    return report


def choose_rules(suite: Suite | None, margin: float | None, rules: Path | None) -> tuple[GateRules, str]:
    """The rules, and where they are from: the file, else the suite, else the one rule of `default_rules`.

    Args:
        suite: that may have rules.
        margin: only where no rules are written.
        rules: TOML file.

    Raises:
        UsageError: a margin beside written rules, or outside [0, 0.5).
        DataError: rules that cannot be read.
    """
    written = load_rules(rules) if rules is not None else suite.gate if suite is not None else None
    if written is None:
        return default_rules(margin), "default"
    if margin is not None:
        where = f"--rules {rules}" if rules is not None else "[gate] of the suite"
        raise UsageError(
            f"--margin is for a gate without written rules, and {where} has some, each with its own margin. Leave --margin out."
        )
    return written, "suite" if rules is None else str(rules)


@contextmanager
def naming(rules_from: str) -> Iterator[None]:
    """Put where the rules are from before what is wrong with one of them.

    Args:
        rules_from: of `choose_rules`.
    """
    try:
        yield
    except UsageError as error:
        where = "[gate] of the suite" if rules_from == "suite" else rules_from
        text = str(error)
        raise UsageError(f"{where}: {text[0].lower()}{text[1:]}") from error


def suite_of(path: Path) -> Suite | None:
    """The suite of a run folder; None for what is none."""
    file = (path if path.is_dir() else path.parent) / SUITE
    in_folder = path.is_dir() or path.name in (RESULTS, SCORES)
    return load_suite(str(file)) if in_folder and file.is_file() else None
