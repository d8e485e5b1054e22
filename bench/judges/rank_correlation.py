"""Whether a scorer orders the images of a prompt as people do, and ratings of all prompts together."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from prefbench.bench.judges.choices import HumanChoices
from prefbench.bench.judges.people import PERSON
from prefbench.bench.tally.win_rate import MeanDifference, tally

__all__ = ["Correlation", "mean_values", "over_all", "within_prompts"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """Kendall's tau-b, the mean over groups of images."""

    tau: MeanDifference | None
    """None where tau is defined for no group."""
    groups: int
    """Groups (for a person: group x two annotators) that count."""
    undefined: int
    """Those left out, because all scores or all values are equal, or fewer than two images have both."""


def mean_values(choices: HumanChoices) -> Floats:
    """(S,) mean over the annotators of an image's value: mean rating, or mean rank turned so that higher is better."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an image that nobody judged stays NaN
        mean: Floats = np.nanmean(choices.values, axis=0)
    return mean


def within_prompts(
    choices: HumanChoices, scores: Mapping[str, Floats], *, resamples: int, rng: np.random.Generator
) -> dict[str, Correlation]:
    """Kendall's tau-b within each group, averaged; intervals draw prompts with all their groups.

    A scorer is held against the mean value over the annotators, a person (`PERSON`) against each other annotator. Without
    ties tau is 2 x agreement - 1; tau-b divides by what ties leave.

    Args:
        choices: with groups of more than two images.
        scores: scorer -> (S,), higher is better.
        resamples: bootstrap samples.
        rng: source of the draws.

    Returns:
        `PERSON` first where there are several annotators, then the scorers.
    """
    means = mean_values(choices)
    places = [np.flatnonzero(choices.group == number) for number in np.unique(choices.group)]
    numbers = {text: k for k, text in enumerate(dict.fromkeys(choices.prompts))}
    prompt = np.array([numbers[choices.prompts[int(part[0])]] for part in places])
    found = {}
    if len(choices.values) > 1:
        taus = [
            [_tau(choices.values[one, part], choices.values[other, part]) for part in places]
            for one, other in combinations(range(len(choices.values)), 2)
        ]
        found[PERSON] = _mean(np.array(taus).ravel(), np.tile(prompt, len(taus)), resamples, rng)
    for name, values in scores.items():
        taus_of = np.array([_tau(values[part], means[part]) for part in places])
        found[name] = _mean(taus_of, prompt, resamples, rng)
    return found


def over_all(choices: HumanChoices, scores: Mapping[str, Floats]) -> dict[str, dict[str, float | None]]:
    """Kendall's tau-b, Spearman's rho and Pearson's r of scores and mean ratings over the images of all prompts.

    Args:
        choices: `comparable`.
        scores: scorer -> (S,), higher is better.

    Returns:
        Scorer -> {"kendall", "spearman", "pearson"}, None where all scores or all ratings are equal.
    """
    means = mean_values(choices)
    measures = {"kendall": stats.kendalltau, "spearman": stats.spearmanr, "pearson": stats.pearsonr}
    found: dict[str, dict[str, float | None]] = {}
    for name, values in scores.items():
        both = ~np.isnan(values) & ~np.isnan(means)  # an image that is in no pair has no score
        one, other = values[both], means[both]
        if _constant(one) or _constant(other):
            found[name] = dict.fromkeys(measures)
        else:
            found[name] = {key: float(measure(one, other)[0]) for key, measure in measures.items()}
    return found


def _constant(values: Floats) -> bool:
    return len(values) < 2 or bool((values == values[0]).all())


def _tau(one: Floats, other: Floats) -> float:
    both = ~np.isnan(one) & ~np.isnan(other)
    first, second = (
        np.sign(values[both, None] - values[both])[np.triu_indices(both.sum(), 1)] for values in (one, other)
    )
    untied = np.count_nonzero(first) * np.count_nonzero(second)
    return float(first @ second / np.sqrt(untied)) if untied else float("nan")


def _mean(
    taus: Floats, prompts: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> Correlation:
    defined = ~np.isnan(taus)
    if not defined.any():
        return Correlation(None, 0, len(taus))
    no_votes = np.empty((int(defined.sum()), 0), dtype=np.int8)
    _, means = tally(
        no_votes, taus[defined, None], prompts[defined], resamples=resamples, rng=rng, scale=[1.0]
    )
    return Correlation(means[0], int(defined.sum()), int((~defined).sum()))
