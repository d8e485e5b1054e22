"""Methods that need more than shuffled pairs, trained on a tiny random pipeline."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_disk import full_disk_at
from safetensors.torch import load_file

from prefbench.reference_trainers import offline
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.preferences.opening import open_preferences
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe
from prefbench.reference_trainers.run_folder import RunFolder
from prefbench.reference_trainers.training_steps import OfflineRun, prepare_run, training_steps

OWN: dict[str, dict[str, Any]] = {
    "diffusion_kto": {"kappa": 50, "positive_ratio": 0.5},
    "diffusion_npo": {"kappa": 50},
    "inpo": {"kappa": 50, "grid_steps": 4},
    "smpo": {"kappa": 50, "grid_steps": 3, "scorer": "toy", "score_low": 0.0, "score_high": 1.0},
    "curriculum_dpo": {"kappa": 50, "scorer": "toy", "chunks": 3, "every": 1},
}

WEIGHTS = "diffusion_pytorch_model.safetensors"


def recipe_of(method: str, **values: Any) -> Recipe:
    values = {"steps": 3, "batch": 4, "cache": True, **OWN[method], **values}
    return resolve_recipe(method, "miniature", {key: Constant(v, "test") for key, v in values.items()})


def scored(pairs: LabelledPairs) -> LabelledPairs:
    return replace(pairs, side_scores={"toy": np.random.default_rng(1).random((len(pairs), 2))})


def open_run(recipe: Recipe, pipeline: Path, manifest: Path) -> OfflineRun:
    pairs = scored(open_preferences(str(manifest), recipe.data))
    return prepare_run(recipe, open_backbone(str(pipeline)), pairs)


def losses(recipe: Recipe, pipeline: Path, manifest: Path) -> list[float]:
    return [line["loss"] for line in training_steps(open_run(recipe, pipeline, manifest))]


@pytest.mark.parametrize("method", list(OWN))
@pytest.mark.parametrize("lora_rank", [None, 2])
@pytest.mark.parametrize("kind", ["epsilon", "velocity"])
def test_three_steps_change_the_weights(
    method: str, lora_rank: int | None, kind: str, tiny_pipeline: Path, tiny_v_pipeline: Path, manifest: Path
):
    pipeline = tiny_pipeline if kind == "epsilon" else tiny_v_pipeline
    run = open_run(recipe_of(method, lora_rank=lora_rank, lr=1e-3), pipeline, manifest)
    before = {name: value.detach().clone() for name, value in run.trained.trainable().items()}
    lines = list(training_steps(run))
    assert len(lines) == 3
    assert all(np.isfinite(line["loss"]) for line in lines)
    changed = [not torch.equal(value, before[name]) for name, value in run.trained.trainable().items()]
    assert all(changed) if lora_rank is None else any(changed)


@pytest.mark.parametrize("method", list(OWN))
def test_sdxl_trains_too(method: str, tiny_sdxl: Path, manifest: Path):
    assert np.isfinite(losses(recipe_of(method, lora_rank=2, steps=2, batch=2), tiny_sdxl, manifest)).all()


@pytest.mark.parametrize("method", ["diffusion_kto", "curriculum_dpo"])
def test_from_a_saved_state_the_steps_are_those_of_an_uninterrupted_run(
    method: str, tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    """The state of step 2 of 5, in a chunk that began before it, restored into new objects: bit for bit."""
    recipe = recipe_of(method, steps=5, lr=1e-3, caption_dropout=0.3)
    whole = open_run(recipe, tiny_pipeline, manifest)
    folder = RunFolder(tmp_path / "out", {})
    folder.resume()
    lines = []
    for line in training_steps(whole):
        lines.append(line["loss"])
        if line["step"] == 2:
            state = offline._optimizer_state(whole)
            folder.save_state(2, whole.trained.trainable(), state, whole.trained.moving_state())
    again = open_run(recipe, tiny_pipeline, manifest)
    offline._restore(again, folder, 2)
    assert [line["loss"] for line in training_steps(again, 2)] == lines[2:]
    ended = again.trained.trainable()
    assert all(torch.equal(value, ended[name]) for name, value in whole.trained.trainable().items())


def test_a_run_of_single_images_that_broke_off_ends_as_one_that_did_not(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    recipe = recipe_of("diffusion_kto", steps=4, checkpoint_every=2, lr=1e-3)
    places = {"backbone": str(tiny_pipeline), "data": str(manifest)}
    with full_disk_at(4):
        train(recipe, **places, out=tmp_path / "broken")
    assert train(recipe, **places, out=tmp_path / "broken").resumed_from == 2
    card = train(recipe, **places, out=tmp_path / "whole").card
    weights = [load_file(tmp_path / name / "unet" / WEIGHTS) for name in ("broken", "whole")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert (card["unit"], card["data"]["pairs"], card["data"]["pairs_kept_by_method"]) == ("image", 10, 20)


def test_two_processes_share_the_reference_point(tiny_pipeline: Path, manifest: Path):
    """What another process found is part of z0: here one whose mean of g is 2 higher in each pass."""
    run = open_run(recipe_of("diffusion_kto"), tiny_pipeline, manifest)
    nets = replace(run.nets, process_mean=lambda value: (value + (value + 2)) / 2)
    lines = list(training_steps(replace(run, nets=nets)))
    assert lines[0]["reference_point"] == pytest.approx(1.0, abs=1e-5)


def test_the_negative_network_is_written_with_a_card_that_the_benchmark_opens(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    from prefbench.bench.checkpoints.opening import open_checkpoint

    for lora_rank, form in ((None, "pipeline"), (2, "lora")):
        out = tmp_path / form
        recipe = recipe_of("diffusion_npo", steps=1, lora_rank=lora_rank)
        card = train(recipe, backbone=str(tiny_pipeline), data=str(manifest), out=out).card
        assert (card["kind"], card["form"]) == ("negative", form)
        assert open_checkpoint("x", str(out)).kind == "npo"
