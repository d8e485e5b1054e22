"""Choosing the learning rate of every arm by one rule, on prompts that are not reported.

Written down before any number was looked at: the factor, of 0.5, 1 and 2 times the miniature recipe's learning rate,
whose checkpoint (one training, of a seed that is not reported either) has the highest mean known truth on the tuning
prompts. A training that diverged loses to every other. Among equals the factor nearest 1 is taken, then the smaller.

The learning rate is the one constant that every method has and that decides most in this world; kappa and the like are
left as they are in the recipe. The truth, not the vote, because the vote can be gamed and the truth is what the labels
were made from.
"""

import math
from collections.abc import Mapping

__all__ = ["FACTORS", "RULE", "SWEEP_SEED", "choose_factor"]

FACTORS = (0.5, 1.0, 2.0)
SWEEP_SEED = 1000
"""Training seed of the sweep, apart from those of the report: a lucky training is not chosen and reported at once."""

RULE = (
    "the factor of the recipe's learning rate (0.5, 1 or 2) with the highest mean known truth on the tuning prompts, from "
    "one training of another seed; among equals the factor nearest 1, then the smaller"
)


def choose_factor(means: Mapping[float, float | None]) -> float:
    """The factor that the rule takes.

    Args:
        means: factor -> mean known truth on the tuning prompts, None where the training diverged.

    >>> choose_factor({0.5: 0.52, 1.0: 0.55, 2.0: None}), choose_factor({0.5: 0.5, 1.0: 0.4, 2.0: 0.5})
    (1.0, 0.5)
    """

    def order(factor: float) -> tuple[float, float, float]:
        mean = means[factor]
        return (-math.inf if mean is None else mean, -abs(math.log(factor)), -factor)

    return max(means, key=order)
