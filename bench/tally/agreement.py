"""How far scorers agree, and how many independent voters an electorate is worth.

Voters with a common backbone or common training data repeat one another; K such votes are not K pieces of
evidence.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["effective_voters", "same_winner", "vote_correlation"]


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
    groups = np.zeros(v.shape[1]) if comparisons is None else np.asarray(comparisons)
    if groups.shape != v.shape[1:]:
        raise ValueError(f"comparisons must have shape {v.shape[1:]}, got {groups.shape}.")
    for group in np.unique(groups):
        inside = groups == group
        v[:, inside] -= v[:, inside].mean(axis=1, keepdims=True)
    norms = np.sqrt((v**2).sum(axis=1))
    # Votes are integers, so a spread is 0 or far above this; what is below it is rounding of the mean.
    if len(v) < 2 or (norms <= 1e-9).any():
        return None
    unit = v / norms[:, None]
    matrix = unit @ unit.T
    return float(matrix[np.triu_indices(len(unit), k=1)].mean())


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
