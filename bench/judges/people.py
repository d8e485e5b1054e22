"""How far people agree with one another, and with a scorer by the same count.

A decision holds one answer for a pair (1, -1, or 0 for a tie) against another: 1 where they are alike, two ties included, 1/2
where exactly one is a tie, 0 where they are opposed. Shares are pooled over all decisions, so a prompt with more images
counts more; intervals draw prompts, each with all its decisions.

For a person and a scorer to be comparable they meet the same opponents: single annotators (`against_one`), or the label of
all annotators but one, each left out in turn (`against_rest`). A scorer held against the label of *all* annotators has it
easier than a person can.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prefbench.bench.judges.choices import HumanChoices, signs
from prefbench.bench.tally.win_rate import WinRate, tally

__all__ = ["PERSON", "Decisions", "MetAlike", "against_one", "against_rest", "meet"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Votes = npt.NDArray[np.int8]

PERSON = "a person"
"""The name under which people stand among the scorers."""


@dataclass(frozen=True)
class Decisions:
    """D answers to be met.

    Attributes:
        pair: (D,) number of the pair.
        answer: (D,) in {-1, 0, 1}: of one annotator, or of all but one.
        person: (D,) what another annotator, or the one left out, says.
        annotator: (D,) number of that annotator.
    """

    pair: Ints
    answer: Votes
    person: Votes
    annotator: Ints


@dataclass(frozen=True)
class MetAlike:
    """How often somebody gives the answer that is to be met."""

    rate: WinRate
    """`win_rate` is the share; `wins` alike, `ties` one of the two says tie, `losses` opposed; `pairs` counts decisions."""
    decided: float | None
    """Share of alike answers among those where neither is a tie; None where there is none."""


def against_one(choices: HumanChoices) -> Decisions | None:
    """Every annotator against every other one, on each pair that both judged; None where there is no such pair."""
    differences = choices.differences
    found = []
    for one, answers in enumerate(differences):
        for other, persons in enumerate(differences):
            if one != other:
                both = np.flatnonzero(~np.isnan(answers) & ~np.isnan(persons))
                found.append(
                    (both, np.sign(answers[both]), np.sign(persons[both]), np.full(len(both), other))
                )
    return _decisions(found)


def against_rest(choices: HumanChoices, *, others: int = 2) -> Decisions | None:
    """Every annotator against the label of the others, made as that of all.

    Args:
        choices: of several annotators.
        others: how many others a pair must have at least. With one this is for a pair of two annotators `against_one`.

    Returns:
        None where no pair has so many.
    """
    differences = choices.differences
    enough = (~np.isnan(differences)).sum(axis=0) > others
    found = []
    for one, persons in enumerate(differences):
        met = np.flatnonzero(enough & ~np.isnan(persons))
        rest = np.delete(differences[:, met], one, axis=0)
        found.append((met, signs(rest, choices.label), np.sign(persons[met]), np.full(len(met), one)))
    return _decisions(found)


def _decisions(found: list[tuple[Ints, Floats, Floats, Ints]]) -> Decisions | None:
    if not sum(len(pair) for pair, *_ in found):
        return None
    pair, answer, person, annotator = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Decisions(pair, answer.astype(np.int8), person.astype(np.int8), annotator)


def meet(
    decisions: Decisions,
    verdicts: Mapping[str, Votes],
    clusters: Ints,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, MetAlike]:
    """How often a person, and each scorer, gives the answer that is to be met.

    Args:
        decisions: from `against_one` or `against_rest`.
        verdicts: scorer -> (N,) in {-1, 0, 1}, its exact ties 0.
        clusters: (N,) prompt of each pair.
        resamples: bootstrap samples.
        rng: source of the draws, the same for everybody.

    Returns:
        `PERSON` first, then the scorers.
    """
    said = {PERSON: decisions.person} | {name: votes[decisions.pair] for name, votes in verdicts.items()}
    alike = np.stack([1 - np.abs(decisions.answer - answers) for answers in said.values()], axis=1)
    rates, _ = tally(alike, None, clusters[decisions.pair], resamples=resamples, rng=rng)
    met = {}
    for rate, (name, answers) in zip(rates, said.items(), strict=True):
        decided = (decisions.answer != 0) & (answers != 0)
        share = float((decisions.answer == answers)[decided].mean()) if decided.any() else None
        met[name] = MetAlike(rate, share)
    return met
