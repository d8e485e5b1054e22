"""Scores with a known truth, for simulations: normal, with what the seeds of a prompt share."""

from itertools import combinations

import numpy as np
from scipy.special import ndtr

__all__ = ["cast", "noisy", "round_robin", "true_rate"]


def round_robin(n):
    return list(combinations(range(n), 2))


def cast(scores, close=0.0):
    """Votes of all comparisons from scores (checkpoints, samples); differences up to `close` are ties."""
    gaps = np.stack([scores[a] - scores[b] for a, b in round_robin(len(scores))])
    return np.where(np.abs(gaps) <= close, 0, np.sign(gaps)).astype(np.int8)


def noisy(qualities, prompts, seeds=1, shared=0.6, rng=None):
    """Scores with variance 1, of which `shared` is common to the seeds of a prompt."""
    rng = rng or np.random.default_rng(0)
    shape = (len(qualities), prompts)
    own = np.sqrt(1 - shared) * rng.normal(size=(*shape, seeds))
    found = (
        np.asarray(qualities, dtype=float)[:, None, None]
        + np.sqrt(shared) * rng.normal(size=(*shape, 1))
        + own
    )
    return found.reshape(len(qualities), -1), np.repeat(np.arange(prompts), seeds)


def true_rate(gap, close, variance=2.0):
    """Win rate, ties half, of which `cast` of scores `gap` apart is a sample; `variance` is that of a difference."""
    sd = np.sqrt(variance)
    return (ndtr((gap - close) / sd) + ndtr((gap + close) / sd)) / 2
