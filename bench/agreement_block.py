"""The "agreement" of results.json: how far the scorers say the same."""

from typing import Any

import numpy as np

from prefbench.bench.paired_samples import Ballots, PairedSamples
from prefbench.bench.tally.agreement import effective_voters, same_winner, vote_correlation

__all__ = ["agreement_block"]


def agreement_block(ballots: Ballots, samples: PairedSamples) -> dict[str, Any]:
    """Over all pairs of all comparisons; the correlation is that of the voters, within a comparison."""
    comparisons, n, pairs = ballots.cast.shape
    flat = ballots.cast.transpose(1, 0, 2).reshape(n, comparisons * pairs)
    correlation = vote_correlation(flat[: samples.voters], np.repeat(np.arange(comparisons), pairs))
    return {
        "scorers": samples.scorers,
        "same_winner": same_winner(flat).tolist(),
        "mean_vote_correlation": correlation,
        "effective_voters": effective_voters(samples.voters, correlation),
    }
