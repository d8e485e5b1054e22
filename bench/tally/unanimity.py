"""Exact limits of a mean over prompts where nearly all prompts came out alike, and a bootstrap sees too little spread.

Values are win rates of prompts (or anything else) in [0, 1]. For any c the mean is at least c P(value >= c), and P has an
exact lower limit over independent prompts (Clopper and Pearson 1934). So

    lower limit = c L(prompts with a value of c or more),  upper limit = 1 - the lower one of (1 - value)

with c the commonest value, or 1 where that is 0: what lies below c counts as 0, which keeps the limit valid for ties
and for several seeds, where a prompt's win rate is no yes or no. Where every prompt is won or lost outright both limits are those
of Clopper and Pearson (10 won of 14: [.419, .916]); ties among wins count as lost in the lower limit and as won in the upper.

Prompts may have unequal numbers of pairs, and the mean is one over pairs. Then a share L of the prompts makes up, at the
least, the share of the pairs that the prompts with the fewest have, and that share takes the place of L. Every prompt may have
a chance of its own there, those with many pairs another than those with few: the limit of Clopper and Pearson holds for the
mean of unequal chances, too (Hoeffding, "On the distribution of the number of successes in independent trials", 1956). With
one prompt of very many pairs the limits say next to nothing, as they must.

That c is read off the data is ours, and so is the step from prompts to pairs. The tests count every outcome of 2 to 12 prompts,
and of 6 and 8 with unequal pairs: neither end misses the truth with more than its 2.5 %. The rule of when to use it is ours, too:
fewer than `RARE` prompts off the commonest value.
"""

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = ["RARE", "TAIL", "prompts_of", "tail_below", "unanimity_bound"]

RARE = 5
"""With fewer prompts than this off the commonest value, the bootstrap gives way to the exact bound."""

TAIL = 0.025
"""Probability left out at each end of an interval."""

Floats = npt.NDArray[np.float64]


Sizes = npt.NDArray[np.int64]


def unanimity_bound(
    values: Floats, tail: float = TAIL, *, sizes: Sizes | None = None
) -> tuple[float, float] | None:
    """Limits of the mean over pairs where fewer than `RARE` values differ from the commonest; else None.

    Args:
        values: in [0, 1], one a prompt, shape (prompts,).
        tail: probability left out at each end.
        sizes: pairs of each prompt, shape (prompts,); None where all have as many.

    >>> unanimity_bound(np.array([1.0, 1.0, 1.0, 0.0]))  # three won of four
    (0.1941..., 0.9936...)
    """
    counts = np.unique(values, return_counts=True)[1]
    if len(values) - counts.max() >= RARE:
        return None
    return _lower(values, tail, sizes), 1 - _lower(1 - values, tail, sizes)


def tail_below(values: Floats, threshold: float, *, sizes: Sizes | None = None) -> float:
    """The tail at which the lower limit of `unanimity_bound` is the threshold: the inverse of that limit.

    Args:
        values: as in `unanimity_bound`.
        threshold: in [0, 1].
        sizes: as in `unanimity_bound`.

    Returns:
        In (0, 1]; 1 where no tail below 1 has a limit above the threshold.
    """
    n = len(values)
    return max(
        float(special.betainc(reached, n - reached + 1, prompts_of(min(1.0, threshold / c), sizes)))
        if reached
        else 1.0
        for c, reached in _reached(values)
    )


def prompts_of(pairs: float, sizes: Sizes | None) -> float:
    """Share of the prompts that makes up so large a share of the pairs at the least: those with the fewest pairs first.

    Args:
        pairs: share, in [0, 1].
        sizes: as in `unanimity_bound`.
    """
    if sizes is None or sizes.min() == sizes.max():
        return pairs
    of_prompts, of_pairs = _fewest_first(sizes)
    return float(np.interp(pairs, of_pairs, of_prompts))


def _pairs_of(prompts: float, sizes: Sizes | None) -> float:
    """Share of the pairs that such a share of the prompts has at the least: the inverse of `prompts_of`."""
    if sizes is None or sizes.min() == sizes.max():
        return prompts
    of_prompts, of_pairs = _fewest_first(sizes)
    return float(np.interp(prompts, of_prompts, of_pairs))


def _fewest_first(sizes: Sizes) -> tuple[Floats, Floats]:
    """Shares of the prompts, those with the fewest pairs first, and what share of the pairs they have."""
    pairs = np.concatenate([[0], np.cumsum(np.sort(sizes))])
    return np.linspace(0, 1, len(pairs)), pairs / pairs[-1]


def _lower(values: Floats, tail: float, sizes: Sizes | None) -> float:
    n = len(values)
    return min(
        c * _pairs_of(float(special.betaincinv(reached, n - reached + 1, tail)), sizes) if reached else 0.0
        for c, reached in _reached(values)
    )


def _reached(values: Floats) -> list[tuple[float, int]]:
    """Each c and how many values reach it; several where values are equally common, and the widest limit holds."""
    found, counts = np.unique(values, return_counts=True)
    commonest = [float(value) or 1.0 for value in found[counts == counts.max()]]
    return [(c, int((values >= c).sum())) for c in commonest]
