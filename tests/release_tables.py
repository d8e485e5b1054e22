"""Scores tables of simulated releases, whose true win rate is known."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prefbench.bench.paired_samples import PairedSamples

VOTERS = ("one", "two", "three")


def release(
    rng: np.random.Generator, win_rate: float, *, prompts: int, ties: float = 0.1, seeds: int = 1
) -> pd.DataFrame:
    """A scores table of a release "mine" over "base", with the votes of `cast`."""
    n = prompts * seeds
    ballots = cast(rng, win_rate, n, ties)
    scores = np.stack([np.zeros_like(ballots), ballots]).astype(float)  # base always 0
    prompt = np.tile(np.repeat(np.arange(prompts), seeds)[:, None], (2, 1, 3))
    seed = np.tile(np.tile(np.arange(seeds), prompts)[:, None], (2, 1, 3))
    columns: dict[str, Any] = {
        "checkpoint": np.repeat(["base", "mine"], 3 * n),
        "prompt_id": [f"p{k}" for k in prompt.ravel()],
        "prompt": [f"prompt {k}" for k in prompt.ravel()],
        "seed": seed.ravel(),
        "scorer": np.tile(VOTERS, 2 * n),
        "score": scores.ravel(),
    }
    return pd.DataFrame(columns)


def release_samples(
    rng: np.random.Generator, win_rate: float, *, prompts: int, ties: float = 0.1
) -> PairedSamples:
    """The same with one seed, as `arrange` makes it of a table: hundreds of times in a simulation."""
    ballots = cast(rng, win_rate, prompts, ties)
    return PairedSamples(
        ["base", "mine"],
        list(VOTERS),
        3,
        np.stack([np.zeros((prompts, 3)), ballots.astype(float)]),
        _about(prompts),
    )


@cache
def _about(prompts: int) -> pd.DataFrame:
    columns = {"prompt_id": "p{}", "prompt": "prompt {}"}
    return pd.DataFrame(
        {name: [form.format(k) for k in range(prompts)] for name, form in columns.items()} | {"seed": 0}
    )


def cast(rng: np.random.Generator, win_rate: float, n: int, ties: float) -> npt.NDArray[np.int64]:
    """Votes of three voters on n pairs, whose majority wins with probability win_rate - ties / 2 and ties with `ties`.

    On a pair that is won or lost one of the three voters, drawn anew, is of the other opinion with probability 1/2; where the
    vote ties, one is for it, one against, one tied. So no single voter's win rate is that of the vote.

    Returns:
        Shape (pairs, voters).
    """
    u = rng.random(n)
    vote = np.where(u < ties, 0, np.where(u < win_rate + ties / 2, 1, -1))
    ballots = np.repeat(vote[:, None], 3, axis=1)
    odd = rng.integers(0, 3, n)
    rows = np.arange(n)
    dissent = rng.random(n) < 0.5
    ballots[rows[dissent], odd[dissent]] *= -1
    tied = vote == 0
    ballots[rows[tied], odd[tied]] = 1
    ballots[rows[tied], (odd[tied] + 1) % 3] = -1
    ballots[rows[tied], (odd[tied] + 2) % 3] = 0
    return ballots


def table(rows: list[tuple[str, str, int, str, float, float]]) -> pd.DataFrame:
    """From (prompt id, text, seed, scorer, score of base, score of mine)."""
    return pd.DataFrame([
        {"checkpoint": name, "prompt_id": i, "prompt": text, "seed": seed, "scorer": scorer, "score": score}
        for i, text, seed, scorer, *scores in rows
        for name, score in zip(("base", "mine"), scores, strict=True)
    ])  # fmt: skip
