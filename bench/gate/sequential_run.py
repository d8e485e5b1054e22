"""A sequential gate that draws: block by block, until it decides or the prompt set ends.

The folder is that of a run of the whole suite, drawn as far as the decision needed: the same `ledger.sqlite` and `images/`
as `prefbench bench` makes, and that command completes it. What the gate decides by (rules, alpha, block, seed of the order,
candidate and baseline) is written into the ledger before the first image and holds for good: rules that change after a
look err more often than they say.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.baselines.comparable import check_identity
from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.electorate.trained_against import resolve_with_voters
from prefbench.bench.exceptions import DataError, LedgerError, UsageError
from prefbench.bench.gate.prompt_order import in_blocks, keyed_order
from prefbench.bench.gate.sequential import Look, SequentialGate, Settings
from prefbench.bench.gate.sequential_scores import Use, look_at, prompt_outcomes
from prefbench.bench.generate import DEFAULT_BATCH_SIZE
from prefbench.bench.networks import Hold, Networks
from prefbench.bench.paired_samples import Ballots, PairedSamples, arrange, cast_ballots
from prefbench.bench.plan import Plan
from prefbench.bench.progress import Stages, silent
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.registry import unknown_name
from prefbench.bench.run import plan_suite
from prefbench.bench.run_folder import find_ledger
from prefbench.bench.run_scores import scores_of
from prefbench.bench.run_stages import OpenRun, draw_and_score, open_run
from prefbench.bench.run_work import Work
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite

__all__ = ["Drawn", "gate_suite", "plan_gate"]

META = "sequential_gate"
"""Key of the ledger under which the settings stand."""


@dataclass(frozen=True)
class _Voting:
    """Who is compared, and whose votes count."""

    names: tuple[str, str]
    """Baseline and candidate."""
    trained_against: Mapping[str, Sequence[str]]

    def scores(self, run: OpenRun, prompts: Sequence[Prompt]) -> pd.DataFrame:
        """The scores table of the two on some prompts."""
        fingerprints = {name: judge.fingerprint for name, judge in run.work.judges.items()}
        return scores_of(run.ledger, self.names, run.work.suite.seeds, prompts, fingerprints)

    def on(self, run: OpenRun, prompts: Sequence[Prompt]) -> tuple[PairedSamples, Ballots]:
        """The votes on some prompts of a run, which are drawn and scored."""
        electorate, judges = run.work.suite.electorate, run.work.judges
        scores = self.scores(run, prompts)
        samples = arrange(scores, list(self.names), electorate.voters, electorate.held_out)
        ballots = cast_ballots(
            samples,
            [(self.names[1], self.names[0])],
            lower={name for name, judge in judges.items() if judge.info["direction"] == "lower"},
            tie_rule=electorate.tie_rule,
            tolerance=electorate.tie_tolerance,
            trained_against=self.trained_against,
        )
        return samples, ballots


@dataclass(frozen=True)
class Drawn:
    """A sequential gate that stopped."""

    gate: SequentialGate
    use: Use
    work: Work
    scores: pd.DataFrame
    """Of the prompts that were looked at, both checkpoints."""


def plan_gate(
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    candidate: str,
    baseline: str,
    settings: Settings,
    *,
    allow: Collection[str] = (),
    **options: Any,
) -> Plan:
    """What `gate_suite` would make at most, with all its checks; writes nothing.

    Args: as in `gate_suite`; `options` are those of `run.plan_suite`.
    """
    _check_two(checkpoints, candidate, baseline, allow)
    _check_settings(out, _recorded(settings, candidate, baseline))
    return plan_suite(suite, checkpoints, out, **options)


def gate_suite(
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    candidate: str,
    baseline: str,
    settings: Settings,
    *,
    allow: Collection[str] = (),
    prompts_dir: Path | None = None,
    device: str = "auto",
    batch_size: int = DEFAULT_BATCH_SIZE,
    weights: Mapping[str, str] | None = None,
    progress: Callable[[], AbstractContextManager[Stages]] = lambda: nullcontext(silent),
    told: Callable[[Look], None] = lambda look: None,
) -> Drawn:
    """Draw, score and look, block by block, or go on with a gate that was stopped.

    Args:
        suite: what to run; its limit holds.
        checkpoints: name -> SPEC of candidate and baseline, and of no other.
        out: the run folder.
        candidate: what is to be released.
        baseline: what it is held against.
        settings: rules and order, as when the folder was made.
        allow: `comparable.IDENTICAL`, where it is meant.
        prompts_dir: where published prompt files lie.
        device: "auto", or a torch device.
        batch_size: images drawn at once.
        weights: scorer -> path of weights to use instead of its own.
        progress: shows one block's stages.
        told: called after every look.

    Raises:
        LedgerError: the folder was made with other settings, or images were drawn in it before there were any.
        PrefbenchError: as `run.run_suite`.
    """
    _check_two(checkpoints, candidate, baseline, allow)
    record = _recorded(settings, candidate, baseline)
    _check_settings(out, record)
    with ExitStack() as stack:
        with progress() as stages:
            run = open_run(
                stack,
                suite,
                _in_order(checkpoints, baseline),
                out,
                prompts_dir=prompts_dir,
                device=device,
                batch_size=batch_size,
                weights=weights,
                stages=stages,
            )
        _check_ledger(run.ledger, out, record)  # now that nobody else can write it
        run.ledger.set_meta(META, json.dumps(record, sort_keys=True))
        return _look_by_block(run, _voting(run, candidate, baseline), settings, progress, told)


def _look_by_block(
    run: OpenRun,
    voting: _Voting,
    settings: Settings,
    progress: Callable[[], AbstractContextManager[Stages]],
    told: Callable[[Look], None],
) -> Drawn:
    work, gate = run.work, SequentialGate(settings)
    networks = Networks(work.device)
    order = keyed_order((prompt.text for prompt in work.prompts), settings.order_seed)
    for texts in in_blocks(order, settings.block):
        prompts = [prompt for prompt in work.prompts if prompt.text in set(texts)]
        with progress() as stages:
            _draw(run, prompts, voting.names, networks, stages)
        networks.settle()
        outcomes = prompt_outcomes(*voting.on(run, prompts), settings.claims)
        told(look_at(gate, {name: table.loc[texts] for name, table in outcomes.items()}))
        if gate.stopped:
            break
    seen = set(order[: gate.course[-1].prompts])
    rows = [prompt for prompt in work.prompts if prompt.text in seen]
    a_row = len(voting.names) * len(work.suite.seeds)
    use = Use(len(seen), len(order), a_row * len(rows), a_row * len(work.prompts))
    return Drawn(gate, use, work, voting.scores(run, rows))


def _draw(run: OpenRun, prompts: Sequence[Prompt], names: Sequence[str], hold: Hold, stages: Stages) -> None:
    try:
        draw_and_score(run, prompts, checkpoints=names, hold=hold, stages=stages)
    except DataError as error:
        told, option, _ = str(error).partition("; with --drop-incomplete")
        if not option:
            raise
        raise DataError(
            f"{told}. A gate by blocks leaves no (prompt, seed) out, because it has no rule that would count them. To judge "
            "without them, complete the folder with `prefbench bench ... --drop-incomplete` and gate it without --sequential, "
            "with a rule `failure_cap`."
        ) from error


def _voting(run: OpenRun, candidate: str, baseline: str) -> _Voting:
    suite = run.work.suite
    names = (baseline, candidate)
    trainings = {name: run.work.checkpoints[name].training for name in names}
    pairs, electorate = [(candidate, baseline)], suite.electorate
    against = resolve_with_voters(
        trainings, suite.trained_against, pairs, electorate.voters, electorate.held_out
    )
    return _Voting(names, against)


def _recorded(settings: Settings, candidate: str, baseline: str) -> dict[str, Any]:
    """As it stands in the ledger: JSON's own types, so that it compares equal after reading."""
    return {
        "rules": [claim.name for claim in settings.claims],
        "thresholds": [claim.threshold for claim in settings.claims],
        "alpha": settings.alpha,
        "block": settings.block,
        "order_seed": settings.order_seed,
        "candidate": candidate,
        "baseline": baseline,
    }


