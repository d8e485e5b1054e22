"""Judgements as one array: annotators by pairs of images, each pair told the same way round."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.judges.choices import HumanChoices
from prefbench.bench.people.votes_table import Judgements

__all__ = ["ShownPairs", "arrange_votes"]

VALUES = {"a": (1.0, 0.0), "b": (0.0, 1.0), "tie": (0.5, 0.5)}
"""Choice -> value of the image that is shown as a, and of b."""


@dataclass(frozen=True)
class ShownPairs:
    """A annotators, N pairs of images with one prompt and seed.

    Attributes:
        annotators: names, A, in order of first appearance.
        about: one row a pair: prompt_id, prompt, seed, and the checkpoints `a` and `b`.
        choices: the same as `prefbench judges` takes it, two places a pair, that of `a` first.
        first: (A, N) 1 where `a` was shown first, -1 where `b` was, 0 where the annotator did not judge the pair or the
            order is not known.
    """

    annotators: list[str]
    about: pd.DataFrame
    choices: HumanChoices
    first: npt.NDArray[np.int8]

    @cached_property
    def answers(self) -> npt.NDArray[np.float64]:
        """(A, N) 1 where the image of `a` was preferred, -1 that of `b`, 0 for a tie, NaN where it was not judged."""
        return np.sign(self.choices.differences)

    @cached_property
    def clusters(self) -> npt.NDArray[np.int64]:
        """(N,) number of each pair's prompt: equal for equal texts."""
        return self.choices.clusters

    @cached_property
    def comparisons(self) -> list[tuple[str, str]]:
        """The compared checkpoints (a, b), in order of first appearance."""
        return list(dict.fromkeys(zip(self.about["a"], self.about["b"], strict=True)))

    @cached_property
    def comparison(self) -> npt.NDArray[np.int64]:
        """(N,) place of each pair's checkpoints in `comparisons`."""
        number = {pair: k for k, pair in enumerate(self.comparisons)}
        return np.array(
            [number[pair] for pair in zip(self.about["a"], self.about["b"], strict=True)], np.int64
        )


def arrange_votes(
    judgements: Judgements,
    *,
    order: Sequence[str] = (),
    only: tuple[str, str] | None = None,
    without: Collection[str] = (),
) -> ShownPairs:
    """The array of some judgements.

    Args:
        judgements: with prompt ids.
        order: checkpoints in the order in which one is named `a` rather than `b`; others follow in order of appearance.
        only: the two checkpoints to look at; None for all.
        without: annotators to leave out.
    """
    table = judgements.table[~judgements.table["annotator"].isin(list(without))]
    if only:
        table = table[table["checkpoint_a"].isin(only) & table["checkpoint_b"].isin(only)]
    place = {
        name: k
        for k, name in enumerate(
            dict.fromkeys([*order, *table[["checkpoint_a", "checkpoint_b"]].to_numpy().ravel()])
        )
    }
    people = {name: k for k, name in enumerate(dict.fromkeys(table["annotator"]))}
    pairs: dict[tuple[str, int, str, str], int] = {}
    about: list[tuple[str, str, int, str, str]] = []
    at: list[tuple[int, int, float, float, int]] = []
    columns = ("prompt_id", "prompt", "seed", "checkpoint_a", "checkpoint_b", "choice", "annotator")
    for prompt_id, prompt, seed, left, right, choice, annotator in zip(
        *(table[c].tolist() for c in columns), strict=True
    ):
        a, b = sorted((left, right), key=place.__getitem__)
        number = pairs.setdefault((prompt_id, seed, a, b), len(pairs))
        if number == len(about):
            about.append((prompt_id, prompt, seed, a, b))
        values = VALUES[choice] if a == left else VALUES[choice][::-1]
        at.append((people[annotator], number, *values, 1 if a == left else -1))
    return _arranged(judgements, list(people), about, at)


def _arranged(
    judgements: Judgements,
    people: list[str],
    about: list[tuple[str, str, int, str, str]],
    at: list[tuple[int, int, float, float, int]],
) -> ShownPairs:
    """From (annotator, pair, value of a, value of b, which was first), one a judgement."""
    n = len(about)
    values = np.full((len(people), 2 * n), np.nan)
    first = np.zeros((len(people), n), dtype=np.int8)
    for annotator, number, of_a, of_b, side in at:
        values[annotator, 2 * number : 2 * number + 2] = of_a, of_b
        first[annotator, number] = side if judgements.ordered else 0
    prompts = [prompt or prompt_id for prompt_id, prompt, *_ in about for _ in (0, 1)]
    choices = HumanChoices(
        judgements.source,
        judgements.form,
        prompts,
        np.repeat(np.arange(n), 2),
        values,
        np.arange(2 * n).reshape(n, 2),
        "majority",
        comparable=False,
        names=[str(place) for place in range(2 * n)],
        named=False,
    )
    frame = pd.DataFrame(about, columns=["prompt_id", "prompt", "seed", "a", "b"])
    return ShownPairs(people, frame, choices, first)
