"""What a gate decides on: two checkpoints on the same samples, with everything that their results say about them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.baselines import DEFAULT_FOLDER
from prefbench.bench.baselines.comparable import (
    IDENTICAL,
    check_comparable,
    check_identity,
    check_kinds,
    check_outcome,
    common_scores,
)
from prefbench.bench.baselines.differences import KINDS
from prefbench.bench.baselines.folder import load_baseline, names_in
from prefbench.bench.baselines.source import RESULTS, ScoreSource, read_source
from prefbench.bench.baselines.stored import StoredBaseline
from prefbench.bench.electorate.rules import VotingRules
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.gaps import drop_incomplete
from prefbench.bench.paired_samples import Ballots, PairedSamples, ballots_of, slices_of
from prefbench.bench.registry import unknown_name
from prefbench.bench.resamples import interval_named
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_complete
from prefbench.bench.wording import count

__all__ = ["Material", "gather", "told_apart"]


@dataclass(frozen=True)
class Material:
    """Two checkpoints, compared as `prefbench compare` compares them."""

    candidate: str
    baseline: str
    source: ScoreSource
    stored: StoredBaseline | None
    """The baseline where it is a stored one."""
    results: Mapping[str, Any]
    """What `summarise` makes of the two, candidate over baseline."""
    samples: PairedSamples
    ballots: Ballots
    remarks: Sequence[str] = field(default=())
    """Allowed differences, and what no record tells."""
    untruncated: Collection[str] | None = None
    """Texts of the prompts that every voter reads to the end; None where no record tells."""

    @property
    def scorers(self) -> list[str]:
        """Voters first."""
        return self.samples.scorers

    @property
    def lower(self) -> list[str]:
        """Scorers whose lower value is the better one."""
        return [name for name, info in self.results["scorers"].items() if info["direction"] == "lower"]

    @property
    def slices(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Slice -> which samples are in it; the whole is not among them."""
        return slices_of(self.samples.about, self.untruncated or ())

    @property
    def run(self) -> Path | None:
        """The run folder with its ledger, where both checkpoints are of one run."""
        return self.source.path if self.source.kind == "run" and self.stored is None else None

    @property
    def left_out(self) -> Mapping[str, Any] | None:
        """Samples without a score: {"samples", "of", "missing"}; None where there are none."""
        found: Mapping[str, Any] | None = self.results["suite"]["left_out"]
        return found


def gather(
    path: Path,
    candidate: str,
    baseline: str,
    *,
    folder: Path = DEFAULT_FOLDER,
    allow: Collection[str] = (),
    gaps: bool = False,
    sequential: bool = False,
) -> Material:
    """Read the scores of both, check that they may be compared, and compare them.

    Args:
        path: run folder, comparison, or scores table.
        candidate: a checkpoint in it.
        baseline: another, or else the name or path of a stored baseline.
        folder: of stored baselines.
        allow: kinds of difference to a stored baseline that are accepted, and `comparable.IDENTICAL`.
        gaps: whether samples without a score are left out and counted; refused if not.
        sequential: whether a gate by blocks asks, which has no rule that would count them.

    Raises:
        DataError: scores that cannot be used, are missing, or are not those of the results beside them.
        UsageError: unknown names, two sources that may not be compared, or two checkpoints that are one.
    """
    check_kinds(allow, (*KINDS, IDENTICAL))
    source = read_source(path)
    if candidate not in source.checkpoints:
        raise unknown_name(f"checkpoint of {path}", candidate, source.checkpoints)
    if candidate == baseline:
        raise UsageError(
            f"--candidate and --baseline both name {candidate!r}: a checkpoint is never worse than itself. Name two."
        )
    stored = None if baseline in source.checkpoints else _stored(baseline, source, folder)
    if stored is not None and stored.name == candidate:
        raise UsageError(
            f"The candidate and the stored baseline are both called {candidate!r}. Give one of them another name."
        )
    accepted = [kind for kind in allow if kind != IDENTICAL]
    if stored is None and accepted:
        raise UsageError(
            f"--allow {accepted[0]} is about a stored baseline, and {baseline} is a checkpoint of {path}, drawn and scored as "
            f"{candidate} was. Leave it out."
        )
    sides = source.provenance(candidate), stored.provenance if stored else source.provenance(baseline)
    remarks = check_comparable(*sides, accepted)
    same = check_identity(
        [side.checkpoint for side in sides],
        [side.about or {} for side in sides],
        allow,
        one_setting=sides[0].sampling == sides[1].sampling,
    )
    rows = source.scores[source.scores["checkpoint"].isin([candidate, baseline])]
    if stored is not None:
        rows = common_scores(rows, stored.scores)
    name = baseline if stored is None else stored.name
    frame, left_out = _complete(rows.reset_index(drop=True), source, [name, candidate], gaps, sequential)
    untruncated = _untruncated(frame, source)
    results = _compared(frame, source, stored, name, candidate, left_out, untruncated)
    if stored is None:
        _check_same_numbers(results, source)
    samples, ballots = ballots_of(results, frame)
    same = same or told_apart(samples, ballots, allow)
    return Material(
        candidate, name, source, stored, results, samples, ballots, (*remarks, *same), untruncated
    )


def told_apart(samples: PairedSamples, ballots: Ballots, allow: Collection[str]) -> list[str]:
    """`comparable.check_outcome` on the voters that count."""
    places = ballots.electorates[0]
    scores = samples.scores[:, :, places]
    return check_outcome(ballots.pairs[0], scores, [samples.scorers[k] for k in places], allow)


