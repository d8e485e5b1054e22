"""Judgements that can be compared: of the same two checkpoints, met by the same number of others."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from prefbench.bench.judges.people import Decisions
from prefbench.bench.people.shown_pairs import ShownPairs

__all__ = ["ENOUGH", "Meetings"]

Ints = npt.NDArray[np.int64]

ENOUGH = 10
"""What others said for a prompt, so often at least, where more than one judgement of a prompt is compared; ours."""


class Meetings:
    """How every judgement agrees with the majority of the others, sorted by what it can be compared with.

    A judgement's kind is its two checkpoints and the number of others. Somebody who is alike on one image of a prompt tends
    to be so on the others, so the sum over a prompt is one value, and compared with sums over judgements of the same kinds.
    With gaps hardly any two have the same kinds for a whole prompt. Then a prompt counts with as many of its judgements, the
    commonest kinds first, as `ENOUGH` prompts of others begin with too; with one of them at least. Which ones these are
    depends on who judged what, and on no answer.

    Args:
        pairs: the judgements.
        decisions: every annotator against the others, from `against_rest`.

    Attributes:
        expected: of each decision the mean agreement of its kind, in judgements alike less opposed.
    """

    def __init__(self, pairs: ShownPairs, decisions: Decisions) -> None:
        others = (~np.isnan(pairs.answers)).sum(axis=0) - 1
        kind = (pairs.comparison * (int(others.max()) + 1) + others)[decisions.pair]
        alike = 1 - np.abs(decisions.answer.astype(np.int64) - decisions.person)
        _, number, judged = np.unique(kind, return_inverse=True, return_counts=True)
        self.expected = (np.bincount(number, weights=alike) / judged)[number]
        rarity = np.argsort(np.argsort(-judged, kind="stable"))[number]
        # How a prompt's judgements begin, numbered: by the number of all but the last, and the kind of the last.
        numbers: dict[tuple[int, int], int] = {}
        self._begun: dict[int, dict[int, list[tuple[int, int]]]] = {}
        values: dict[int, list[int]] = {}
        self._counts: Counter[tuple[int, int]] = Counter()
        for place in np.argsort(rarity, kind="stable"):
            annotator, prompt = int(decisions.annotator[place]), int(pairs.clusters[decisions.pair[place]])
            begun = self._begun.setdefault(annotator, {}).setdefault(prompt, [])
            before, total = begun[-1] if begun else (-1, 0)
            kinds = numbers.setdefault((before, int(rarity[place])), len(numbers))
            begun.append((kinds, total + int(alike[place])))
            values.setdefault(kinds, []).append(begun[-1][1])
            self._counts[kinds, annotator] += 1
        self._values = {kinds: np.array(totals) for kinds, totals in values.items()}

    def comparable(self, one: int) -> list[tuple[Ints, Ints]]:
        """Of each kind of what annotator `one` said, a value a prompt: agreement of everybody, and of `one`."""
        own: dict[int, list[int]] = {}
        for begun in self._begun.get(one, {}).values():
            others = [len(self._values[kinds]) - self._counts[kinds, one] for kinds, _ in begun]
            kinds, total = begun[max((n for n, of in enumerate(others) if of >= ENOUGH), default=0)]
            own.setdefault(kinds, []).append(total)
        return [(self._values[kinds], np.array(found)) for kinds, found in own.items()]
