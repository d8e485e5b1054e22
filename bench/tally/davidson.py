"""Strengths from wins, ties and losses: Davidson's extension of the Bradley-Terry model, by maximum likelihood.

Checkpoints i and j have strengths pi_i, pi_j > 0 and all pairs share one tie parameter nu >= 0. Of a pair of samples

    i wins : tie : j wins  =  pi_i : nu sqrt(pi_i pi_j) : pi_j

(R. R. Davidson, "On Extending the Bradley-Terry Model to Accommodate Ties in Paired Comparison Experiments", JASA 65
(1970), 317-328). A tie is an outcome of its own. The alternative, half a win for either, is the Bradley-Terry model on
wins + ties / 2: the same order, but strengths that shrink as ties grow, because it takes a tie for a win and a loss. Give
`fit_davidson` such counts and no ties to get it. nu = 0 is Bradley-Terry; M. E. J. Newman's v (JMLR 24 (2023)) is nu / 2.

We work with log-strengths theta = log pi, fixed by sum(theta) = 0, and log nu: the model is then a multinomial logit, its
log-likelihood is concave, and at the maximum each checkpoint's fitted score (wins + ties / 2) and the fitted number of
ties are the observed ones. Newton's method (ours; Davidson iterates) with steps damped by log(1 + r) / r, r the step's
largest change of a log-odds, which keeps such a function from overshooting (T. Sun and Q. Tran-Dinh, Mathematical
Programming 178 (2019)). It solves thousands of resamples at once.

**No finite estimate.** If some checkpoints never lose to, nor tie with, the others, their strengths run off to infinity.
So they do with ties alone in one direction: 5 wins, 3 ties, no loss raise pi_i / pi_j and nu for ever, the ratio of wins to
ties staying 5:3 and losses going to nothing. In general the likelihood has a maximum exactly if

* from each checkpoint a path leads to each other, a step being a win or a tie; and
* if there are ties at all, some closed walk along wins and ties has more wins than ties (two checkpoints that beat each
  other once are one; so is a circle of wins).

Both are read off one table of longest walks. The second condition is our derivation: a direction (d, delta) in which no
observed outcome becomes less likely asks d_i - d_j >= max(0, 2 delta) of every win of i over j and |d_i - d_j| <= 2 delta
of every tie, and for delta > 0 such d exist unless a walk like that closes. The tests check it against linear programming.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Davidson", "fit_davidson", "has_estimate", "outcome_odds"]

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-18
"""Gain of log-likelihood a pair that one more step would promise: nothing beside 1 even at a billion pairs."""
STEPS = 200


class Davidson(NamedTuple):
    """Estimates; leading axes are those of the outcomes."""

    strengths: Floats
    """Log-strengths, sum 0, shape (..., checkpoints)."""
    tie_parameter: Floats
    """nu, shape (...): the odds of a tie against a win between equals."""


def outcome_odds(strengths: Floats, tie_parameter: npt.ArrayLike, pairs: npt.NDArray[np.int64]) -> Floats:
    """Probabilities that the first wins, that they tie, that the second wins.

    Args:
        strengths: log-strengths, shape (..., checkpoints).
        tie_parameter: nu, shape (...).
        pairs: which two checkpoints, shape (pairs, 2).

    Returns:
        Shape (..., pairs, 3).

    >>> odds = outcome_odds(np.log([4.0, 1.0]), 0.5, np.array([[0, 1]]))  # 4 : 0.5 * 2 : 1
    >>> odds.round(6).tolist()
    [[0.666667, 0.166667, 0.166667]]
    """
    half = (strengths[..., pairs[:, 0]] - strengths[..., pairs[:, 1]]) / 2
    nu = np.broadcast_to(np.asarray(tie_parameter, dtype=np.float64)[..., None], half.shape)
    odds = np.stack([np.exp(half), nu, np.exp(-half)], axis=-1)
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def has_estimate(
    outcomes: npt.NDArray[np.generic], pairs: npt.NDArray[np.int64], checkpoints: int
) -> npt.NDArray[np.bool_]:
    """Whether the likelihood has a finite maximum (see the module's text).

    Args:
        outcomes: wins of the first, ties, wins of the second, shape (..., pairs, 3).
        pairs: which two checkpoints, shape (pairs, 2).
        checkpoints: how many there are.

    Returns:
        Shape (...).

    >>> pair = np.array([[0, 1]])
    >>> [bool(has_estimate(np.array([row]), pair, 2)) for row in ([5, 3, 1], [5, 3, 0], [5, 0, 0], [0, 3, 0])]
    [True, False, False, False]
    """
    seen = outcomes.astype(np.float64) > 0
    a, b = pairs.T
    # Longest walk from i to j: a win counts 1, a tie -1; no step, -inf.
    walk = np.full((*outcomes.shape[:-2], checkpoints, checkpoints), -np.inf)
    tie = np.where(seen[..., 1], -1.0, -np.inf)
    walk[..., a, b] = np.where(seen[..., 0], 1.0, tie)
    walk[..., b, a] = np.where(seen[..., 2], 1.0, tie)
    diagonal = np.arange(checkpoints)
    walk[..., diagonal, diagonal] = 0.0
    for k in range(checkpoints):
        through = walk[..., :, k, None] + walk[..., None, k, :]
        # No simple path is longer; without a limit a circle of wins would double for ever.
        walk = np.minimum(np.maximum(walk, through), checkpoints)
    connected = (walk > -np.inf).all(axis=(-2, -1))
    closed = (walk[..., diagonal, diagonal] > 0).any(axis=-1)
    return np.asarray(connected & (closed | ~seen[..., 1].any(axis=-1)))


def fit_davidson(
    outcomes: npt.NDArray[np.generic],
    pairs: npt.NDArray[np.int64],
    checkpoints: int,
    start: Davidson | None = None,
) -> Davidson:
    """Maximum-likelihood log-strengths and tie parameter.

    Args:
        outcomes: wins of the first, ties, wins of the second, shape (..., pairs, 3): counts, or shares of them.
        pairs: which two checkpoints, shape (pairs, 2).
        checkpoints: how many there are.
        start: where to begin; the answer does not depend on it.

    Raises:
        ValueError: there is no finite estimate; ask `has_estimate` first.
        ArithmeticError: no convergence.

    >>> found = fit_davidson(np.array([[8, 4, 2]]), np.array([[0, 1]]), 2)
    >>> np.exp(found.strengths[0] - found.strengths[1]).round(9), found.tie_parameter.round(9)  # 8/2, 4/sqrt(8*2)
    (np.float64(4.0), np.float64(1.0))
    """
    if not has_estimate(outcomes, pairs, checkpoints).all():
        raise ValueError("These wins and ties have no finite Davidson estimate; ask has_estimate first.")
    counts = outcomes.astype(np.float64)
    counts = counts / counts.sum(axis=(-2, -1), keepdims=True)
    tied = counts[..., 1].sum(axis=-1) > 0
    sign = np.zeros((len(pairs), checkpoints))
    sign[np.arange(len(pairs)), pairs[:, 0]] = 1.0
    sign[np.arange(len(pairs)), pairs[:, 1]] = -1.0
    theta = np.zeros((*counts.shape[:-2], checkpoints)) if start is None else np.array(start.strengths)
    theta = np.broadcast_to(theta, (*counts.shape[:-2], checkpoints)).copy()
    nu = 1.0 if start is None else np.where(start.tie_parameter > 0, start.tie_parameter, 1.0)
    log_nu = np.where(tied, np.log(nu), 0.0)
    for _ in range(STEPS):
        odds = outcome_odds(theta, np.where(tied, np.exp(log_nu), 0.0), pairs)
        step, promise = _newton_step(counts, odds, sign, tied)
        change = np.ptp(step[..., :-1], axis=-1) + np.abs(step[..., -1])
        step *= np.where(change > 0, np.log1p(change) / np.where(change > 0, change, 1.0), 1.0)[..., None]
        theta, log_nu = theta + step[..., :-1], log_nu + step[..., -1]
        if promise.max(initial=0.0) < TOLERANCE:
            return Davidson(theta - theta.mean(axis=-1, keepdims=True), np.where(tied, np.exp(log_nu), 0.0))
    raise ArithmeticError(f"Davidson's strengths did not converge in {STEPS} Newton steps.")


def _newton_step(
    counts: Floats, odds: Floats, sign: Floats, tied: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Newton's step of (theta, log nu), and gradient times step; without ties log nu has no say and stays.

    The statistics of an outcome are the first's score (1, 1/2, 0) and whether it is a tie; gradient and information are
    their residuals and covariances, summed over pairs. A (co)variance is written as the sum over two outcomes of their
    probabilities times their differences: nothing cancels where one outcome is nearly sure.
    """
    n = counts.sum(axis=-1)
    win, tie, loss = odds[..., 0], odds[..., 1], odds[..., 2]
    residual = counts[..., 0] + counts[..., 1] / 2 - n * (win + tie / 2)
    gradient = np.concatenate(
        [residual @ sign, (counts[..., 1] - n * tie).sum(axis=-1, keepdims=True)], axis=-1
    )
    gradient[..., -1] *= tied
    c = sign.shape[1]
    information = np.empty((*gradient.shape, c + 1))
    variance = n * (win * loss + tie * (win + loss) / 4)
    squares = (sign[:, :, None] * sign[:, None, :]).reshape(len(sign), c * c)
    # The likelihood is flat along a shift of all strengths: 1 in every cell pins their sum without touching the rest.
    information[..., :c, :c] = (variance @ squares).reshape(*variance.shape[:-1], c, c)
    information[..., :c, :c] += variance.mean(axis=-1)[..., None, None]
    both = (n * tie * (loss - win) / 2) @ sign
    information[..., :c, c], information[..., c, :c] = both, both
    information[..., c, c] = np.where(tied, (n * tie * (win + loss)).sum(axis=-1), 1.0)
    step = np.linalg.solve(information, gradient[..., None])[..., 0]
    return step, (gradient * step).sum(axis=-1)
