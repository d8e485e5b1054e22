"""From scores of the same images, encoded differently, to the difference below which two scores tie."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

__all__ = ["NEIGHBOURS", "QUANTILE", "Noise", "Turned", "reencoding_noise", "turned_votes"]

Floats = npt.NDArray[np.float64]

QUANTILE = 0.95
"""Share of paired differences that re-encoding moves by the tolerance or less. Our choice, the usual 1 in 20."""
NEIGHBOURS = 20
"""Each image makes a pair with so many that follow it in the list; the last ones with the first."""


@dataclass(frozen=True)
class Noise:
    """What re-encoding does to one scorer, in its own units."""

    shifts: list[float]
    """Mean change of a score by each encoding. It cancels where both images of a pair are encoded alike."""
    score_sd: float
    """Standard deviation of the change of a score, about its shift."""
    difference_sd: float
    """sqrt(2) times that: of the difference of two images, each with a change of its own."""
    tolerance: float
    """95 % quantile of the change of a paired difference."""
    tolerance_ci95: tuple[float, float] | None
    """Bootstrap over prompts; None with one prompt."""


@dataclass(frozen=True)
class Turned:
    """Pairs of images of one prompt: who wins, before and after."""

    pairs: int
    tied: float
    """Share that the tolerance makes a tie."""
    turned: float
    """Share of which an encoding changes the winner, mean over the encodings."""
    turned_beyond: float | None
    """That share among the pairs that do not tie; None where all tie."""


def reencoding_noise(
    changes: npt.ArrayLike, prompts: npt.ArrayLike, *, resamples: int = 1000, rng: np.random.Generator
) -> Noise:
    """Noise of a score and of a paired difference, and the tolerance that we make of it.

    Of a pair of images i, j, both encoded anew in the same way, the difference of scores moves by |c_i - c_j|. The
    tolerance is the 95 % quantile of that over pairs of images and encodings: an observed difference which is no larger might
    be the files' and not the pictures'. It is taken from the pairs themselves and not as 1.96 `difference_sd`, because a few
    images that move far would then widen it for all.

    Args:
        changes: score of the re-encoded image less that of the image as given, shape (encodings, images), finite.
        prompts: label of each image's prompt, shape (images,).
        resamples: bootstrap samples of prompts.
        rng: source of the draws.

    Raises:
        ValueError: fewer than two images, or shapes that do not fit.

    >>> reencoding_noise([[0.0, 1.0, 2.0]], ["x"] * 3, rng=np.random.default_rng(0)).score_sd
    1.0
    """
    c, labels = np.asarray(changes, dtype=np.float64), np.asarray(prompts)
    if c.ndim != 2 or labels.shape != c.shape[1:] or c.shape[1] < 2 or not len(c) or not np.isfinite(c).all():
        raise ValueError(f"Need finite changes (encodings, images) of two images or more, got {c.shape}.")
    sd = float(np.sqrt(c.var(axis=1, ddof=1).mean()))
    rows = _by_prompt(labels)
    interval = None
    if len(rows) > 1:
        found = [_tolerance(c[:, _draw(rows, rng)]) for _ in range(resamples)]
        low, high = np.quantile(found, [0.025, 0.975])
        interval = (float(low), float(high))
    return Noise(c.mean(axis=1).tolist(), sd, float(np.sqrt(2) * sd), _tolerance(c), interval)


def turned_votes(
    given: npt.ArrayLike, changes: npt.ArrayLike, prompts: npt.ArrayLike, tolerance: float
) -> Turned | None:
    """How many votes between images of one prompt are ties within the tolerance, and how many re-encoding turns.

    A vote is turned where it was a win and is none, or the reverse.

    Args:
        given: scores of the images as given, shape (images,).
        changes: as of `reencoding_noise`.
        prompts: label of each image's prompt.
        tolerance: of this scorer.

    Returns:
        None where no prompt has two images.

    >>> turned_votes([0.0, 1.0, 5.0], [[0.0, -2.0, 0.0]], ["x"] * 3, 1.0)  # of 3 pairs the closest ties, and is turned
    Turned(pairs=3, tied=0.333..., turned=0.333..., turned_beyond=0.0)
    """
    scores, c, labels = (
        np.asarray(given, dtype=np.float64),
        np.asarray(changes, dtype=np.float64),
        np.asarray(prompts),
    )
    pairs = [pair for rows in _by_prompt(labels) for pair in combinations(rows.tolist(), 2)]
    if not pairs:
        return None
    one, other = np.array(pairs).T
    gap = scores[one] - scores[other]
    moved = np.sign(gap + c[:, one] - c[:, other]) != np.sign(gap)
    beyond = np.abs(gap) > tolerance
    return Turned(
        pairs=len(pairs),
        tied=float(1 - beyond.mean()),
        turned=float(moved.mean()),
        turned_beyond=float(moved[:, beyond].mean()) if beyond.any() else None,
    )


def _tolerance(changes: Floats) -> float:
    # Beyond half of the list the pairs come round again.
    steps = min(NEIGHBOURS, changes.shape[1] // 2)
    circle = np.concatenate([changes, changes[:, :steps]], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(circle, steps + 1, axis=1)
    return float(np.quantile(np.abs(windows[..., 1:] - windows[..., :1]), QUANTILE))


def _by_prompt(labels: npt.NDArray[np.generic]) -> list[npt.NDArray[np.intp]]:
    """Places of each prompt's images."""
    _, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.split(np.argsort(number, kind="stable"), np.cumsum(counts)[:-1])


def _draw(rows: Sequence[npt.NDArray[np.intp]], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Images of as many prompts as there are, drawn with replacement."""
    return np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
