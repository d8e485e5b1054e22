"""Judgements that can be compared: of the same two checkpoints, met by the same number of others."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from prefbench.bench.judges.people import Decisions
from prefbench.bench.people.shown_pairs import ShownPairs

__all__ = ["ENOUGH", "Meetings"]

Ints = npt.NDArray[np.int64]
Kind = tuple[int, ...]

ENOUGH = 10
"""Prompts of others that whole prompts of a kind are compared with at least; ours."""


class Meetings:
    """How every judgement agrees with the majority of the others, sorted by what it can be compared with.

    A judgement's kind is its two checkpoints and the number of others; the kind of all that an annotator said for a prompt
    is the list of these. Somebody who is alike on one image of a prompt tends to be so on the others, so a prompt is
    compared as a whole with prompts of its kind.

    Args:
        pairs: the judgements.
        decisions: every annotator against the others, from `against_rest`.
    """

    def __init__(self, pairs: ShownPairs, decisions: Decisions) -> None:
        others = (~np.isnan(pairs.answers)).sum(axis=0) - 1
        kinds = (pairs.comparison * (int(others.max()) + 1) + others)[decisions.pair]
        alike = (1 - np.abs(decisions.answer.astype(np.int64) - decisions.person)).tolist()
        prompts = pairs.clusters[decisions.pair]
        said: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for annotator, prompt, kind, value in zip(
            decisions.annotator.tolist(), prompts.tolist(), kinds.tolist(), alike, strict=True
        ):
            said.setdefault((annotator, prompt), []).append((kind, value))
        values: dict[Kind, list[int]] = {}
        self._of: dict[int, list[tuple[Kind, int, list[tuple[int, int]]]]] = {}
        self._counts: Counter[tuple[Kind, int]] = Counter()
        for (annotator, _), judged in said.items():
            kind, total = tuple(sorted(k for k, _ in judged)), sum(value for _, value in judged)
            self._of.setdefault(annotator, []).append((kind, total, judged))
            self._counts[kind, annotator] += 1
            values.setdefault(kind, []).append(total)
        self._whole = {kind: np.array(totals) for kind, totals in values.items()}
        self._single = {kind: np.array(alike)[kinds == kind] for kind in np.unique(kinds).tolist()}

    def comparable(self, one: int) -> list[tuple[Ints, Ints]]:
        """Of each kind of what annotator `one` said: agreement of everybody, and of `one`, in judgements alike less opposed."""
        own: dict[tuple[str, Kind], list[int]] = {}
        for kind, total, judged in self._of.get(one, []):
            if len(self._whole[kind]) - self._counts[kind, one] >= ENOUGH:
                own.setdefault(("whole", kind), []).append(total)
            else:
                for single, value in judged:
                    own.setdefault(("single", (single,)), []).append(value)
        return [
            (self._whole[kind] if how == "whole" else self._single[kind[0]], np.array(found))
            for (how, kind), found in own.items()
        ]
