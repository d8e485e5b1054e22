"""What the demo claims, read from what the demo wrote.

`.ci/run` runs `prefbench demo` first and names its folder in PREFBENCH_DEMO_RESULTS. Nothing here knows a figure: each
number is counted again from scores.parquet.
"""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ARMS = ("base", "sft", "diffusion_dpo", "diffusion_dpo_lora")
TRUTH = "mini:truth"


@pytest.fixture(scope="module")
def folder() -> Path:
    name = os.environ.get("PREFBENCH_DEMO_RESULTS")
    if not name:
        pytest.skip("PREFBENCH_DEMO_RESULTS is unset: run `prefbench demo` and name its folder")
    path = Path(name)
    assert (path / "results.json").is_file(), f"PREFBENCH_DEMO_RESULTS={name} holds no results.json"
    return path


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def scores(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet")


def entry(results: dict[str, Any], a: str, b: str, scorer: str) -> dict[str, Any]:
    found = [
        e
        for e in results["comparisons"]
        if (e["a"], e["b"], e["scorer"], e["slice"]) == (a, b, scorer, "all")
    ]
    assert len(found) == 1
    return dict(found[0])


def recount(scores: pd.DataFrame, a: str, b: str, scorers: list[str]) -> float:
    """Win rate of `a` over `b` by the sign of the summed votes, ties half."""
    wide = scores.pivot_table(index="prompt_id", columns=["checkpoint", "scorer"], values="score")
    votes = sum(np.sign(wide[a, s] - wide[b, s]) for s in scorers)
    return float(((np.sign(votes) + 1) / 2).mean())


@pytest.mark.parametrize("scorer", ["majority", TRUTH])
def test_diffusion_dpo_beats_the_base_by_vote_and_by_the_known_truth(
    results: dict[str, Any], scorer: str
) -> None:
    found = entry(results, "diffusion_dpo", "base", scorer)
    assert found["prompts"] == 200
    assert found["ci95"][0] > 0.5, found


def test_every_win_rate_can_be_counted_again_from_the_scores(
    results: dict[str, Any], scores: pd.DataFrame
) -> None:
    voters = results["suite"]["electorate"]["voters"]
    assert len(voters) == 5
    for b, a in itertools.combinations(ARMS, 2):
        assert entry(results, a, b, "majority")["win_rate"] == pytest.approx(recount(scores, a, b, voters))
        for scorer in (*voters, TRUTH):
            assert entry(results, a, b, scorer)["win_rate"] == pytest.approx(recount(scores, a, b, [scorer]))


def test_the_truth_is_held_out_and_every_checkpoint_meets_every_other(results: dict[str, Any]) -> None:
    assert results["suite"]["electorate"]["held_out"] == [TRUTH]
    assert results["scorers"][TRUTH]["role"] == "held out"
    met = {frozenset((v["a"], v["b"])) for v in results["verdicts"]}
    assert met == {frozenset(p) for p in itertools.combinations(ARMS, 2)}


def test_verdicts_follow_from_the_intervals(results: dict[str, Any]) -> None:
    for verdict in results["verdicts"]:
        low, high = entry(results, verdict["a"], verdict["b"], "majority")["ci95"]
        expected = "better" if low > 0.5 else "worse" if high < 0.5 else "open"
        assert verdict["outcome"] == expected


def test_no_prompt_of_the_benchmark_was_trained_on(scores: pd.DataFrame) -> None:
    from prefbench.bench.miniature.pairs import load_pairs

    assert not set(load_pairs().prompts) & set(scores["prompt"])


def test_the_trained_checkpoints_load_in_plain_diffusers(folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    full = StableDiffusionPipeline.from_pretrained(folder / "checkpoints" / "diffusion_dpo")
    full.set_progress_bar_config(disable=True)
    assert full("a small red circle on a white background", num_inference_steps=2).images[0].size == (32, 32)
    full.load_lora_weights(folder / "checkpoints" / "diffusion_dpo_lora")
