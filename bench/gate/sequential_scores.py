"""A scores table as the outcomes that a sequential gate looks at; and the gate replayed on a finished one.

A replay says after how many prompts the gate would have stopped. It is as valid as a gate that stopped, if rules, alpha, block
and seed were chosen before anybody saw the scores; the seed's default is there so that nobody need choose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefbench.bench.gate.claims import Claim
from prefbench.bench.gate.prompt_order import keyed_order
from prefbench.bench.gate.sequential import Look, SequentialGate, Settings
from prefbench.bench.paired_samples import Ballots, PairedSamples
from prefbench.bench.verdict import MAJORITY

__all__ = ["Use", "look_at", "prompt_outcomes", "replay"]


@dataclass(frozen=True)
class Use:
    """What a gate looked at, of all there is; both checkpoints' images together."""

    prompts: int
    """Distinct."""
    of_prompts: int
    images: int
    of_images: int


def prompt_outcomes(
    samples: PairedSamples, ballots: Ballots, claims: Sequence[Claim]
) -> dict[str, pd.DataFrame]:
    """Name of the claim -> prompt text -> "mean" over its pairs of win 1, tie 1/2, loss 0, and how many "pairs".

    Where the electorate's tie rule leaves out every pair of a prompt, its mean is NaN: it has no outcome.

    Args:
        samples: of the two checkpoints.
        ballots: on them; the first comparison is candidate over baseline.
        claims: of `sequential_claims`.
    """
    found = {}
    for claim in claims:
        if claim.scorer == MAJORITY:
            signs = np.where(ballots.counted[0], ballots.vote[0], np.nan)
        else:
            signs = ballots.cast[0][samples.scorers.index(claim.scorer or "")].astype(np.float64)
        by_text = pd.Series((1 + signs) / 2).groupby(samples.about["prompt"].to_numpy())
        found[claim.name] = pd.DataFrame({"mean": by_text.mean(), "pairs": by_text.count()})
    return found


def look_at(gate: SequentialGate, block: Mapping[str, pd.DataFrame]) -> Look:
    """Show the gate a block of prompts.

    Args:
        gate: to be shown.
        block: rows of `prompt_outcomes`, in the order in which they were drawn.
    """
    return gate.look(
        {name: table["mean"].to_numpy() for name, table in block.items()},
        {name: int(table["pairs"].sum()) for name, table in block.items()},
    )


def replay(samples: PairedSamples, ballots: Ballots, settings: Settings) -> tuple[SequentialGate, Use]:
    """The decision that the gate would have made on scores that are there already.

    Args:
        samples: of the two checkpoints.
        ballots: on them; the first comparison is candidate over baseline.
        settings: claims, and order of the prompts.

    Returns:
        The gate as it stopped, and what it looked at.
    """
    gate = SequentialGate(settings)
    texts = samples.about["prompt"]
    order = keyed_order(texts, settings.order_seed)
    outcomes = {
        name: table.loc[order] for name, table in prompt_outcomes(samples, ballots, settings.claims).items()
    }
    for start in range(0, len(order), settings.block):
        look_at(gate, {name: table[start : start + settings.block] for name, table in outcomes.items()})
        if gate.stopped:
            break
    used = gate.course[-1].prompts
    return gate, Use(used, len(order), 2 * int(texts.isin(order[:used]).sum()), 2 * len(texts))
