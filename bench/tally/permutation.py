"""Paired permutation tests: is there any difference, if it were as likely the other way round on every prompt?

Under the null hypothesis a and b are exchangeable on every prompt, so the sign of *everything* measured on a prompt may be
flipped at once: its seeds are one unit, as in the bootstrap. The p-value is the share of flips whose mean lies at least
as far from 0 as the observed one (two-sided). It tests the mean, as the interval does; the sign test asks only
which way each prompt went. With one seed a prompt the two are one test for votes.

* Votes: exact however many prompts. Sums of votes are small whole numbers, so the distribution over all flips is that of
  a sum of independent +-v_i, whose characteristic function is prod cos(v_i t): one Fourier transform gives it. The error is
  below `FINEST`, which is what smaller p-values are given as. Where all |v_i| are equal it is the binomial tail.
* Differences of scores: all 2^n flips up to `ENUMERATED` prompts; beyond, m random flips and (b + 1) / (m + 1), b of them
  at least as extreme (the observed one counts, so p is never 0). From `SINGLY` prompts on, prompts are put into `GROUPS`
  groups by chance and groups are flipped: those flips are a subgroup of all, so the test stays exact in its level, and a
  z of 4 loses 1 % (z / sqrt(1 + z^2 / GROUPS)).

Source: the sign-flip test is Fisher's (The Design of Experiments, 1935); (b + 1) / (m + 1) after Phipson and Smyth 2010
(Statistical Applications in Genetics and Molecular Biology 9). The groups and the transform are ours.
"""

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = ["ENUMERATED", "FINEST", "GROUPS", "SINGLY", "difference_flip_p_values", "vote_flip_p_values"]

ENUMERATED = 14
"""Prompts up to which all flips of differences are tried: 16,384."""

SINGLY = 4096
"""Prompts up to which each is flipped by itself."""

GROUPS = 1024
"""Groups that are flipped where there are more prompts."""

FINEST = 1e-14
"""Smallest p-value that the Fourier transform tells from 0."""

BLOCK = 2_000_000
"""Signs held at once: 16 MB."""

ROUNDING = 1e-10
"""Sums closer than this share of the sum of magnitudes are equal."""

Floats = npt.NDArray[np.float64]


def vote_flip_p_values(sums: npt.ArrayLike) -> Floats:
    """Exact p-value of the mean vote of every column.

    Args:
        sums: sum of the votes of each prompt, whole numbers, shape (prompts, columns).

    Returns:
        Shape (columns,), in (0, 1]; 1 where all prompts are even, or there is one prompt.

    Raises:
        ValueError: no prompts, or a sum that is no whole number.

    >>> vote_flip_p_values([[2], [1], [1]])  # 8 flips: +-4 twice, +-2 or 0 else
    array([0.25])
    """
    values = np.asarray(sums, dtype=np.float64)
    whole = np.isfinite(values).all() and (values == np.round(values)).all()
    if values.ndim != 2 or not len(values) or not whole:
        raise ValueError(
            f"Sums of votes must be whole numbers in shape (prompts, columns), got shape {values.shape}."
        )
    return np.array([_vote_p(column) for column in values.T.astype(np.int64)])


def _vote_p(sums: npt.NDArray[np.int64]) -> float:
    steps, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    if not len(steps):
        return 1.0
    unit = np.gcd.reduce(steps)
    steps, reach = steps // unit, abs(int(sums.sum())) // int(unit)
    if reach == 0:
        return 1.0
    if len(steps) == 1:
        n = int(counts[0])
        return min(1.0, 2 * float(special.bdtr((n - reach) // 2, n, 0.5)))
    # Beyond 12 standard deviations lies less than 1e-30 (Hoeffding): it may wrap round in the transform.
    furthest = min(int(steps @ counts), int(12 * np.sqrt(steps**2 @ counts)) + 1)
    if reach > furthest:
        return FINEST
    size = 1 << int(2 * furthest).bit_length()
    angles = 2 * np.pi * np.arange(size // 2 + 1) / size
    transform = np.ones_like(angles)
    for step, count in zip(steps.tolist(), counts.tolist(), strict=True):
        transform *= np.cos(step * angles) ** count
    chance = np.fft.irfft(transform, n=size)
    return float(min(1.0, max(FINEST, 2 * chance[reach : furthest + 1].sum())))


def difference_flip_p_values(sums: npt.ArrayLike, *, resamples: int, rng: np.random.Generator) -> Floats:
    """P-value of the mean difference of every column, all from the same flips.

    Args:
        sums: sum of the score differences of each prompt, shape (prompts, columns).
        resamples: random flips where not all are tried.
        rng: source of the flips; not drawn from where all are tried.

    Returns:
        Shape (columns,), in (0, 1]; 1 where all differences are 0, or there is one prompt.

    Raises:
        ValueError: no prompts, no resamples, or a difference that is not finite.
    """
    values = np.asarray(sums, dtype=np.float64)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"Sums of differences must be finite in shape (prompts, columns), got shape {values.shape}."
        )
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}.")
    n = len(values)
    if n <= ENUMERATED:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return _extreme(flips.astype(np.float64), values) / 2**n
    if n > SINGLY:
        starts = np.linspace(0, n, GROUPS, endpoint=False).astype(np.int64)
        values = np.add.reduceat(values[rng.permutation(n)], starts, axis=0)
        n = GROUPS
    found, block = np.zeros(values.shape[1]), max(1, BLOCK // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        bits = rng.integers(0, 256, size=(rows, -(-n // 8)), dtype=np.uint8)
        found += _extreme(np.unpackbits(bits, axis=1, count=n).astype(np.float64), values)
    return np.asarray((found + 1) / (resamples + 1))


def _extreme(flips: Floats, values: Floats) -> Floats:
    """How many rows of 0 (keep) and 1 (flip) leave a sum at least as far from 0 as the observed: (columns,)."""
    total = values.sum(axis=0)
    sums = total - 2 * (flips @ values)
    reach = np.abs(total) - ROUNDING * np.abs(values).sum(axis=0)
    return np.asarray((np.abs(sums) >= reach).sum(axis=0), dtype=np.float64)
