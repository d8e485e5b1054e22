"""Run folders made by hand, without drawing or scoring: results.json and scores.parquet as `prefbench bench` leaves them.

`write_run` takes scores as nested lists, so that tests can say what comes out.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench import atomic
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import write_scores

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]

SAMPLING = {
    "steps": 30,
    "guidance": 7.5,
    "scheduler": "ddim",
    "width": 512,
    "height": 512,
    "negative_prompt": "",
    "dtype": "float32",
}


def digest(text: str) -> str:
    """A sha256 to stand for one."""
    return hashlib.sha256(text.encode()).hexdigest()


def info(name: str, version: str = "1", **fields: Any) -> dict[str, Any]:
    """A scorer's description; another `version` is another fingerprint."""
    told = {"name": name, "variant": None, "direction": "higher", "scale": "made up", "prompt_blind": False}
    return {**told, "fingerprint": digest(f"{name} {version}"), **fields}


def table(
    scores: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    texts: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Scores[checkpoint][scorer][prompt][seed] as a scores table; prompts are p0, p1, ... with texts "a cat, number 0", ..."""
    rows = [
        (
            checkpoint,
            ids[p] if ids else f"p{p}",
            texts[p] if texts else f"a cat, number {p}",
            seed,
            scorer,
            float(score),
        )
        for checkpoint, by_scorer in scores.items()
        for scorer, by_prompt in by_scorer.items()
        for p, by_seed in enumerate(by_prompt)
        for seed, score in enumerate(by_seed)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def write_run(
    folder: Path,
    frame: pd.DataFrame,
    *,
    infos: Mapping[str, Mapping[str, Any]] | None = None,
    held_out: Sequence[str] = (),
    sampling: Mapping[str, Any] | None = SAMPLING,
    checkpoints: Mapping[str, Mapping[str, Any]] | None = None,
    ledger: bool = True,
) -> Path:
    """A finished run of the table's checkpoints; with `ledger` it passes for one of `prefbench bench`."""
    names, scorers = list(dict.fromkeys(frame["checkpoint"])), list(dict.fromkeys(frame["scorer"]))
    described = {
        name: {
            "spec": f"models/{name}",
            "kind": "pipeline",
            "identity": {"sha256": digest(name)},
            **(checkpoints or {}).get(name, {}),
        }
        for name in names
    }
    suite = {
        "name": "mine",
        "prompt_sets": [
            {
                "name": "cats",
                "version": "1",
                "sha256": digest("cats"),
                "prompts": frame["prompt_id"].nunique(),
            }
        ],
        "seeds": sorted(map(int, frame["seed"].unique())),
        "sampling": copy.deepcopy(sampling),
    }
    results = summarise(
        frame,
        electorate={"voters": [name for name in scorers if name not in held_out], "held_out": list(held_out)},
        checkpoints=described,
        suite=suite,
        scorers={name: (infos or {}).get(name) or info(name) for name in scorers},
        resamples=1000,
    )
    atomic.write_json(folder / "results.json", results)
    write_scores(frame, folder / "scores.parquet")
    if ledger:
        (folder / "ledger.sqlite").touch()
    return folder
