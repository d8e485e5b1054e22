"""Tests on one annotator's votes: agrees less than others do, drawn to one side of the screen.

(Whether somebody agrees with others at all is a sign-flip test: `permutation.py`.) Either statistic is a sum of whole numbers
that are independent under the hypothesis; its distribution is their convolution, exact and without a random draw. The first
test is ours, the second Fisher's.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom

__all__ = ["side_p_value", "typical_tail"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def typical_tail(groups: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]) -> float | None:
    """Test of "as good as anybody", against agreeing less.

    Under the hypothesis this annotator's values are draws from those of everybody, this annotator among them. Drawn with
    replacement: without it (a permutation test) the sum would spread less (Hoeffding 1963, Journal of the American
    Statistical Association 58), so this errs on the side of the annotator, and the more so the fewer annotators there are.

    Args:
        groups: of comparable judgements: the whole numbers of everybody, and those of this annotator, which are among them.

    Returns:
        P(sum <= the observed one); None where within every group all are equal, so that nothing can be told.

    >>> round(typical_tail([([-1, -1, 1, 1, 1, 1], [-1, -1])]), 4)  # 1/3 twice
    0.1111
    """
    parts, observed = [], 0
    for everybody, own in groups:
        values, counts = np.unique(np.asarray(everybody, dtype=np.int64), return_counts=True)
        if len(values) > 1:
            mine = np.asarray(own, dtype=np.int64)
            parts += [(values, counts / counts.sum())] * len(mine)
            observed += int(mine.sum())
    return _tails(parts, observed)[1] if parts else None


def side_p_value(first: npt.ArrayLike, chosen: npt.ArrayLike, pair: npt.ArrayLike) -> float | None:
    """Exact test of "the side of the screen makes no difference", two-sided.

    Under the hypothesis the order in which the two images were shown is shuffled among the judgements of the same two
    checkpoints: how often each was preferred, and how often each stood first, are held fixed. A preference for a
    checkpoint is therefore no bias, however often it stood first. With two checkpoints this is Fisher's exact test.

    Args:
        first: whether the one of the two checkpoints that is named first stood first on the screen, shape (judgements,).
        chosen: whether it was preferred; ties are left out.
        pair: number of the two checkpoints.

    Returns:
        Twice the smaller tail, 1 at most; None where nothing can be shuffled: one order only, or one checkpoint always
        preferred.

    >>> round(side_p_value([1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0] * 6), 4)  # 2 of the 20 ways to deal three sides
    0.1
    """
    stood, preferred = np.asarray(first, dtype=bool), np.asarray(chosen, dtype=bool)
    numbers = np.asarray(pair)
    parts, observed = [], 0
    for number in np.unique(numbers):
        inside = numbers == number
        total, leading, wanted = int(inside.sum()), int(stood[inside].sum()), int(preferred[inside].sum())
        least, most = max(0, leading + wanted - total), min(leading, wanted)
        if least < most:
            values = np.arange(least, most + 1)
            parts.append((values, hypergeom.pmf(values, total, leading, wanted)))
            observed += int((stood & preferred & inside).sum())
    return min(1.0, 2 * min(_tails(parts, observed))) if parts else None


def _tails(parts: Iterable[tuple[Ints, Floats]], observed: int) -> tuple[float, float]:
    """P(sum >= observed) and P(sum <= observed) of independent whole numbers, each given by (values, chances)."""
    lowest, chances = 0, np.ones(1)
    for values, weights in parts:
        spread = np.zeros(int(values.max() - values.min()) + 1)
        spread[values - values.min()] = weights
        lowest, chances = lowest + int(values.min()), np.convolve(chances, spread)
    place = observed - lowest
    return min(1.0, float(chances[place:].sum())), min(1.0, float(chances[: place + 1].sum()))
