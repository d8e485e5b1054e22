"""A reference that stays, is refreshed or follows, with full fine-tuning and with LoRA."""

import doctest
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers import reference_policy
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.method import Condition, Constant, ImageBatch, Nets, PairBatch
from prefbench.reference_trainers.offline import OfflineRun, prepare_run, training_steps
from prefbench.reference_trainers.preferences.opening import open_preferences
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe
from prefbench.reference_trainers.reference_policy import (
    MovingReference,
    ReferenceConfig,
    ReferenceRule,
    parse_reference,
    prediction_divergence,
)

RANKS = [None, 2]


def recipe_of(reference: str = "fixed", method: str = "diffusion_dpo", **values: Any) -> Recipe:
    values = {"steps": 6, "batch": 2, "lr": 1e-3, "cache": True, "reference": reference, **values}
    return resolve_recipe(method, "miniature", {k: Constant(v, "test") for k, v in values.items()})


def open_run(pipeline: Path, manifest: Path, reference: str = "fixed", **values: Any) -> OfflineRun:
    recipe = recipe_of(reference, **values)
    return prepare_run(recipe, open_backbone(str(pipeline)), open_preferences(str(manifest), recipe.data))


def weights_of(run: OfflineRun) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in run.trained.trainable().items()}


def noisy_inputs() -> tuple[Tensor, Tensor, Condition]:
    generator = torch.Generator().manual_seed(3)
    x, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 12, 16, generator=generator)
    return x, torch.tensor([10, 500]), {"text": text}