def _stored(baseline: str, source: ScoreSource, folder: Path) -> StoredBaseline:
    """A stored baseline; for a name that is none, the error that names what there is."""
    if len(Path(baseline).parts) > 1:
        return load_baseline(baseline, folder)
    known = names_in(folder) if folder.is_dir() else []
    if baseline not in known:
        where = (
            f"nor a baseline stored in {folder}"
            if known
            else f"and there is no folder of baselines at {folder}"
        )
        raise unknown_name(
            f"baseline: it is no checkpoint of {source.path} {where}:",
            baseline,
            [*source.checkpoints, *known],
        )
    return load_baseline(baseline, folder)


def _complete(
    frame: pd.DataFrame, source: ScoreSource, names: list[str], gaps: bool, sequential: bool
) -> tuple[pd.DataFrame, Mapping[str, Any] | None]:
    """Rows without holes, and what is left out: here, or where the results were made."""
    before = None if source.results is None else source.results["suite"].get("left_out")
    if gaps and before is None:
        everything = list(zip(source.scores["prompt_id"], source.scores["seed"], strict=True))
        return drop_incomplete(frame, samples=everything, checkpoints=names, source=str(source.path))
    if before is not None and not gaps:
        how = "without --sequential and with" if sequential else "with"
        raise DataError(
            f"{source.path} leaves out {before['samples']:,} of {count(before['of'], 'sample')} that had no score "
            "(--drop-incomplete), and no rule of the gate says how many may be: they might be those that the candidate fails on. "
            f"Gate it {how} a rule `failure_cap`, which allows so many, or make the missing scores and compare again."
        )
    try:
        check_complete(frame, source=str(source.path))
    except DataError as error:
        remedy = " with a rule `failure_cap`, which allows so many"
        if sequential:
            remedy = f" without --sequential and{remedy} (a gate by blocks has no such rule, so it leaves out none)"
        raise DataError(str(error).replace(" with --drop-incomplete", remedy)) from error
    return frame, before


def _untruncated(frame: pd.DataFrame, source: ScoreSource) -> set[str] | None:
    cut = (source.results or {}).get("suite", {}).get("truncated_prompts")
    return None if cut is None else set(frame["prompt"][~frame["prompt_id"].isin(cut)])


def _compared(
    frame: pd.DataFrame,
    source: ScoreSource,
    stored: StoredBaseline | None,
    baseline: str,
    candidate: str,
    left_out: Mapping[str, Any] | None,
    untruncated: Collection[str] | None,
) -> dict[str, Any]:
    """By the electorate, the rules of the vote and the draws of the results that there are; else all scorers vote."""
    told = source.results or {}
    there = set(frame["scorer"])
    electorate = told.get("suite", {}).get("electorate") or {"voters": list(dict.fromkeys(frame["scorer"]))}
    about = {name: dict(info) for name, info in told.get("checkpoints", {}).items()}
    if stored is not None:
        about[baseline] = dict(stored.provenance.about or {})
    entries = {name: about.get(name, {}) for name in (baseline, candidate)}
    against = {
        name: [scorer for scorer in info["trained_against"] if scorer in there]
        for name, info in entries.items()
        if info.get("trained_against") is not None
    }
    suite = {key: value for key, value in told.get("suite", {}).items() if key != "electorate"}
    intervals = told.get("intervals", {})
    return summarise(
        frame,
        electorate={
            role: [name for name in electorate.get(role, ()) if name in there]
            for role in ("voters", "held_out")
        },
        checkpoints=entries,
        rules=VotingRules(
            tie_rule=told.get("votes", {}).get("tie_rule", "tie"),
            tie_tolerance={
                name: value
                for name, value in (electorate.get("tie_tolerance") or {}).items()
                if name in there
            },
            trained_against=against,
        ),
        suite=suite or None,
        scorers={name: info for name, info in source.scorers.items() if name in there},
        untruncated=untruncated,
        left_out=left_out,
        resamples=intervals.get("resamples", 10_000),
        seed=intervals.get("seed", 0),
        interval=interval_named(intervals.get("interval", "percentile")),
    )


def _check_same_numbers(results: Mapping[str, Any], source: ScoreSource) -> None:
    """Refuse a scores table that does not give the numbers of the results beside it.

    Raises:
        DataError: naming the first comparison that differs.
    """
    if source.results is None:
        return
    fresh = {(e["a"], e["b"], e["scorer"], e["slice"]): e for e in results["comparisons"]}
    for entry in source.results["comparisons"]:
        for a, b, first, last in (("a", "b", "wins", "losses"), ("b", "a", "losses", "wins")):
            found = fresh.get((entry[a], entry[b], entry["scorer"], entry["slice"]))
            if found is None:
                continue
            before = (entry["pairs"], entry[first], entry["ties"], entry[last])
            now = (found["pairs"], found["wins"], found["ties"], found["losses"])
            if before != now:
                raise DataError(
                    f"{source.path / RESULTS} and the scores beside it do not agree: {found['a']} over {found['b']} by "
                    f"{found['scorer']} on {found['slice']} has {before[1]} wins, {before[2]} ties and {before[3]} losses there, "
                    f"and {now[1]}, {now[2]} and {now[3]} in the scores. They are not of one run: make the results again."
                )