def _check_two(checkpoints: Mapping[str, str], candidate: str, baseline: str, allow: Collection[str]) -> None:
    for name in (candidate, baseline):
        if name not in checkpoints:
            raise unknown_name("checkpoint in --checkpoint", name, list(checkpoints))
    if candidate == baseline:
        raise UsageError(f"--candidate and --baseline both name {candidate!r}. Give two checkpoints.")
    others = [name for name in checkpoints if name not in (candidate, baseline)]
    if others:
        raise UsageError(
            f"A sequential gate draws the candidate and the baseline alone, and --checkpoint names {', '.join(others)} too. "
            "Leave it out; `prefbench bench` can add it to the folder later."
        )
    names = (candidate, baseline)
    entries = [{"identity": open_checkpoint(name, checkpoints[name]).identity} for name in names]
    check_identity(names, entries, allow)


def _in_order(checkpoints: Mapping[str, str], baseline: str) -> dict[str, str]:
    """The baseline first, as in every run."""
    return {baseline: checkpoints[baseline], **checkpoints}


def _check_settings(out: Path, record: Mapping[str, Any]) -> None:
    """Refuse a folder of other settings, or one whose images were drawn before there were settings."""
    if find_ledger(out):
        with Ledger(out, read_only=True) as ledger:
            _check_ledger(ledger, out, record)


def _check_ledger(ledger: Ledger, out: Path, record: Mapping[str, Any]) -> None:
    stored = ledger.meta(META)
    if stored is None:
        if ledger.images():
            raise LedgerError(
                f"The run folder {out} has images, and was not made by a sequential gate: rules are to be fixed before the "
                f"first image. Give another --out, or have them judged as they are: prefbench gate {out}"
            )
        return
    before = json.loads(stored)
    differ = [key for key in record if record[key] != before.get(key)]
    if differ:
        said = "; ".join(f"{key} is {before.get(key)!r} there and {record[key]!r} now" for key in differ)
        raise LedgerError(
            f"The sequential gate in {out} was begun with other settings: {said}. Rules that change after a look are not "
            "valid any more. Give the settings of before, or another --out."
        )
