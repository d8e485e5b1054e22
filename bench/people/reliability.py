"""How far each annotator can be relied on: agreement with the others, the side of the screen, and flags.

Four p-values an annotator, one-sided but for the side:

* `p_above`: agrees with the others more than chance; all answers for a prompt flipped at once (`tally/permutation.py`).
* `p_below`: agrees with the others less than chance, as somebody would who has the two sides mixed up. Of this and
  `p_above`, the one on the wrong side is 1.
* `p_typical`: as many judgements of anybody would agree as little with the others (`tally/annotator_tests.py`). Compared
  are judgements of the same two checkpoints with the same number of others, and a prompt is one value (`comparable.py`).
  Assumes that pairs were dealt out without regard to how hard they are.
* `p_side`: the side of the screen makes a difference (`tally/annotator_tests.py`, too).

The last two accuse, so they are one family: Holm's procedure over both and all annotators. If nobody is worse than the
others or leans to a side, the chance that anybody at all is flagged is 5 % at most. `p_above` clears and is not adjusted:
who agrees with the others beyond chance, but less than they do, is no case for a flag. `p_below` only gives a flag its name.
Somebody who answers at random is at chance *and* behind the others; where the judgements are too few to tell, that is what
is said. Two annotators agree equally often with each other, so which of them is careless cannot be told. The rules are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from prefbench.bench.judges.people import Decisions, against_rest
from prefbench.bench.people.comparable import Meetings
from prefbench.bench.people.shown_pairs import ShownPairs
from prefbench.bench.tally.annotator_tests import side_p_value, typical_tail
from prefbench.bench.tally.multiplicity import holm
from prefbench.bench.tally.permutation import vote_flip_p_values
from prefbench.bench.tally.resampling import cluster_sums
from prefbench.bench.tally.win_rate import WinRate, tally

__all__ = ["ALPHA", "FLAGGED", "ONE_SIDE", "TESTS", "Annotator", "weigh_annotators"]

Ints = npt.NDArray[np.int64]

ALPHA = 0.05
ONE_SIDE = 0.9
"""Who chooses one side this often, and not by chance, is flagged whatever the others say."""

FLAGGED = ("like chance", "contrary", "one side")
"""Verdicts that are flags; the others are "agrees", "agrees less" and "cannot tell"."""

TESTS = (
    "like chance: agrees with the others less than as many comparable judgements of anybody would, and not detectably more "
    "than chance; contrary: such an annotator who agrees detectably less than chance; one side: chooses one side of the screen "
    f"{100 * ONE_SIDE:.0f} % of the time or more, beyond what preferences explain. Holm over all annotators and both "
    f"tests, {ALPHA:.2f}"
)
"""What the flags mean, in the words of people.json."""


@dataclass(frozen=True)
class Annotator:
    """One annotator; a count of judgements unless it says otherwise.

    Attributes:
        name: as the data has it.
        judgements: all.
        prompts: distinct prompts.
        ties: judgements that are ties.
        sided: choices, no ties, of pairs whose order on the screen is known.
        first: those of them that went to the image shown first.
        p_side: of the module's text, as Holm adjusts it, as `p_typical` is; None: cannot be computed.
        met: judgements of pairs that somebody else judged too.
        agreement: with the majority of the others: `win_rate` is the share, a tie and a choice half; None where nobody is met.
        typical: the same share in as many comparable judgements of anybody.
        verdict: "agrees", "agrees less", "cannot tell", or one of `FLAGGED`.
    """

    name: str
    judgements: int
    prompts: int
    ties: int
    sided: int
    first: int
    p_side: float | None
    met: int = 0
    agreement: WinRate | None = None
    typical: float | None = None
    p_above: float | None = None
    p_below: float | None = None
    p_typical: float | None = None
    verdict: str = ""

    @property
    def flagged(self) -> bool:
        """Whether the verdict is a flag."""
        return self.verdict in FLAGGED


def weigh_annotators(pairs: ShownPairs, *, resamples: int, seed: int) -> list[Annotator]:
    """Every annotator, in the order of `pairs.annotators`.

    Args:
        pairs: the judgements.
        resamples: bootstrap samples of prompts for the intervals of agreement.
        seed: of the bootstrap.
    """
    decisions = against_rest(pairs.choices, others=1)
    meetings = Meetings(pairs, decisions) if decisions else None
    found = []
    for one in range(len(pairs.annotators)):
        each = _counted(pairs, one)
        mine = decisions.annotator == one if decisions else np.zeros(0, dtype=bool)
        if decisions and meetings and mine.any():
            rng = np.random.default_rng(seed)
            typical = float((1 + meetings.expected[mine].mean()) / 2)
            each = _met(each, decisions, mine, pairs.clusters, resamples, rng)
            each = replace(each, typical=typical, p_typical=typical_tail(meetings.comparable(one)))
        found.append(each)
    return [replace(each, verdict=_verdict(each)) for each in _adjusted(found)]


def _counted(pairs: ShownPairs, one: int) -> Annotator:
    """What can be said of an annotator without any other."""
    answers, first = pairs.answers[one], pairs.first[one]
    judged = ~np.isnan(answers)
    sided = judged & (first != 0) & (answers != 0)
    return Annotator(
        name=pairs.annotators[one],
        judgements=int(judged.sum()),
        prompts=len(np.unique(pairs.clusters[judged])),
        ties=int((answers == 0).sum()),
        sided=int(sided.sum()),
        first=int((first[sided] == answers[sided]).sum()),
        p_side=side_p_value(first[sided] == 1, answers[sided] == 1, pairs.comparison[sided]),
    )


def _met(
    each: Annotator,
    decisions: Decisions,
    mine: npt.NDArray[np.bool_],
    clusters: Ints,
    resamples: int,
    rng: np.random.Generator,
) -> Annotator:
    """The same with the agreement with the others; `mine` are the annotator's decisions."""
    prompts = clusters[decisions.pair[mine]]
    said, rest = decisions.person[mine].astype(np.int64), decisions.answer[mine].astype(np.int64)
    alike = 1 - np.abs(said - rest)
    net, _ = cluster_sums((said * rest)[:, None], prompts)
    total, half = net.sum(), float(vote_flip_p_values(net)[0]) / 2
    return replace(
        each,
        met=len(alike),
        agreement=tally(alike[:, None], None, prompts, resamples=resamples, rng=rng)[0][0],
        p_above=half if total > 0 else 1.0,
        p_below=half if total < 0 else 1.0,
    )


def _adjusted(found: Sequence[Annotator]) -> list[Annotator]:
    """The same with the p-values that accuse as Holm adjusts them, all in one family."""
    kinds = ("p_typical", "p_side")
    places = [(k, kind) for k, each in enumerate(found) for kind in kinds if getattr(each, kind) is not None]
    adjusted = holm([getattr(found[k], kind) for k, kind in places])
    changes: list[dict[str, float]] = [{} for _ in found]
    for (k, kind), p_value in zip(places, adjusted.tolist(), strict=True):
        changes[k][kind] = p_value
    return [replace(each, **change) for each, change in zip(found, changes, strict=True)]  # type: ignore[arg-type]


def _verdict(each: Annotator) -> str:
    def rejected(p_value: float | None) -> bool:
        return p_value is not None and p_value <= ALPHA

    side = max(each.first, each.sided - each.first) / each.sided if each.sided else 0.0
    if rejected(each.p_side) and side >= ONE_SIDE:
        return "one side"
    if rejected(each.p_above):
        return "agrees less" if rejected(each.p_typical) else "agrees"
    if not rejected(each.p_typical):
        return "cannot tell"
    return "contrary" if rejected(each.p_below) else "like chance"
