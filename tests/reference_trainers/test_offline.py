"""The offline loop on a tiny random pipeline."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.draws import micro_batches
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import OfflineRun, prepare_run, train, training_steps
from prefbench.reference_trainers.preferences.opening import open_preferences
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe

METHODS = ["sft", "diffusion_dpo"]


def recipe_of(method: str, **values: Any) -> Recipe:
    values = {"steps": 3, "batch": 4, "cache": True, **values}
    return resolve_recipe(
        method, "miniature", {key: Constant(value, "test") for key, value in values.items()}
    )


def metrics_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def open_run(recipe: Recipe, pipeline: Path, manifest: Path) -> OfflineRun:
    return prepare_run(recipe, open_backbone(str(pipeline)), open_preferences(str(manifest), recipe.data))


def losses(recipe: Recipe, pipeline: Path, manifest: Path) -> list[float]:
    return [line["loss"] for line in training_steps(open_run(recipe, pipeline, manifest))]


@pytest.mark.parametrize("method", METHODS)
def test_full_fine_tuning_ends_as_a_pipeline_that_plain_diffusers_loads(
    method: str, tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    from diffusers import StableDiffusionPipeline

    out = tmp_path / "out"
    train(recipe_of(method), backbone=str(tiny_pipeline), data=str(manifest), out=out)
    base, trained = (StableDiffusionPipeline.from_pretrained(folder) for folder in (tiny_pipeline, out))
    for part in ("vae", "text_encoder"):
        before, after = (getattr(pipeline, part).state_dict() for pipeline in (base, trained))
        assert all(torch.equal(before[name], after[name]) for name in before), part
    before, after = base.unet.state_dict(), trained.unet.state_dict()
    assert all(value.dtype == torch.float32 for value in after.values())
    assert all(not torch.equal(before[name], after[name]) for name in before)
    trained.set_progress_bar_config(disable=True)
    image = trained("a red square", num_inference_steps=2, output_type="np").images
    assert np.isfinite(image).all()
    assert image.shape == (1, 16, 16, 3)
    assert not (out / "state").exists()


def test_lora_ends_as_adapters_that_plain_diffusers_loads_over_the_base(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    from diffusers import StableDiffusionPipeline

    out = tmp_path / "out"
    recipe = recipe_of("diffusion_dpo", lora_rank=2)
    train(recipe, backbone=str(tiny_pipeline), data=str(manifest), out=out)
    assert {path.name for path in out.iterdir()} == {
        "pytorch_lora_weights.safetensors",
        "prefbench.json",
        "metrics.jsonl",
    }
    run = open_run(recipe, tiny_pipeline, manifest)
    assert len(list(training_steps(run))) == 3
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipeline.load_lora_weights(out)
    x, t, text = torch.randn(2, 4, 8, 8), torch.tensor([10, 500]), torch.randn(2, 12, 16)
    with torch.no_grad():
        ours = run.nets.policy(x, t, {"text": text})
        theirs = pipeline.unet(x, t, encoder_hidden_states=text).sample
        base = open_backbone(str(tiny_pipeline)).unet(x, t, encoder_hidden_states=text).sample
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, base, atol=1e-5)


def test_lora_reference_is_the_base_and_base_weights_do_not_move(tiny_pipeline: Path, manifest: Path):
    run = open_run(recipe_of("diffusion_dpo", lora_rank=2), tiny_pipeline, manifest)
    assert all("lora" in name for name in run.trained.trainable())
    list(training_steps(run))
    base = open_backbone(str(tiny_pipeline)).unet
    x, t, text = torch.randn(2, 4, 8, 8), torch.tensor([10, 500]), torch.randn(2, 12, 16)
    with torch.no_grad():
        expected = base(x, t, encoder_hidden_states=text).sample
    assert run.nets.reference is not None
    assert torch.allclose(run.nets.reference(x, t, {"text": text}), expected, atol=1e-6)
    now = {name.replace(".base_layer", ""): value for name, value in run.trained.unet.state_dict().items()}
    assert all(torch.equal(value, now[name]) for name, value in base.state_dict().items())
    assert all(value.requires_grad for value in run.trained.trainable().values())


def test_full_reference_does_not_move(tiny_pipeline: Path, manifest: Path):
    run = open_run(recipe_of("diffusion_dpo"), tiny_pipeline, manifest)
    x, t, text = torch.randn(2, 4, 8, 8), torch.tensor([10, 500]), torch.randn(2, 12, 16)
    before = run.nets.reference(x, t, {"text": text})
    list(training_steps(run))
    assert torch.equal(run.nets.reference(x, t, {"text": text}), before)
    assert not before.requires_grad


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_first_dpo_loss_is_log_2(lora_rank: int | None, tiny_pipeline: Path, manifest: Path):
    """Policy and reference are the same before the first update."""
    first = next(
        training_steps(open_run(recipe_of("diffusion_dpo", lora_rank=lora_rank), tiny_pipeline, manifest))
    )
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert first["implicit_accuracy"] == 0.5


def test_sft_has_no_implicit_accuracy_and_reads_no_loser(
    tiny_pipeline: Path, tmp_path: Path, write_manifest: Callable[..., Path]
):
    path = write_manifest(tmp_path, 4, lambda i: 1)
    run = open_run(recipe_of("sft", cache=False), tiny_pipeline, path)
    for i in range(4):
        (tmp_path / "images" / f"{i}_1.png").unlink()
    assert [line["implicit_accuracy"] for line in training_steps(run)] == [None] * 3


SMALL = {"kappa": 50, "lr": 1e-3}
"""A small kappa, because kappa multiplies the rounding of float32 as it does the logit."""


@pytest.mark.parametrize(("method", "own"), [("sft", {"lr": 1e-3}), ("diffusion_dpo", SMALL)])
def test_accumulated_micro_batches_equal_one_batch(
    method: str, own: dict, tiny_pipeline: Path, manifest: Path
):
    whole = losses(recipe_of(method, batch=16, **own), tiny_pipeline, manifest)
    parts = losses(recipe_of(method, batch=16, micro_batch=8, **own), tiny_pipeline, manifest)
    assert parts == pytest.approx(whole, abs=1e-5)
    assert len({round(loss, 3) for loss in whole}) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_caching_changes_no_number(workers: int, tiny_pipeline: Path, manifest: Path):
    cached = losses(recipe_of("diffusion_dpo", caption_dropout=0.5, **SMALL), tiny_pipeline, manifest)
    read = recipe_of("diffusion_dpo", caption_dropout=0.5, cache=False, workers=workers, **SMALL)
    assert losses(read, tiny_pipeline, manifest) == pytest.approx(cached, abs=1e-5)


@pytest.mark.parametrize(
    "changed", [{"seed": 1}, {"flip": 0.5}, {"hflip": True, "cache": False}, {"caption_dropout": 1}]
)
def test_seed_flips_mirroring_and_dropout_each_change_the_run(
    changed: dict, tiny_pipeline: Path, manifest: Path
):
    plain = losses(recipe_of("diffusion_dpo"), tiny_pipeline, manifest)
    assert losses(recipe_of("diffusion_dpo", **changed), tiny_pipeline, manifest) != pytest.approx(
        plain, abs=1e-5
    )


def test_updates_on_one_batch_make_the_policy_prefer_its_winners(tiny_pipeline: Path, manifest: Path):
    """The same pairs, noise and timesteps twelve times: every logit ends above 0, each loss below log 2."""
    recipe = recipe_of("diffusion_dpo", kappa=200)
    run = open_run(recipe, tiny_pipeline, manifest)
    plan = micro_batches(
        seed=0, count=run.rows, batch=4, micro_batch=4, first_step=0, steps=1, process=0, processes=1
    )
    _, batch, draws = next(run.feed.stream(plan))
    for group in run.optimizer.param_groups:
        group["lr"] = 3e-3
    for _ in range(12):
        result = run.method.step(run.nets, batch, draws, run.config)
        run.accelerator.backward(result.per_pair.mean())
        run.optimizer.step()
        run.optimizer.zero_grad()
    assert (result.logit > 0).all()
    assert result.per_pair.max() < np.log(2)


def test_velocity_prediction_trains_towards_the_velocity(
    tmp_path: Path, manifest: Path, tiny_v_pipeline: Path
):
    folder = tiny_v_pipeline
    as_noise = shutil.copytree(folder, tmp_path / "e")
    config = as_noise / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("v_prediction", "epsilon"))
    velocity, noise = (losses(recipe_of("sft"), pipeline, manifest) for pipeline in (folder, as_noise))
    assert velocity != pytest.approx(noise, abs=1e-3)


def test_bf16_and_checkpointed_activations_stay_near_fp32(tiny_pipeline: Path, manifest: Path):
    full = losses(recipe_of("sft"), tiny_pipeline, manifest)
    assert losses(recipe_of("sft", precision="bf16"), tiny_pipeline, manifest) == pytest.approx(
        full, rel=0.03
    )
    again = losses(recipe_of("sft", gradient_checkpointing=True), tiny_pipeline, manifest)
    assert again == pytest.approx(full, rel=1e-5)


def test_fp16_without_a_gpu_is_refused(tiny_pipeline: Path, manifest: Path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match=r"fp16 on cpu.*what test says.*change it by --precision fp32"):
        open_run(recipe_of("sft", precision="fp16"), tiny_pipeline, manifest)


def test_a_precision_that_the_machine_lacks_is_refused(
    tiny_pipeline: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
):
    """accelerate raises ValueError for a precision that the hardware lacks; no such hardware is at hand."""

    def refuse(**_: str) -> None:
        raise ValueError("bf16 mixed precision requires a supported device")

    monkeypatch.setattr("prefbench.reference_trainers.training_steps.Accelerator", refuse)
    with pytest.raises(UsageError, match=r"precision = bf16.*Set precision=fp32"):
        open_run(recipe_of("sft", precision="bf16"), tiny_pipeline, manifest)


def test_processes_that_do_not_see_each_other_are_refused(
    tiny_pipeline: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
):
    """As torchrun on CPUs without ACCELERATE_USE_CPU does: each process would be the only one."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"2 processes were launched.*ACCELERATE_USE_CPU=true"):
        open_run(recipe_of("sft"), tiny_pipeline, manifest)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    """A learning rate of 1e30 makes the second loss overflow; the state of step 1 stays."""
    out = tmp_path / "out"
    recipe = recipe_of("sft", lr=1e30, checkpoint_every=1, warm_up=0)
    with pytest.raises(DataError, match=r"Step 2: the loss is .*Lower lr"):
        train(recipe, backbone=str(tiny_pipeline), data=str(manifest), out=out)
    assert [line["step"] for line in metrics_of(out)] == [1]
    assert sorted(path.name for path in (out / "state").iterdir()) == ["config.json", "step-00000001"]
    assert load_file(out / "state" / "step-00000001" / "weights.safetensors")
    assert not (out / "prefbench.json").exists()
    assert not (out / "model_index.json").exists()


def test_the_card_says_what_was_trained(
    tiny_pipeline: Path, tmp_path: Path, write_manifest: Callable[..., Path]
):
    path = write_manifest(tmp_path, 8, lambda i: (1, 0.5, 0, 1)[i % 4])
    out = tmp_path / "out"
    recipe = recipe_of("diffusion_dpo", flip=0.5, kappa=700, lora_rank=2)
    result = train(recipe, backbone=str(tiny_pipeline), data=str(path), out=out)
    card = json.loads((out / "prefbench.json").read_text())
    assert card == {**result.card, "config": card["config"]}
    assert (card["kind"], card["base"], card["method"]) == (
        "lora",
        str(tiny_pipeline.resolve()),
        "diffusion_dpo",
    )
    assert (card["kappa"], card["lora_rank"], card["steps"], card["seed"]) == (700, 2, 3, 0)
    data = card["data"]
    assert (data["rows"], data["ties_dropped"], data["pairs"], data["flipped"]) == (8, 2, 6, 3)
    assert card["constants"]["kappa"] == {"value": 700.0, "source": "test"}
    assert card["last_step"] == metrics_of(out)[-1]
    assert card["versions"]["torch"] == torch.__version__.partition("+")[0]
