"""Shadows: fp32 averages of the trained weights alone, evaluated without touching the policy."""

import doctest
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prefbench.reference_trainers import ema
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.ema import WeightAverage, effective_decay
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import OfflineRun, prepare_run, training_steps
from prefbench.reference_trainers.preferences.opening import open_preferences
from prefbench.reference_trainers.recipes import resolve_recipe

SLOW, FAST = 0.9999, 0.5


def open_run(pipeline: Path, manifest: Path, method: str = "adaptive_dpo", **values: Any) -> OfflineRun:
    values = {"steps": 12, "batch": 2, "lr": 1e-3, "cache": True, **values}
    recipe = resolve_recipe(method, "miniature", {k: Constant(v, "test") for k, v in values.items()})
    return prepare_run(recipe, open_backbone(str(pipeline)), open_preferences(str(manifest), recipe.data))


def copies(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


def noisy_inputs() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    x, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 12, 16, generator=generator)
    return x, torch.tensor([10, 500]), {"text": text}


def test_effective_decay_is_that_of_diffusers():
    from diffusers.training_utils import EMAModel

    for decay in (SLOW, FAST, 0.0, 0.2):
        model = EMAModel([torch.nn.Parameter(torch.zeros(1))], decay=decay)
        for updates in range(1, 40):
            assert effective_decay(decay, updates) == model.get_decay(updates)


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=30), st.floats(0, 1))
def test_an_average_stays_within_the_weights_that_it_has_seen(values: list[float], decay: float):
    weight = torch.zeros(1)
    average = WeightAverage(decay, {"w": weight})
    for value in values:
        weight.fill_(value)
        average.update({"w": weight})
        assert min(values) - 1e-4 <= average.weights["w"].item() <= max(values) + 1e-4


def test_the_first_update_copies_the_weights_exactly():
    """a - 1 * (a - b) is not b where a and b differ by orders of magnitude."""
    average = WeightAverage(SLOW, {"w": torch.tensor([1e8])})
    average.update({"w": torch.tensor([1e-3])})
    assert average.weights["w"].item() == torch.tensor(1e-3).item()


def test_half_precision_weights_are_averaged_in_fp32():
    """Drift 1e-6 a step from 0.125: an fp16 average of decay 0.9999 would not move at all."""
    average = WeightAverage(SLOW, {"w": torch.tensor([0.125], dtype=torch.float16)})
    average.updates = 100_000  # past the warm-up of the decay
    average.update({"w": torch.tensor([0.125 + 1e-6])})
    assert average.weights["w"].dtype == torch.float32
    moved = WeightAverage(SLOW, {"w": torch.tensor([0.125])})
    moved.updates = 100_000
    for step in range(1, 2001):
        moved.update({"w": torch.tensor([0.125 + 1e-6 * step])})
    assert moved.weights["w"].item() - 0.125 > 1e-5


def shadows_predict_what_the_network_with_their_weights_predicts(run: OfflineRun) -> None:
    inputs = noisy_inputs()
    predicted = [shadow(*inputs) for shadow in run.nets.shadows]
    with torch.no_grad():
        policy = run.nets.policy(*inputs)
        for shadow, expected in zip(run.trained.shadows, predicted, strict=True):
            for name, value in run.trained.trainable().items():
                value.copy_(shadow.weights[name])
            assert torch.equal(run.nets.policy(*inputs), expected)
    assert not torch.equal(predicted[0], policy)
    assert not torch.equal(predicted[0], predicted[1])


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_shadows_equal_a_hand_rolled_average_over_twelve_steps_and_predict_with_it(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path
):
    """Update n keeps min(decay, n / (9 + n)) of the old average, the first nothing; decay 1/2 binds from the tenth."""
    run = open_run(tiny_pipeline, manifest, lora_rank=lora_rank)
    slow, fast = run.trained.shadows
    by_hand: dict[float, dict[str, Tensor]] = {}
    for n, _ in enumerate(training_steps(run), start=1):
        now = copies(run.trained.trainable())
        for decay in (SLOW, FAST):
            kept = 0.0 if n == 1 else min(decay, n / (9 + n))
            old = by_hand.get(decay, now)
            by_hand[decay] = {name: kept * old[name] + (1 - kept) * now[name] for name in now}
        same = all(torch.equal(slow.weights[name], fast.weights[name]) for name in now)
        assert same == (n < 10)
    assert n == 12
    for shadow, decay in ((slow, SLOW), (fast, FAST)):
        for name, value in shadow.weights.items():
            assert torch.allclose(value, by_hand[decay][name], rtol=1e-5, atol=1e-7), name
    shadows_predict_what_the_network_with_their_weights_predicts(run)


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_a_shadow_holds_the_trained_parameters_only_and_leaves_the_policy_alone(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path
):
    run = open_run(tiny_pipeline, manifest, lora_rank=lora_rank, steps=3, precision="bf16")
    list(training_steps(run))
    trained = run.trained.trainable()
    for shadow in run.trained.shadows:
        assert sum(v.numel() for v in shadow.weights.values()) == sum(v.numel() for v in trained.values())
        assert all(v.dtype == torch.float32 and not v.requires_grad for v in shadow.weights.values())
        assert all(shadow.weights[name].data_ptr() != value.data_ptr() for name, value in trained.items())
    before = copies(trained)
    output = run.nets.shadows[0](*noisy_inputs())
    assert not output.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in run.trained.trainable().items())


def test_a_run_of_adaptive_dpo_logs_u_its_weights_and_how_well_it_finds_flips(
    tiny_pipeline: Path, manifest: Path
):
    run = open_run(tiny_pipeline, manifest, steps=4, batch=8, flip=0.3)
    lines = list(training_steps(run))
    assert [line["u"] > 0 for line in lines] == [False, False, True, True]
    assert "u_auc" not in lines[1]
    for line in lines[2:]:
        assert line["weight_below_half"] in [i / 8 for i in range(9)]
        assert line["u_auc"] is None or 0 <= line["u_auc"] <= 1
        assert 0 <= line["flipped_in_top_quarter"] <= 1
    assert lines[0]["loss"] == pytest.approx(0.693147, abs=1e-5)


def test_methods_without_shadows_hold_none(tiny_pipeline: Path, manifest: Path):
    run = open_run(tiny_pipeline, manifest, "diffusion_dpo")
    assert (run.trained.shadows, run.nets.shadows, run.trained.moving_state()) == ((), (), {})


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(ema) == (0, 1)
