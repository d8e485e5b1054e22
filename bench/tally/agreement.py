"""How far scorers agree, and how many independent voters an electorate is worth.

Voters with a common backbone or common training data repeat one another; K such votes are not K pieces of
evidence.
"""

import numpy as np
import numpy.typing as npt

from prefbench.bench.tally.resampling import cluster_sums, resampled_means
from prefbench.bench.tally.unanimity import TAIL

__all__ = [
    "effective_voters",
    "kendall_tau",
    "krippendorff_alpha",
    "krippendorff_interval",
    "same_winner",
    "vote_correlation",
]


def same_winner(ballots: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Share of pairs on which two scorers name the same winner, for every two scorers.

    A pair counts 1 where both vote alike (two ties included), 1/2 where one of them ties, 0 where they
    contradict each other: 1 - |v_i - v_j| / 2, averaged. Two coin flips agree to 0.5.

    Args:
        ballots: votes in {-1, 0, 1}, shape (scorers, pairs), at least one pair.

    Returns:
        Shape (scorers, scorers), symmetric, ones on the diagonal.

    >>> same_winner([[1, 1, -1, 0], [1, -1, -1, 1]])[0, 1]  # 1 + 0 + 1 + 1/2 of 4
    np.float64(0.625)
    """
    v = _checked(ballots)
    return np.array([[1 - np.abs(v[i] - v[j]).mean() / 2 for j in range(len(v))] for i in range(len(v))])


def vote_correlation(ballots: npt.ArrayLike, comparisons: npt.ArrayLike | None = None) -> float | None:
    """Mean Pearson correlation of the votes of any two voters.

    Votes are centred within each comparison first. Otherwise a checkpoint that is plainly better would make
    all voters look dependent, although they only see the same truth.

    Args:
        ballots: votes in {-1, 0, 1}, shape (voters, pairs).
        comparisons: which two checkpoints each pair compares, shape (pairs,); None where it is one
            comparison.

    Returns:
        The mean over all pairs of voters; None with one voter, or where one always votes the same and so has no
        correlation with anybody: a mean over the others would not speak of this electorate.
    """
    v = _checked(ballots).astype(np.float64)
    for inside in _groups(comparisons, v.shape[1]):
        v[:, inside] -= v[:, inside].mean(axis=1, keepdims=True)
    norms = np.sqrt((v**2).sum(axis=1))
    # Votes are integers, so a spread is 0 or far above this; what is below it is rounding of the mean.
    if len(v) < 2 or (norms <= 1e-9).any():
        return None
    unit = v / norms[:, None]
    matrix = unit @ unit.T
    return float(matrix[np.triu_indices(len(unit), k=1)].mean())


def krippendorff_alpha(ballots: npt.ArrayLike, comparisons: npt.ArrayLike | None = None) -> float | None:
    """Krippendorff's alpha of the voters: agreement beyond what chance gives, 1 - observed / expected disagreement.

    Coders are the voters, units the pairs. The metric is the interval one, (v - w)^2: a tie lies half-way between a win and
    a loss, as in the win rate. (The ordinal one would make that distance depend on how many ties there are.) Disagreement
    of a set of votes is then twice its variance: within a pair, weighted by its votes, what is observed; among all votes of
    the comparison what is expected. Votes may be missing; a pair with fewer than two does not count.
    Krippendorff, "Content Analysis" (4th edition, 2018).

    Ours: with several comparisons the expected disagreement is that within a comparison, weighted by its votes. Votes of
    all comparisons thrown together would give a value that depends on which checkpoint is called a.

    Args:
        ballots: votes in {-1, 0, 1}, NaN where one is missing, shape (voters, pairs).
        comparisons: which two checkpoints each pair compares, shape (pairs,); None where it is one comparison.

    Returns:
        At most 1; 0 where voters agree as often as chance has it, below where less. None where no pair has two
        votes, or where within every comparison all votes are the same.

    >>> krippendorff_alpha([[1, 1, -1, -1], [1, 1, -1, 1]])  # observed 1, expected 15/7
    0.5333...
    """
    v = np.asarray(ballots, dtype=np.float64)
    _checked(np.where(np.isnan(v), 0.0, v))
    votes = (~np.isnan(v)).sum(axis=0)
    several = votes > 1
    observed = votes[several] @ np.nanvar(v[:, several], axis=0, ddof=1)
    counted = (v[:, inside & several] for inside in _groups(comparisons, v.shape[1]))
    expected = sum((~np.isnan(part)).sum() * np.nanvar(part, ddof=1) for part in counted if part.size)
    return None if expected == 0 else float(1 - observed / expected)


def krippendorff_interval(
    ballots: npt.ArrayLike,
    prompts: npt.ArrayLike,
    comparisons: npt.ArrayLike | None = None,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float] | None:
    """95 % percentile bootstrap of `krippendorff_alpha`: whole prompts are drawn, with all their comparisons and votes.

    Args:
        ballots: as there, shape (voters, pairs).
        prompts: label of each pair's prompt, shape (pairs,).
        comparisons: as there.
        resamples: bootstrap samples.
        rng: source of the draws.

    Returns:
        None where alpha is not defined, in the data or in more than 2.5 % of the resamples; with one prompt; and where no
        resample differs from another, as with voters that agree throughout: that is no certainty.
    """
    v = np.asarray(ballots, dtype=np.float64)
    if krippendorff_alpha(v, comparisons) is None:
        return None
    votes = (~np.isnan(v)).sum(axis=0)
    several = votes > 1
    total, squares = np.nansum(v, axis=0), np.nansum(v * v, axis=0)
    observed = votes * (squares - total**2 / np.maximum(votes, 1)) / np.maximum(votes - 1, 1)
    columns = [observed * several]
    for inside in _groups(comparisons, v.shape[1]):
        columns += [votes * (inside & several), total * (inside & several), squares * (inside & several)]
    sums, _ = cluster_sums(np.stack(columns, axis=1), prompts)
    n = len(sums)
    drawn = n * resampled_means(sums, np.ones(n, dtype=np.int64), resamples=resamples, rng=rng)
    number, total, squares = drawn[:, 1:].reshape(resamples, -1, 3).transpose(2, 0, 1)
    spread = number * (squares - total**2 / np.maximum(number, 1)) / np.maximum(number - 1, 1)
    expected = spread.sum(axis=1)
    defined = expected > 1e-9  # votes are whole numbers: what is below this is rounding
    alphas = 1 - drawn[defined, 0] / expected[defined]
    if defined.mean() < 1 - TAIL or np.ptp(alphas) < 1e-9:
        return None
    low, high = np.quantile(alphas, [TAIL, 1 - TAIL])
    return float(low), float(high)


def kendall_tau(differences: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Kendall's tau-b between scorers: do they order the pairs alike, from the largest win to the largest loss?

    Two pairs are concordant where both scorers find the one's difference larger, discordant where they contradict each other;
    tau-b = (C - D) / sqrt((pairs that differ by the one scorer) (by the other)). Where votes ask who wins, this asks by
    how much, too. Written here because importing `scipy.stats`, the tests' oracle, would take a third of the time of a
    whole comparison.

    Args:
        differences: paired score differences of one comparison, higher is better, finite, shape (scorers, pairs).

    Returns:
        Shape (scorers, scorers), symmetric; nan where one of the two has the same difference on all pairs.

    >>> kendall_tau([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]])[0, 1]  # 5 concordant, 1 discordant
    np.float64(0.6666...)
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or 0 in d.shape or not np.isfinite(d).all():
        raise ValueError(f"Differences must be finite, in shape (scorers, pairs), none empty; got {d.shape}.")
    ranks = [np.unique(row, return_inverse=True)[1].astype(np.int64) for row in d]
    untied = [int(_pairs(d.shape[1]) - _pairs(np.bincount(rank)).sum()) for rank in ranks]
    tau = np.diag([1.0 if count else np.nan for count in untied])
    for i, j in zip(*np.triu_indices(len(d), k=1), strict=True):
        tau[i, j] = tau[j, i] = _tau_b(ranks[i], ranks[j], untied[i], untied[j])
    return tau


def _tau_b(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], untied_x: int, untied_y: int) -> float:
    """Of two rows of ranks; nan where one has no untied pair."""
    if not (untied_x and untied_y):
        return float("nan")
    both = x * (y.max() + 1) + y  # one number for two ranks, in the order of x, then of y
    order = np.argsort(both)
    tied = _pairs(np.bincount(np.unique(both[order], return_inverse=True)[1])).sum()
    concordant_or_not = untied_x + untied_y - _pairs(len(x)) + tied
    return float((concordant_or_not - 2 * _inversions(y[order])) / np.sqrt(float(untied_x) * float(untied_y)))


def _pairs(n: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """How many pairs n things make, elementwise."""
    count = np.asarray(n, dtype=np.int64)
    return count * (count - 1) // 2


def _inversions(ranks: npt.NDArray[np.int64]) -> int:
    """Places i < j with ranks[i] > ranks[j]: a merge sort that merges all blocks of a level at once."""
    n = len(ranks)
    blocks = np.full((1 << (n - 1).bit_length(), 1), n, dtype=np.int64)  # filled up with what inverts nothing
    blocks[:n, 0] = ranks
    found = 0
    while len(blocks) > 1:
        left, right = blocks[::2], blocks[1::2]
        place = np.arange(len(left))[:, None]
        lift = place * (n + 1)  # one search serves all blocks
        not_above = np.searchsorted((left + lift).ravel(), (right + lift).ravel(), side="right")
        found += int(((place + 1) * left.shape[1] - not_above.reshape(left.shape)).sum())
        blocks = np.sort(np.hstack([left, right]), axis=1)
    return found


def effective_voters(voters: int, correlation: float | None) -> float | None:
    """K / (1 + (K - 1) rho): how many independent voters would give a mean vote of the same variance.

    A negative rho is clipped to 0: an electorate never counts as more than its K voters.

    Args:
        voters: K, at least 1.
        correlation: rho, the mean correlation of two voters' votes; None where it is unknown.

    Returns:
        A number in [1, K]; None where rho is unknown and there is more than one voter.

    >>> round(effective_voters(5, 0.4), 2), effective_voters(5, -0.1), effective_voters(1, None)
    (1.92, 5.0, 1.0)
    """
    if voters < 1:
        raise ValueError(f"An electorate has at least one voter, got {voters}.")
    if voters == 1:
        return 1.0
    if correlation is None:
        return None
    return voters / (1 + (voters - 1) * max(correlation, 0.0))


def _checked(ballots: npt.ArrayLike) -> npt.NDArray[np.int64]:
    v = np.asarray(ballots)
    if v.ndim != 2 or 0 in v.shape or not np.isin(v, (-1, 0, 1)).all():
        raise ValueError(
            f"Votes must be -1, 0 or 1 in shape (scorers, pairs), none empty; got shape {v.shape}."
        )
    return v.astype(np.int64)


def _groups(comparisons: npt.ArrayLike | None, pairs: int) -> list[npt.NDArray[np.bool_]]:
    """Which pairs are of each comparison."""
    groups = np.zeros(pairs) if comparisons is None else np.asarray(comparisons)
    if groups.shape != (pairs,):
        raise ValueError(f"comparisons must have shape ({pairs},), got {groups.shape}.")
    return [groups == group for group in np.unique(groups)]
