"""Half precision and recomputed activations, as far as a CPU shows them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prefbench.reference_trainers import training_steps as steps
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.preferences.opening import open_preferences
from prefbench.reference_trainers.recipes import resolve_recipe


def run_of(method: str, pipeline: Path, manifest: Path, **values: Any) -> steps.OfflineRun:
    recipe = resolve_recipe(method, "miniature", {k: Constant(v, "test") for k, v in values.items()})
    pairs = open_preferences(str(manifest), recipe.data)
    return steps.prepare_run(recipe, open_backbone(str(pipeline)), pairs)


def test_half_precision_scales_the_loss_and_an_overflow_leaves_the_step_out(
    tiny_pipeline: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
):
    """fp16 with torch's scaler for CPUs, which accelerate itself uses on GPUs alone; the first scale overflows.

    Weights in training stay in fp32, what is frozen is in fp16, and a skipped step has no gradient norm.
    """
    real = steps.Accelerator

    def with_scaler(**values: str) -> Any:
        accelerator = real(**values)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=100)
        accelerator.native_amp = True
        return accelerator

    monkeypatch.setattr(steps, "Accelerator", with_scaler)
    given = {"steps": 8, "batch": 2, "precision": "fp16", "lora_rank": 2, "lr": 1e-3, "warm_up": 0}
    run = run_of("diffusion_dpo", tiny_pipeline, manifest, **given)
    trained = run.trained.trainable()
    assert {value.dtype for value in trained.values()} == {torch.float32}
    frozen = {p.dtype for name, p in run.trained.unet.named_parameters() if name not in trained}
    assert frozen == {torch.float16}
    before = {name: value.detach().clone() for name, value in trained.items()}
    line = next(stream := steps.training_steps(run))
    assert line["grad_norm"] is None
    assert np.isfinite(line["loss"])
    assert all(torch.equal(value, before[name]) for name, value in trained.items())
    assert run.accelerator.scaler.get_scale() == 2.0**119
    run.accelerator.scaler.update(2.0**8)
    lines = list(stream)
    assert all(np.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in lines)
    assert any(not torch.equal(value, before[name]) for name, value in trained.items())


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_recomputed_activations_change_no_loss_of_a_method_with_averages_and_a_moving_reference(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path
):
    """Averages and reference are put into the network for one pass each; the backward pass recomputes the policy's."""
    given = {
        "steps": 4,
        "batch": 4,
        "lr": 1e-3,
        "kappa": 50,
        "reference": "refresh:2",
        "lora_rank": lora_rank,
    }
    losses = [
        [
            line["loss"]
            for line in steps.training_steps(
                run_of(
                    "adaptive_dpo",
                    tiny_pipeline,
                    manifest,
                    **given,
                    cache=True,
                    gradient_checkpointing=recomputed,
                )
            )
        ]
        for recomputed in (False, True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert len(set(losses[0])) == 4
