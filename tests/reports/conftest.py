"""Small runs that the report tests share: a table of scores and the results made from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefbench.bench.electorate.accuracies import Accuracies
from prefbench.bench.electorate.rules import VotingRules
from prefbench.bench.results import summarise

ImageKey = tuple[str, str, int]


@dataclass(frozen=True)
class Example:
    """One run: results, scores table, pictures."""

    results: dict[str, Any]
    scores: pd.DataFrame
    images: dict[ImageKey, Path]


def scores_table(
    checkpoints: Sequence[str],
    scorers: Mapping[str, Sequence[float]],
    prompts: Sequence[str],
    *,
    seed: int = 0,
    noise: float = 1.0,
    decimals: int = 6,
    with_slices: bool = True,
) -> pd.DataFrame:
    """Scores = quality of the checkpoint by this scorer + noise; `scorers`: name -> one quality each."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "checkpoint": name,
            "prompt_id": f"p{index:03d}",
            "prompt": prompt,
            "seed": 0,
            "scorer": scorer,
            "score": round(float(qualities[place] + noise * rng.normal()), decimals),
            "category": "people" if index % 2 else "places",
            "challenge": "",
        }
        for index, prompt in enumerate(prompts)
        for place, name in enumerate(checkpoints)
        for scorer, qualities in scorers.items()
    ]
    frame = pd.DataFrame(rows)
    return frame if with_slices else frame.drop(columns=["category", "challenge"])


def make_example(
    folder: Path | None = None,
    *,
    checkpoints: Sequence[str] = ("base", "sft", "dpo"),
    qualities: Mapping[str, Sequence[float]] | None = None,
    held_out: Sequence[str] = ("truth",),
    prompts: Sequence[str] | None = None,
    infos: Mapping[str, Mapping[str, Any]] | None = None,
    side: int = 32,
    options: Mapping[str, Any] | None = None,
    **table: Any,
) -> Example:
    """A run with one flat picture a sample where `folder` is given; `options` go to `summarise`."""
    scorers = qualities or {
        "pick": [0.3 * place for place in range(len(checkpoints))],
        "clip": [0.2 * place for place in range(len(checkpoints))],
        "looks": [0.1 * place for place in range(len(checkpoints))],
        "truth": [0.4 * place for place in range(len(checkpoints))],
    }
    texts = [f"prompt number {index}" for index in range(24)] if prompts is None else list(prompts)
    scores = scores_table(checkpoints, scorers, texts, **table)
    results = summarise(
        scores,
        electorate={"voters": [n for n in scorers if n not in held_out], "held_out": list(held_out)},
        checkpoints={name: {"spec": f"runs/{name}", "kind": "diffusers"} for name in checkpoints},
        scorers=infos or {"looks": {"prompt_blind": True}} if "looks" in scorers else infos,
        resamples=1000,
        **(options or {}),
    )
    images: dict[ImageKey, Path] = {}
    if folder is not None:
        for place, name in enumerate(checkpoints):
            for index in range(len(texts)):
                path = folder / f"{place}-{index}.png"
                Image.new("RGB", (side, side), (60 * place, 10 * index % 256, 128)).save(path)
                images[name, f"p{index:03d}", 0] = path
    return Example(results, scores, images)


@pytest.fixture(scope="session")
def example_of() -> Callable[..., Example]:
    """The builder, for tests that want another run than the usual one."""
    return make_example


def make_full_example(folder: Path | None = None) -> Example:
    """Every block: two trainings of a method, a scorer that they were trained against, one network behind two voters."""
    return make_example(
        folder,
        checkpoints=("base", "dpo_0", "dpo_1", "kto"),
        qualities={
            "pickscore": [0.0, 2.0, 2.5, 0.3],
            "hpsv2.1": [0.0, 0.6, 0.8, 0.1],
            "clip": [0.0, 0.2, -0.6, 0.2],
            "imagereward": [0.0, 0.5, 0.4, -0.2],
            "aesthetic.v2": [0.0, 0.3, 0.3, -0.1],
        },
        held_out=("aesthetic.v2",),
        prompts=[f"prompt number {index}" for index in range(60)],
        options={
            "rules": VotingRules(
                tie_tolerance={"clip": 0.01},
                trained_against={"dpo_0": ["pickscore"], "dpo_1": ["pickscore"]},
                accuracies=Accuracies(
                    {"pickscore": 0.7, "hpsv2.1": 0.7, "clip": 0.5, "imagereward": 0.6}, "people.toml"
                ),
            ),
            "methods": {"dpo": ["dpo_0", "dpo_1"]},
            "definitions": True,
            "planned_slices": ["category=people"],
        },
    )


BLOCKS = ("votes", "methods", "definitions")
FIELDS = ("planned", "p_adjusted", "permutation_p_value", "effect_size", "voters", "abstained")
AGREEMENT = (
    "krippendorff_alpha",
    "krippendorff_ci95",
    "kendall_tau",
    "kendall_pairs",
    "families",
    "prompt_blind",
)


def make_old(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results as an earlier version wrote them: schema 1 without what came later."""
    old = {key: value for key, value in results.items() if key not in BLOCKS}
    suite = {key: value for key, value in results["suite"].items() if key != "planned_slices"}
    electorate = {k: v for k, v in suite["electorate"].items() if k != "tie_tolerance"}
    return old | {
        "suite": suite | {"electorate": electorate},
        "checkpoints": {
            name: {key: value for key, value in info.items() if key != "trained_against"}
            for name, info in results["checkpoints"].items()
        },
        "comparisons": [
            {key: value for key, value in row.items() if key not in FIELDS} for row in results["comparisons"]
        ],
        "agreement": {k: v for k, v in results["agreement"].items() if k not in AGREEMENT},
        "intervals": {k: v for k, v in results["intervals"].items() if k not in ("tests", "interval")},
    }


@pytest.fixture(scope="session")
def old_of() -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What makes results old."""
    return make_old


@pytest.fixture(scope="session")
def full() -> Example:
    """Every block that results can have."""
    return make_full_example()


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Three checkpoints, three voters (one prompt-blind), a held-out scorer, 24 prompts with pictures."""
    return make_example(tmp_path_factory.mktemp("pictures"))
