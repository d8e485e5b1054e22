"""What a majority vote makes of voters that are each right a little more often than not, and repeat one another.

Model (exchangeable voters, Gaussian copula): on every pair each voter draws a normal number, any two of them with
*latent* correlation r, and votes win, tie or loss by two thresholds that give it its win rate and tie rate. So all
voters are alike, and what they share on a pair is one normal factor.

Five judges, each right 65 % of the time and never tied, make a vote that is right 76.5 % of the time at r = 0, 70.7 %
at .3, 67.6 % at .6 and 66.1 % at .8. A beta-binomial model with the same correlation *of the votes* would give less,
68.6 % at .3: r is not the correlation of the votes, which is lower (`vote_correlation_of`). `results.json` gives the
latter, so that is what `prefbench plan` takes and turns into r (`latent_correlation`).
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

__all__ = ["latent_correlation", "majority_of", "vote_correlation_of"]

GRID = np.linspace(-8.5, 8.5, 3401)
"""Values of the shared factor over which is summed."""

WEIGHTS = np.exp(-(GRID**2) / 2) / np.exp(-(GRID**2) / 2).sum()

NEARLY_ONE = 0.9999
"""Above this latent correlation the sum over GRID is too coarse, and the voters are one voter."""


def majority_of(win_rate: float, tie_rate: float, *, voters: int, correlation: float) -> tuple[float, float]:
    """Win rate and tie rate of the majority vote of equal voters; an even split is a tie, a tie counts half.

    Args:
        win_rate: of each voter, ties half.
        tie_rate: of each voter, in [0, 1).
        voters: K, at least 1.
        correlation: latent correlation r of two voters, in [0, 1].

    Returns:
        Win rate of the vote, ties half; its tie rate.

    Raises:
        ValueError: a value out of range, or a win rate that the ties do not allow.

    >>> [round(majority_of(0.65, 0.0, voters=5, correlation=r)[0], 3) for r in (0.0, 1.0)]
    [0.765, 0.65]
    """
    if voters < 1:
        raise ValueError(f"An electorate has at least one voter, got {voters}.")
    win, loss = _given_factor(win_rate, tie_rate, correlation)
    if voters == 1 or correlation > NEARLY_ONE:
        return win_rate, tie_rate
    tie = np.maximum(0.0, 1 - win - loss)
    balance = np.zeros((2 * voters + 1, len(GRID)))  # chance of wins - losses = -K ... K, given the factor
    balance[voters] = 1.0
    for _ in range(voters):
        balance = (
            tie * balance
            + win * np.vstack([np.zeros_like(GRID), balance[:-1]])
            + loss * np.vstack([balance[1:], np.zeros_like(GRID)])
        )
    chance = balance @ WEIGHTS
    ties = float(chance[voters])
    return float(chance[voters + 1 :].sum()) + ties / 2, ties


def vote_correlation_of(win_rate: float, tie_rate: float, correlation: float) -> float:
    """Pearson correlation of two voters' votes (1, 0, -1) that a latent correlation r makes.

    Raises:
        ValueError: as `majority_of`; and where a voter always votes the same.

    >>> round(vote_correlation_of(0.5, 0.0, 0.5), 4)  # 2 / pi * arcsin(1/2) = 1/3
    0.3333
    """
    win, loss = _given_factor(win_rate, tie_rate, correlation)
    mean = 2 * win_rate - 1
    variance = 1 - tie_rate - mean**2
    if variance <= 1e-12:
        raise ValueError(f"With a win rate of {win_rate} and ties {tie_rate} a voter always votes the same.")
    if correlation > NEARLY_ONE:
        return 1.0
    return float(((win - loss) ** 2 @ WEIGHTS - mean**2) / variance)


def latent_correlation(win_rate: float, tie_rate: float, *, vote_correlation: float) -> float:
    """The latent correlation that makes two voters' votes correlate as given; by bisection.

    Raises:
        ValueError: a correlation of votes outside [0, 1], or as `vote_correlation_of`.
    """
    if not 0 <= vote_correlation <= 1:
        raise ValueError(f"The correlation of two voters' votes must be in [0, 1], got {vote_correlation}.")
    if vote_correlation >= vote_correlation_of(win_rate, tie_rate, NEARLY_ONE):
        return 1.0
    low, high = 0.0, NEARLY_ONE
    for _ in range(40):
        middle = (low + high) / 2
        if vote_correlation_of(win_rate, tie_rate, middle) < vote_correlation:
            low = middle
        else:
            high = middle
    return low if vote_correlation else 0.0


def _given_factor(
    win_rate: float, tie_rate: float, correlation: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Chance of a win and of a loss for every value of the shared factor, shape of GRID."""
    wins, losses = win_rate - tie_rate / 2, 1 - win_rate - tie_rate / 2
    if not (0 <= tie_rate < 1 and wins >= -1e-12 and losses >= -1e-12):
        raise ValueError(f"A win rate of {win_rate} and a tie rate of {tie_rate} do not go together.")
    if not 0 <= correlation <= 1:
        raise ValueError(f"The latent correlation must be in [0, 1], got {correlation}.")
    r = min(correlation, NEARLY_ONE)
    own = math.sqrt(1 - r)
    win = ndtr((ndtri(max(wins, 0.0)) + math.sqrt(r) * GRID) / own)
    loss = ndtr((ndtri(max(losses, 0.0)) - math.sqrt(r) * GRID) / own)
    return win, loss