def predictions(run: OfflineRun) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return run.nets.policy(*noisy_inputs()), run.nets.reference(*noisy_inputs())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("fixed", ReferenceRule("fixed")),
        (" fixed ", ReferenceRule("fixed")),
        ("refresh:64", ReferenceRule("refresh", every=64)),
        ("refresh:inf", ReferenceRule("fixed")),
        ("ema:0.99", ReferenceRule("ema", decay=0.99)),
        ("ema:0", ReferenceRule("ema", decay=0.0)),
        ("ema:1", ReferenceRule("fixed")),
    ],
)
def test_a_reference_is_named_by_one_word(text: str, rule: ReferenceRule):
    assert parse_reference(text) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("moving", "'moving' is no reference policy. Give fixed, refresh:TAU"),
        ("fixed:3", "no reference policy"),
        ("refresh", "Example: refresh:64"),
        ("refresh:0", "1 or more"),
        ("refresh:1.5", "1 or more"),
        ("ema:", "Example: ema:0.99"),
        ("ema:1.2", "0 to 1"),
        ("ema:nan", "0 to 1"),
    ],
)
def test_anything_else_is_refused_with_the_forms_that_exist(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        recipe_of(text)


@pytest.mark.parametrize("cap", [0.0, -1.0, math.inf, math.nan])
def test_a_cap_that_bounds_nothing_is_refused(cap: float):
    with pytest.raises(UsageError, match="not a positive number"):
        ReferenceConfig("refresh:2", cap)


def test_a_cap_on_a_reference_that_never_moves_is_refused():
    with pytest.raises(UsageError, match="never moves"):
        ReferenceConfig("refresh:inf", 0.005)


def test_a_method_without_a_reference_takes_no_moving_one():
    with pytest.raises(UsageError, match="sft has no reference network"):
        recipe_of("refresh:3", method="sft")
    assert recipe_of("fixed", method="sft").reference.rule.kind == "fixed"


def test_a_rule_is_due_at_multiples_of_its_period():
    assert [n for n in range(1, 10) if parse_reference("refresh:3").due(n)] == [3, 6, 9]
    assert [n for n in range(1, 4) if parse_reference("ema:0.5").due(n)] == [1, 2, 3]
    assert not any(ReferenceRule("fixed").due(n) for n in range(1, 10))


def test_an_average_starts_at_the_initial_weights():
    """From 1 towards 3 with decay 0.9: 1.2, then 1.38."""
    weight = {"w": torch.tensor([1.0])}
    reference = MovingReference(parse_reference("ema:0.9"), weight, keep_start=True)
    weight["w"].fill_(3)
    for expected in (1.2, 1.38):
        reference.move(weight)
        assert reference.weights["w"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("lora_rank", RANKS)
def test_a_refreshed_reference_is_the_policy_of_that_step_until_the_next(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path
):
    run = open_run(tiny_pipeline, manifest, "refresh:3", lora_rank=lora_rank, steps=5)
    start = predictions(run)[1]
    for line in training_steps(run):
        policy, reference = predictions(run)
        if line["step"] < 3:
            assert torch.equal(reference, start)
            assert (run.trained.reference.weights is None) == (lora_rank is not None)
        elif line["step"] == 3:
            assert torch.equal(policy, reference)
            held = run.trained.reference.weights
            assert held.keys() == run.trained.trainable().keys()
            assert not any(value.requires_grad for value in held.values())
            refreshed = reference
        else:
            assert torch.equal(reference, refreshed)
            assert not torch.equal(policy, reference)
        assert line["reference_moves"] == line["step"] // 3
    assert not torch.equal(start, refreshed)
    assert all(value.requires_grad for value in run.trained.trainable().values())


@pytest.mark.parametrize("lora_rank", RANKS)
def test_refreshed_at_every_step_the_implicit_logit_is_0(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path
):
    run = open_run(tiny_pipeline, manifest, "refresh:1", lora_rank=lora_rank, steps=4)
    lines = list(training_steps(run))
    assert [line["kappa_logit"] for line in lines] == [0.0] * 4
    assert [line["implicit_accuracy"] for line in lines] == [0.5] * 4
    assert [line["grad_norm"] > 0 for line in lines] == [True] * 4


@pytest.mark.parametrize("lora_rank", RANKS)
def test_a_refresh_that_never_comes_gives_the_trajectory_of_a_fixed_reference(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path
):
    ends = []
    for reference in ("fixed", "refresh:inf", "refresh:99"):
        run = open_run(tiny_pipeline, manifest, reference, lora_rank=lora_rank, steps=4)
        losses = [line["loss"] for line in training_steps(run)]
        ends.append((losses, weights_of(run)))
        assert (run.trained.reference is None) == (reference != "refresh:99")
    for losses, weights in ends[1:]:
        assert losses == ends[0][0]
        assert all(torch.equal(value, ends[0][1][name]) for name, value in weights.items())


@pytest.mark.parametrize("lora_rank", RANKS)
def test_an_averaged_reference_is_the_average_of_the_weights_by_hand(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path
):
    run = open_run(tiny_pipeline, manifest, "ema:0.9", lora_rank=lora_rank, steps=3)
    expected = weights_of(run)
    for _ in training_steps(run):
        now = weights_of(run)
        expected = {name: 0.9 * expected[name] + 0.1 * now[name] for name in now}
    held = run.trained.reference.weights
    assert held.keys() == expected.keys()
    assert all(torch.allclose(value, expected[name], rtol=1e-5, atol=1e-7) for name, value in held.items())
    policy, reference = predictions(run)
    with torch.no_grad():
        for name, value in run.trained.trainable().items():
            value.copy_(held[name])
    assert torch.equal(predictions(run)[0], reference)
    assert not torch.equal(policy, reference)


def test_the_moving_reference_of_a_low_precision_run_stays_in_fp32(tiny_pipeline: Path, manifest: Path):
    run = open_run(tiny_pipeline, manifest, "refresh:1", steps=1, precision="bf16")
    list(training_steps(run))
    assert all(value.dtype == torch.float32 for value in run.trained.reference.weights.values())
    assert torch.equal(*predictions(run))


@pytest.mark.parametrize("lora_rank", RANKS)
def test_over_the_cap_the_reference_stays_and_the_divergence_is_logged(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path
):
    values = {"lora_rank": lora_rank, "steps": 4, "lr": 3e-3}
    free = list(training_steps(open_run(tiny_pipeline, manifest, "refresh:2", reference_cap=1e9, **values)))
    assert [line["reference_moves"] for line in free] == [0, 1, 1, 2]
    assert [line["reference_divergence"] is None for line in free] == [True, False, True, False]
    measured = free[1]["reference_divergence"]
    assert measured > 0
    for cap, moves in ((measured * 1.01, 1), (measured * 0.99, 0)):
        capped = open_run(tiny_pipeline, manifest, "refresh:2", reference_cap=cap, **values)
        lines = list(training_steps(capped))
        assert lines[1]["reference_divergence"] == measured
        assert lines[1]["reference_moves"] == moves


def test_divergence_is_the_mean_squared_difference_of_predictions():
    """Policy 0.5 x, reference 0.2 x: 0.09 times the mean square of the noised images, winners and losers alike."""
    nets = Nets(lambda x, t, c: 0.5 * x, lambda x, t, c: 0.2 * x, torch.tensor([0.36] * 10), "epsilon")
    winner, loser = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    draws = Draws(seed=0, step=4, rows=(0, 1))
    noise = draws.normal("divergence_noise", (1, 2, 2))
    noised = torch.cat([0.6 + 0.8 * noise, 0.8 * noise])
    pairs = prediction_divergence(nets, PairBatch(winner, loser, {}), draws)
    assert pairs.item() == pytest.approx(0.09 * noised.square().mean().item(), rel=1e-5)
    single = prediction_divergence(nets, ImageBatch(winner, torch.ones(2), {}), draws)
    assert single.item() == pytest.approx(0.09 * noised[:2].square().mean().item(), rel=1e-5)


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(reference_policy) == (0, 2)
