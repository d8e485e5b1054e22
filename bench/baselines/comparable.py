"""May these two checkpoints' scores be compared? What decides a number must agree, or be allowed by name.

What can differ, and why, stands in `prefbench.bench.baselines.differences`. Each kind has its own `--allow`. Where neither
side's record states something, nothing contradicts, and a sentence says so.

Nor may they be one and the same: a gate over a checkpoint and itself would pass, and whoever named the wrong file would
release on it. That, too, has its `--allow`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.baselines.differences import KINDS, capital, differences, in_sentences, not_recorded
from prefbench.bench.baselines.provenance import Provenance
from prefbench.bench.exceptions import UsageError
from prefbench.bench.registry import unknown_name
from prefbench.bench.scores_table import OPTIONAL

__all__ = [
    "IDENTICAL",
    "check_comparable",
    "check_identity",
    "check_kinds",
    "check_outcome",
    "common_samples",
    "common_scores",
]

IDENTICAL = "identical"
"""Of `--allow`: the two are one checkpoint, or no voter tells them apart."""


def check_comparable(candidate: Provenance, baseline: Provenance, allow: Collection[str] = ()) -> list[str]:
    """Refuse two checkpoints that differ in what decides the numbers.

    Args:
        candidate: of the checkpoint in question.
        baseline: of what it is held against.
        allow: kinds of difference that are accepted. With "prompts" or "seeds" only the (prompt, seed) that both have may be
            compared, with "scorers" only the scorers that both have: `common_scores` makes that table.

    Returns:
        Sentences to be printed with the result: each allowed difference, and what neither side's record tells. Empty for two
        checkpoints of one run, which agree by construction.

    Raises:
        UsageError: naming every difference that is not allowed; an unknown kind; or nothing in common.
    """
    check_kinds(allow)
    if candidate.origin is not None and candidate.origin == baseline.origin:
        return []
    found = differences(candidate, baseline)
    refused = [each for each in found if each.kind not in allow]
    if refused:
        kinds = [kind for kind in KINDS if any(each.kind == kind for each in refused)]
        remedy = ", ".join(f"--allow {kind}" for kind in kinds)
        raise UsageError(
            f"{capital(candidate.source)} and {baseline.source} cannot be compared. {in_sentences(refused)} Make both with one "
            f"suite and the same scorers, or accept by name what is meant: {remedy}."
        )
    kinds = [kind for kind in KINDS if any(each.kind == kind for each in found)]
    sentences = [f"Allowed: {in_sentences([each for each in found if each.kind == kind])}" for kind in kinds]
    if {"prompts", "seeds"} & set(kinds):
        sentences.append(_common_sentence(candidate, baseline))
    return sentences + not_recorded(candidate, baseline)


def check_kinds(allow: Collection[str], known: Collection[str] = KINDS) -> None:
    """Raises UsageError for a kind that does not exist, with the nearest."""
    for kind in allow:
        if kind not in known:
            raise unknown_name("difference in --allow", kind, list(known))


def check_identity(
    names: Sequence[str],
    entries: Sequence[Mapping[str, Any]],
    allow: Collection[str] = (),
    *,
    one_setting: bool = True,
) -> list[str]:
    """Refuse one checkpoint under two names, where its fingerprint or its pictures tell.

    Args:
        names: of the two.
        entries: theirs in results.json, of which "identity" and "pixels" are looked at.
        allow: `IDENTICAL`, where it is meant.
        one_setting: whether both were drawn with the same settings. If not, one checkpoint is not refused: the settings may be
            what is asked about.

    Returns:
        A sentence to be printed with the result, where it is allowed.

    Raises:
        UsageError: they are one.
    """
    told = {"identity": "their files have one fingerprint"} if one_setting else {}
    told["pixels"] = "their pictures are the same, pixel for pixel"
    ours, theirs = entries
    same = [text for key, text in told.items() if ours.get(key) and ours[key] == theirs.get(key)]
    return (
        _identical(f"the checkpoints {' and '.join(names)} are one: {' and '.join(same)}", allow)
        if same
        else []
    )


def check_outcome(
    names: Sequence[str], scores: npt.NDArray[np.float64], voters: Sequence[str], allow: Collection[str] = ()
) -> list[str]:
    """Refuse two checkpoints that no voter tells apart on any sample.

    Args:
        names: of the two.
        scores: of the voters, shape (2, samples, voters).
        voters: names.
        allow: `IDENTICAL`, where it is meant.

    Returns:
        A sentence to be printed with the result, where it is allowed.

    Raises:
        UsageError: every difference is exactly 0.
    """
    if (scores[0] != scores[1]).any():
        return []
    return _identical(
        f"the checkpoints {' and '.join(names)} have exactly the same score on all {scores.shape[1]:,} (prompt, seed) by every "
        f"voter ({', '.join(voters)}): they are one checkpoint under two names, or the voters give every picture the same",
        allow,
    )


def _identical(found: str, allow: Collection[str]) -> list[str]:
    if IDENTICAL in allow:
        return [f"Allowed: {found}."]
    raise UsageError(
        f"{capital(found)}. A gate between them says nothing about a release, and would mostly pass. See whether --candidate, "
        f"--baseline and the file are those that you mean; if so, accept it by name: --allow {IDENTICAL}."
    )


def common_samples(candidate: Provenance, baseline: Provenance) -> frozenset[tuple[str, int]]:
    """The (prompt id, seed) that both have under the same text."""
    alike = {key for key, text in candidate.texts.items() if baseline.texts.get(key) == text}
    return frozenset(sample for sample in candidate.samples & baseline.samples if sample[0] in alike)


def common_scores(candidate: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """One scores table of two checkpoints: what both have, by prompt id, text, seed and scorer.

    Args:
        candidate: rows of one checkpoint.
        baseline: rows of the other. Categories and challenges are the candidate's.

    Raises:
        UsageError: both have one name, or there is nothing that both have.
    """
    names = [sorted(frame["checkpoint"].unique()) for frame in (candidate, baseline)]
    if names[0] == names[1]:
        raise UsageError(
            f"The candidate and the baseline are both called {', '.join(names[0])}. Save the baseline under a name of its own."
        )
    key = ["prompt_id", "prompt", "seed", "scorer"]
    slices = [name for name in OPTIONAL if name in candidate]
    both = candidate[[*key, *slices]].merge(baseline[key])
    if both.empty:
        raise UsageError(
            f"{', '.join(names[0])} and {', '.join(names[1])} have no (prompt, seed, scorer) in common. There is nothing to "
            "compare."
        )
    rows = [frame[["checkpoint", *key, "score"]].merge(both) for frame in (candidate, baseline)]
    return pd.concat(rows, ignore_index=True)


def _common_sentence(candidate: Provenance, baseline: Provenance) -> str:
    common = common_samples(candidate, baseline)
    if not common:
        raise UsageError(
            f"{capital(candidate.source)} and {baseline.source} have no (prompt, seed) in common, so there is nothing to "
            "compare even where prompts and seeds may differ. Make both with one suite."
        )
    return (
        f"Compared are the {len(common):,} (prompt, seed) that both have, of {len(candidate.samples):,} in {candidate.source} "
        f"and {len(baseline.samples):,} in {baseline.source}."
    )
