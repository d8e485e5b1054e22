"""How many bootstrap samples an interval is made of: one rule for every command."""

from prefbench.bench.exceptions import UsageError

__all__ = ["FEWEST_RESAMPLES", "MOST_RESAMPLES", "check_resamples"]

FEWEST_RESAMPLES = 1000
"""Below this the ends of a 95 % interval are themselves guesses: at 1000, 25 draws lie beyond each."""

MOST_RESAMPLES = 1_000_000


def check_resamples(resamples: int) -> None:
    """Raises UsageError for too few samples to tell an interval by, or so many that they only cost memory."""
    if not FEWEST_RESAMPLES <= resamples <= MOST_RESAMPLES:
        raise UsageError(
            f"resamples is {resamples}; an interval needs at least {FEWEST_RESAMPLES} (10000 is usual), and more than "
            f"{MOST_RESAMPLES:,} only cost memory."
        )
