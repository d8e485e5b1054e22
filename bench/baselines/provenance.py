"""What decides whether two checkpoints' scores may be compared, whether they come from a run or from a stored baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

__all__ = ["Provenance", "provenance_of"]

FINISHED = "images"
"""Kind of a checkpoint that is a folder of finished images: the run's sampling settings did not draw them."""


@dataclass(frozen=True)
class Provenance:
    """Where one checkpoint's scores come from. What nobody said is None, never a default."""

    source: str
    """As errors name it: "the run runs/today", "the baseline sd15-2026-11"."""
    checkpoint: str
    origin: str | None
    """Equal in two provenances of one run; None where that cannot be told."""
    texts: Mapping[str, str]
    """Prompt id -> text, of every prompt with a score."""
    samples: frozenset[tuple[str, int]]
    """Every (prompt id, seed) with a score."""
    scorers: Mapping[str, Mapping[str, Any]]
    """Scorer -> its description, as in results.json; of a bare scores table without a fingerprint."""
    suite: str | None = None
    prompt_sets: tuple[Mapping[str, Any], ...] = ()
    """Each {"name", "version", "sha256", "prompts"}."""
    sampling: Mapping[str, Any] | None = None
    """Settings that drew the images; None for finished images and for scores made elsewhere."""
    electorate: Mapping[str, Any] | None = None
    """{"voters", "held_out", ...}; None where nobody said who votes."""
    about: Mapping[str, Any] | None = None
    """The checkpoint's entry in results.json: spec, kind, identity, training, ..."""
    prefbench: str | None = None
    """Version that made the results."""
    created: str | None = None
    """When it made them, ISO time."""

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that occur, in order."""
        return tuple(sorted({seed for _, seed in self.samples}))


def provenance_of(
    scores: pd.DataFrame,
    checkpoint: str,
    results: Mapping[str, Any] | None,
    *,
    source: str,
    origin: str | None,
    scorers: Mapping[str, Mapping[str, Any]] | None = None,
) -> Provenance:
    """The provenance of one checkpoint's scores.

    Args:
        scores: a checked scores table; rows of other checkpoints are left out.
        checkpoint: its name in the table.
        results: the dict of results.json that belongs to the table; None for a bare table.
        source: how errors name it.
        origin: see `Provenance.origin`.
        scorers: descriptions where there are no results: those of `prefbench score`.
    """
    rows = scores[scores["checkpoint"] == checkpoint]
    texts = dict(zip(rows["prompt_id"], rows["prompt"], strict=True))
    samples = frozenset(zip(rows["prompt_id"], map(int, rows["seed"]), strict=True))
    told = (results or {}).get("scorers") or scorers or {}
    there = list(dict.fromkeys(rows["scorer"]))
    names = [name for name in told if name in there] + [name for name in there if name not in told]
    known: dict[str, Any] = {}
    if results is not None:
        suite, about = results["suite"], results["checkpoints"].get(checkpoint) or {}
        drawn = about.get("kind") != FINISHED
        bare = not suite.get("prompt_sets")
        known = {
            "suite": None if bare else suite.get("name"),
            "prompt_sets": tuple(suite.get("prompt_sets") or ()),
            "sampling": suite.get("sampling") if drawn else None,
            "electorate": suite.get("electorate"),
            "about": about,
            "prefbench": results.get("prefbench"),
            "created": results.get("created"),
        }
    return Provenance(
        source=source,
        checkpoint=checkpoint,
        origin=origin,
        texts=texts,
        samples=samples,
        scorers={name: dict(told.get(name) or {"name": name}) for name in names},
        **known,
    )
