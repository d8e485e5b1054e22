"""The scores table of a run, out of its ledger."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.scores_table import check_scores
from prefbench.bench.store.keys import score_key
from prefbench.bench.store.ledger import Ledger

__all__ = ["scores_of"]


def scores_of(
    ledger: Ledger,
    checkpoints: Iterable[str],
    seeds: Sequence[int],
    prompts: Sequence[Prompt],
    fingerprints: Mapping[str, str],
) -> pd.DataFrame:
    """The checked scores table, rows in the order of checkpoints, seeds, prompts, scorers.

    Args:
        ledger: has every sample that is asked for; a score that it lacks has no row.
        checkpoints: names.
        seeds: of the suite.
        prompts: of the suite, after its limit.
        fingerprints: scorer -> fingerprint.
    """
    images = ledger.images()
    image_of = {(s.checkpoint, s.prompt_id, s.seed): images[s.image].pixels for s in ledger.samples()}
    known = {name: ledger.scores(fingerprint) for name, fingerprint in fingerprints.items()}
    rows: list[dict[str, Any]] = []
    for checkpoint in checkpoints:
        for seed in seeds:
            for prompt in prompts:
                pixels = image_of[checkpoint, prompt.id, seed]
                for name, fingerprint in fingerprints.items():
                    key = score_key(pixels, prompt.text, fingerprint)
                    if key in known[name]:
                        rows.append(
                            {**_columns(checkpoint, prompt, seed), "scorer": name, "score": known[name][key]}
                        )
    return check_scores(_without_empty(pd.DataFrame(rows)), source="the ledger")


def _columns(checkpoint: str, prompt: Prompt, seed: int) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint,
        "prompt_id": prompt.id,
        "prompt": prompt.text,
        "seed": seed,
        "category": prompt.category,
        "challenge": prompt.challenge,
    }


def _without_empty(frame: pd.DataFrame, columns: Sequence[str] = ("category", "challenge")) -> pd.DataFrame:
    return frame.drop(columns=[name for name in columns if frame[name].isna().all()])
