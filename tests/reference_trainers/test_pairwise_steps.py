"""Every pairwise objective trains on tiny pipelines: noise and velocity, the whole UNet and LoRA."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import OfflineRun, prepare_run, train, training_steps
from prefbench.reference_trainers.preferences.opening import open_preferences
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe

LOG_2 = math.log(2)
FIRST_LOSSES: list[tuple[str, dict[str, Any], float]] = [
    ("robust_dpo", {"form": "cdpo", "smoothing": 0.2}, LOG_2),
    ("robust_dpo", {"form": "rdpo", "smoothing": 0.2}, LOG_2),
    ("robust_dpo", {"form": "ipo", "ipo_beta": 1.0}, 0.25),
    ("robust_dpo", {"form": "hinge"}, 1.0),
    ("poly_dpo", {"alpha": 8.0}, LOG_2 + 4),
    ("dmpo", {"alpha": 0.01}, -LOG_2 - math.log(0.99 * 0.01) / 2),
    ("dspo", {"form": "sdxl_branch", "beta": 5000.0}, 0.25),
    ("diffusion_sdpo", {"around": "dpo"}, LOG_2),
    ("diffusion_sdpo", {"around": "dmpo"}, -LOG_2 - math.log(0.99 * 0.01) / 2),
    ("diffusion_sdpo", {"around": "dspo_sdxl_branch"}, 0.25),
]
"""Objectives whose loss is known while policy = reference, as in the first step: l = 0, p = 1/2."""

WINNERS_ERROR: list[tuple[str, dict[str, Any]]] = [
    ("dspo", {"form": "sd15"}),
    ("diffusion_sdpo", {"around": "dspo", "kappa": 0.0005, "mu": 0.2}),
]
"""Objectives that start as the winner's error, so with the loss of sft."""

WITHOUT_REFERENCE: list[tuple[str, dict[str, Any]]] = [
    ("mapo", {"form": "code"}),
    ("mapo", {"form": "paper"}),
]

METHODS = ["robust_dpo", "poly_dpo", "dmpo", "dspo", "diffusion_sdpo", "mapo"]
NETWORKS = [("tiny_pipeline", None), ("tiny_pipeline", 2), ("tiny_v_pipeline", None), ("tiny_v_pipeline", 2)]


def recipe_of(method: str, **values: Any) -> Recipe:
    values = {"steps": 2, "batch": 2, "cache": True, **values}
    return resolve_recipe(
        method, "miniature", {key: Constant(value, "test") for key, value in values.items()}
    )


def run_of(recipe: Recipe, pipeline: Path, manifest: Path) -> OfflineRun:
    return prepare_run(recipe, open_backbone(str(pipeline)), open_preferences(str(manifest), recipe.data))


def two_losses(recipe: Recipe, pipeline: Path, manifest: Path) -> list[float]:
    """The two steps' losses, after checking that they are numbers and have moved the weights."""
    run = run_of(recipe, pipeline, manifest)
    before = {name: value.detach().clone() for name, value in run.trained.trainable().items()}
    lines = list(training_steps(run))
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in lines)
    assert any(not torch.equal(value, before[name]) for name, value in run.trained.trainable().items())
    return [line["loss"] for line in lines]


@pytest.mark.parametrize("number", range(len(FIRST_LOSSES)))
def test_the_first_loss_is_the_one_of_equal_policy_and_reference(
    number: int, request: pytest.FixtureRequest, manifest: Path
):
    """Noise or velocity, whole UNet or LoRA in turn."""
    method, own, expected = FIRST_LOSSES[number]
    pipeline, rank = NETWORKS[number % 4]
    recipe = recipe_of(method, lora_rank=rank, **own)
    first, _ = two_losses(recipe, request.getfixturevalue(pipeline), manifest)
    assert first == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("number", range(len(WINNERS_ERROR)))
def test_dspo_starts_with_the_loss_of_sft(number: int, request: pytest.FixtureRequest, manifest: Path):
    """The same noise and timesteps: draws depend on seed, step and row alone."""
    method, own = WINNERS_ERROR[number]
    pipeline, rank = NETWORKS[1 + number]
    folder = request.getfixturevalue(pipeline)
    first, _ = two_losses(recipe_of(method, lora_rank=rank, **own), folder, manifest)
    sft = next(training_steps(run_of(recipe_of("sft", lora_rank=rank), folder, manifest)))
    assert first == pytest.approx(sft["loss"], rel=1e-6)


@pytest.mark.parametrize("number", range(len(WITHOUT_REFERENCE)))
def test_mapo_trains_without_a_reference_network(number: int, request: pytest.FixtureRequest, manifest: Path):
    method, own = WITHOUT_REFERENCE[number]
    pipeline, rank = NETWORKS[1 + number]
    run = run_of(recipe_of(method, lora_rank=rank, **own), request.getfixturevalue(pipeline), manifest)
    assert run.nets.reference is None
    lines = list(training_steps(run))
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in lines)
    assert all(line["implicit_accuracy"] in (0.0, 0.5, 1.0) for line in lines)


@pytest.mark.parametrize(("number", "method"), list(enumerate(METHODS)))
def test_a_trained_checkpoint_loads_in_plain_diffusers(
    number: int, method: str, request: pytest.FixtureRequest, manifest: Path, tmp_path: Path
):
    """Noise or velocity, whole UNet or LoRA in turn."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    pipeline, rank = NETWORKS[number % 4]
    base, out = request.getfixturevalue(pipeline), tmp_path / "out"
    result = train(recipe_of(method, lora_rank=rank), backbone=str(base), data=str(manifest), out=out)
    assert result.card["method"] == method
    if rank is None:
        loaded = StableDiffusionPipeline.from_pretrained(out)
    else:
        loaded = StableDiffusionPipeline.from_pretrained(base)
        loaded.load_lora_weights(out)
    assert loaded.scheduler.config.prediction_type == result.card["backbone"]["prediction_type"]
    plain = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    noisy, text = torch.randn(1, 4, 8, 8), torch.randn(1, 12, 16)
    with torch.no_grad():
        trained, before = (
            unet(noisy, 500, encoder_hidden_states=text).sample for unet in (loaded.unet, plain)
        )
    assert torch.isfinite(trained).all()
    assert not torch.equal(trained, before)


@pytest.mark.parametrize("method", METHODS)
def test_recipes_give_every_constant_a_source(method: str):
    for name, lora in (("launcher", None), ("miniature", None), ("miniature", 4)):
        recipe = resolve_recipe(method, name, {"lora_rank": Constant(lora, "test")})
        assert all(constant["source"] for constant in recipe.constants().values()), (method, name)
