"""The course over releases: means of every scorer, and win rates of every release over an earlier one.

Two releases are compared, and joined by a line, only where nothing that decides a number differs
(`differences.py`). A scorer whose fingerprint changed breaks its own course and the vote's, not that of the others; other
prompts, seeds or sampling settings break all. After a break the course starts again: the first release of the new stretch is
what the following ones are held against.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from prefbench.bench.baselines.differences import Difference, differences
from prefbench.bench.baselines.provenance import Provenance
from prefbench.bench.baselines.stored import StoredBaseline
from prefbench.bench.exceptions import UsageError
from prefbench.bench.verdict import MAJORITY

__all__ = ["Course", "common_to_all", "in_order"]


def in_order(baselines: Sequence[StoredBaseline], order: Sequence[str] = ()) -> list[StoredBaseline]:
    """Baselines by the date they were saved, or as named.

    Raises:
        UsageError: fewer than two, one twice, or an order that leaves one out or names another.
    """
    names = [each.name for each in baselines]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"The baseline {', '.join(twice)} is given twice. Name each once.")
    if len(names) < 2:
        raise UsageError(
            f"A history needs two baselines or more, not {', '.join(names) or 'none'}. `prefbench baseline save` adds one."
        )
    if not order:
        return sorted(baselines, key=lambda each: (each.saved, each.name))
    if sorted(order) != sorted(names):
        missing = [name for name in names if name not in order]
        odd = [name for name in order if name not in names]
        again = sorted({name for name in order if order.count(name) > 1})
        wrong = [f"lacks {', '.join(missing)}"] * bool(missing) + [
            f"names {', '.join(odd)}, which is not among them"
        ] * bool(odd)
        wrong += [f"names {', '.join(again)} twice"] * bool(again)
        raise UsageError(f"--order {'; '.join(wrong)}. Name each of {', '.join(names)} once, oldest first.")
    return [baselines[names.index(name)] for name in order]


def common_to_all(releases: Sequence[StoredBaseline]) -> pd.DataFrame:
    """The (prompt_id, prompt, seed) that every release has.

    Raises:
        UsageError: there is none.
    """
    key = ["prompt_id", "prompt", "seed"]
    common = releases[0].scores[key].drop_duplicates()
    for release in releases[1:]:
        common = common.merge(release.scores[key].drop_duplicates())
    if common.empty:
        raise UsageError(
            f"{', '.join(release.name for release in releases)} have no (prompt, seed) in common, so no course leads through "
            "all of them. Leave one out, or do not allow prompts and seeds to differ: then the course is drawn in pieces."
        )
    return common


@dataclass(frozen=True)
class Course:
    """Which releases stand in one line, judge by judge. A judge is a scorer, or "majority" for the vote."""

    releases: Sequence[StoredBaseline]
    """In order."""
    voters: Sequence[str]
    allow: Collection[str] = ()

    @cached_property
    def provenances(self) -> list[Provenance]:
        """Of each release, which sentences call by its bare name here."""
        return [replace(release.provenance, source=release.name) for release in self.releases]

    @cached_property
    def scorers(self) -> list[str]:
        """All that scored any release: voters first, then in the order in which they appear."""
        every = dict.fromkeys(name for each in self.provenances for name in each.scorers)
        return [name for name in self.voters if name in every] + [
            name for name in every if name not in self.voters
        ]

    @cached_property
    def _found(self) -> dict[tuple[int, int], list[Difference]]:
        return {}

    def between(self, i: int, j: int) -> list[Difference]:
        """All differences between two releases, allowed or not; clauses name the later one first."""
        key = (max(i, j), min(i, j))
        if key not in self._found:
            self._found[key] = differences(self.provenances[key[0]], self.provenances[key[1]])
        return self._found[key]

    def has(self, i: int, judge: str) -> bool:
        """Whether a release has what it takes: the scorer's scores, or every voter's."""
        return all(name in self.provenances[i].scorers for name in self.needs(judge))

    def needs(self, judge: str) -> Sequence[str]:
        """The scorers behind a judge."""
        return self.voters if judge == MAJORITY else [judge]

    def obstacles(self, i: int, j: int, judge: str) -> list[Difference]:
        """Why two releases cannot be compared by a judge; empty if they can."""
        return [
            each
            for each in self.between(i, j)
            if (each.scorer is None or each.scorer in self.needs(judge))
            and (each.kind not in self.allow or self._is_missing(each, i, j))
        ]

    def _is_missing(self, each: Difference, i: int, j: int) -> bool:
        """A scorer that one release lacks cannot be allowed into being."""
        return each.scorer is not None and not all(each.scorer in self.provenances[k].scorers for k in (i, j))

    def joined(self, i: int, j: int, judge: str) -> bool:
        """Whether two releases may be compared by a judge."""
        return self.has(i, judge) and self.has(j, judge) and not self.obstacles(i, j, judge)

    def reference(self, i: int, judge: str, against: str) -> int | None:
        """The release that release `i` is held against; None if it is the first of its stretch, or there is none.

        Args:
            i: place of the release.
            judge: a scorer, or "majority".
            against: "first" (of the stretch), "previous", or the name of a release.
        """
        if against == "first":
            places: Iterable[int] = range(i)
        elif against == "previous":
            places = [i - 1] if i else []
        else:
            places = [self._place(against)] if self.releases[i].name != against else []
        return next((j for j in places if self.joined(i, j, judge)), None)

    def breaks(self) -> list[dict[str, Any]]:
        """Where a course is interrupted between a release and the next: {"after", "before", "kind", "text", "judges"}."""
        found = []
        for i in range(len(self.releases) - 1):
            reasons: dict[tuple[str, str], list[str]] = {}
            for judge in (MAJORITY, *self.scorers):
                for each in self.obstacles(i, i + 1, judge):
                    reasons.setdefault((each.kind, each.text), []).append(judge)
            found += [
                {
                    "after": self.releases[i].name,
                    "before": self.releases[i + 1].name,
                    "kind": kind,
                    "text": text,
                    "judges": judges,
                }
                for (kind, text), judges in reasons.items()
            ]
        return found

    def why_not(self, i: int, judge: str, against: str) -> str | None:
        """Why a release is held against none by a judge; None where it is itself what others are held against."""
        if lacking := self._lacking(i, judge):
            return lacking
        if against == "first":
            return None
        j = i - 1 if against == "previous" else self._place(against)
        if j in (-1, i):
            return None
        return self._lacking(j, judge) or "; ".join(each.text for each in self.obstacles(i, j, judge))

    def _lacking(self, i: int, judge: str) -> str | None:
        gone = [name for name in self.needs(judge) if name not in self.provenances[i].scorers]
        return f"{self.releases[i].name} was not scored by {', '.join(gone)}" if gone else None

    def _place(self, name: str) -> int:
        return next(place for place, release in enumerate(self.releases) if release.name == name)
