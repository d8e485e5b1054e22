"""The "ranking" of results.json: several checkpoints in one order, as far as there is one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from prefbench.bench.paired_samples import Ballots, PairedSamples
from prefbench.bench.resamples import stream
from prefbench.bench.tally.cycles import shortest_cycles
from prefbench.bench.tally.ranking import Ranking, rank_checkpoints
from prefbench.bench.verdict import MAJORITY, outcome

__all__ = ["ranking_block"]

METHOD = (
    "Ranks are by the win rate against the average opponent: the mean over all others, ties half. Its intervals are made "
    "as those of the win rates are. Rank intervals are marginal 95 % confidence sets from simultaneous bootstrap intervals "
    "of the differences to all others (Mogstad, Romano, Shaikh and Wilhelm, 2024). Strengths are maximum-likelihood "
    "log-strengths, sum 0, of Davidson's (1970) Bradley-Terry model with ties; resamples in which they are infinite count "
    "as beyond either end of their intervals. A cycle is proven where every interval in it leaves out 50 %, uncorrected "
    "for their number."
)

LEFT_OUT = "A pair that the tie rule leaves out of a vote counts half here: all checkpoints are ranked on the same pairs."


def ranking_block(
    samples: PairedSamples,
    ballots: Ballots,
    comparisons: Sequence[Mapping[str, Any]],
    resamples: int,
    seed: int,
) -> dict[str, Any] | None:
    """Rank the checkpoints by the majority vote on all prompts; what the tie rule leaves out counts half (`LEFT_OUT`).

    Args:
        samples: the scores.
        ballots: what every scorer votes on every comparison, each two checkpoints at most once.
        comparisons: the entries of results.json; which intervals leave out 50 % is read from them.
        resamples: bootstrap samples.
        seed: of the bootstrap; the ranking has its own stream.

    Returns:
        The block (docs/architecture.md); None with two checkpoints, or where two of them were not compared.
    """
    names = samples.checkpoints
    if len(names) < 3 or len(ballots.pairs) < len(names) * (len(names) - 1) // 2:
        return None
    found = rank_checkpoints(
        ballots.vote,
        [[names.index(a), names.index(b)] for a, b in ballots.pairs],
        samples.about["prompt"].to_numpy(dtype=object),
        resamples=resamples,
        rng=stream(seed, "ranking"),
    )
    order = np.argsort(found.rank, kind="stable")
    strengths = found.strengths
    return {
        "standings": [_standing(found, names, int(i)) for i in order],
        "prompts": found.prompts,
        "pairs": found.pairs,
        "wins": found.wins[np.ix_(order, order)].tolist(),
        "ties": found.ties[np.ix_(order, order)].tolist(),
        "tie_parameter": None if strengths is None else strengths.tie_parameter,
        "resamples_without_strengths": None if strengths is None else strengths.resamples_without,
        "largest_misfit": _largest_misfit(found, names),
        "cycles": _cycles(names, comparisons),
        "method": METHOD if ballots.counted.all() else f"{METHOD} {LEFT_OUT}",
    }


def _standing(found: Ranking, names: Sequence[str], i: int) -> dict[str, Any]:
    strengths = found.strengths
    return {
        "checkpoint": names[i],
        "rank": int(found.rank[i]),
        "rank_ci95": None if found.rank_ci95 is None else list(found.rank_ci95[i]),
        "win_rate": float(found.win_rate[i]),
        "ci95": None if found.ci95 is None else list(found.ci95[i]),
        "ci_method": found.ci_method[i],
        "strength": None if strengths is None else float(strengths.log_strengths[i]),
        "strength_ci95": None if strengths is None or strengths.ci95 is None else list(strengths.ci95[i]),
    }


def _largest_misfit(found: Ranking, names: Sequence[str]) -> dict[str, Any] | None:
    """The comparison that the strengths predict worst, from the side that wins more often than they say."""
    if found.strengths is None:
        return None
    observed = (found.wins + found.ties / 2) / found.pairs
    excess = observed - found.strengths.fitted
    np.fill_diagonal(excess, 0.0)
    a, b = map(int, np.unravel_index(int(excess.argmax()), excess.shape))
    return {
        "a": names[a],
        "b": names[b],
        "win_rate": float(observed[a, b]),
        "fitted": float(found.strengths.fitted[a, b]),
    }


def _cycles(names: Sequence[str], comparisons: Sequence[Mapping[str, Any]]) -> dict[str, list[list[str]]]:
    """Circles of proven wins, and those of point estimates in which some win is not proven."""
    estimated, proven = np.zeros((2, len(names), len(names)), dtype=bool)
    for entry in comparisons:
        if entry["scorer"] != MAJORITY or entry["slice"] != "all" or entry["win_rate"] == 0.5:
            continue
        a, b = names.index(entry["a"]), names.index(entry["b"])
        winner, loser = (a, b) if entry["win_rate"] > 0.5 else (b, a)
        estimated[winner, loser] = True
        proven[winner, loser] = outcome(entry["ci95"]) != "open"
    certain = shortest_cycles(proven)
    doubtful = [circle for circle in shortest_cycles(estimated) if not _all_edges(proven, circle)]
    return {
        kind: [[names[i] for i in circle] for circle in circles]
        for kind, circles in (("proven", certain), ("estimated", doubtful))
    }


def _all_edges(beats: npt.NDArray[np.bool_], circle: Sequence[int]) -> bool:
    return all(beats[circle[k - 1], circle[k]] for k in range(len(circle)))
