"""Rethinking DPO: the loss, the weights by timestep, and which timesteps are drawn."""

import doctest
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers import rethinking_dpo
from prefbench.reference_trainers.diffusion_dpo import dpo_loss
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.recipes import resolve_recipe
from prefbench.reference_trainers.rethinking_dpo import (
    Config,
    early_timesteps,
    rethinking_dpo_loss,
    snr_weights,
)


def errors() -> torch.Tensor:
    return torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_hand_derived_value():
    """l = (.13 - .21) - (.10 - .20) = .02; with kappa lambda = 50 ln 3, the probability is 3/4."""
    rows = torch.tensor([[0.10], [0.20], [0.13], [0.21]]).double()
    result = rethinking_dpo_loss(*rows, kappa=25 * math.log(3), timestep_weight=torch.full((1,), 2.0))
    assert result.per_pair.item() == pytest.approx(math.log(4 / 3), abs=1e-7)
    assert result.logit.item() == pytest.approx(0.02, abs=1e-7)


def test_weight_1_is_diffusion_dpo():
    ones = torch.ones(3, dtype=torch.float64)
    mine = rethinking_dpo_loss(*errors(), kappa=100.0, timestep_weight=ones).per_pair
    assert torch.allclose(mine, dpo_loss(*errors(), kappa=100.0).per_pair, rtol=1e-12)


def test_gradient_agrees_with_finite_differences():
    weight = torch.tensor([1.0, 1.5, 2.0]).double()
    inputs = [row.requires_grad_() for row in errors().unbind()]
    assert torch.autograd.gradcheck(
        lambda *e: rethinking_dpo_loss(*e, kappa=5.0, timestep_weight=weight).per_pair, inputs
    )


def test_weights_rise_with_the_noise_from_1_to_2():
    abar = torch.linspace(0.999, 0.005, 1000, dtype=torch.float64)
    weights = snr_weights(abar)
    expected = np.sqrt((1 - abar.numpy()) / abar.numpy())
    expected = 1 + (expected - expected[0]) / (expected[-1] - expected[0])
    assert weights.numpy() == pytest.approx(expected, rel=1e-12)
    assert (weights.diff() > 0).all()


@pytest.mark.parametrize("abar", [[0.9, 0.5, 0.0], [0.5, 0.5]])
def test_a_schedule_without_a_finite_range_is_refused(abar: list[float]):
    with pytest.raises(UsageError, match="snr_weight=false"):
        snr_weights(torch.tensor(abar))


@pytest.mark.parametrize("early", [0.0, 0.5, 0.9, 1.0])
def test_the_share_of_early_timesteps_is_as_asked_and_each_half_is_uniform(early: float):
    """2000 draws: the standard error of a share is at most 0.0112, of a quarter's count in its half 4.5 %."""
    drawn = early_timesteps(Draws(seed=0, step=0, rows=tuple(range(2000))), 11, early)
    share = (drawn >= 6).double().mean().item()
    assert share == pytest.approx(early, abs=4 * 0.0112)
    for low, high, part in ((0, 6, 1 - early), (6, 11, early)):
        counts = torch.bincount(drawn, minlength=11)[low:high].double() / 2000
        assert counts.tolist() == pytest.approx([part / (high - low)] * (high - low), abs=0.04)


def test_bad_constants_and_shapes_are_refused():
    with pytest.raises(UsageError, match=r"early = 1\.5"):
        Config(kappa=1.0, early=1.5, snr_weight=True)
    with pytest.raises(UsageError, match="kappa = 0"):
        Config(kappa=0, early=0.5, snr_weight=True)
    z = torch.zeros(3)
    with pytest.raises(ValueError, match="kappa must be positive"):
        rethinking_dpo_loss(z, z, z, z, kappa=0.0, timestep_weight=z)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        rethinking_dpo_loss(z, z, z, z, kappa=1.0, timestep_weight=z[:1])


@pytest.mark.parametrize("name", ["launcher", "miniature"])
def test_a_recipe_of_this_method_moves_its_reference(name: str):
    recipe = resolve_recipe("rethinking_dpo", name)
    assert recipe.reference.rule.kind == "refresh"
    assert recipe.reference.rule.every in (16, 32, 64)
    assert recipe.reference.reference_cap == 0.005
    assert "2505.18736" in recipe.sources["reference_cap"]
    assert "reconstruction" in recipe.sources["reference_cap"]


def test_the_users_reference_wins_over_the_methods():
    given = {
        "reference": Constant("ema:0.99", "--reference"),
        "reference_cap": Constant("none", "--set"),
    }
    recipe = resolve_recipe("rethinking_dpo", "miniature", given)
    assert (recipe.reference.rule.kind, recipe.reference.reference_cap) == ("ema", None)


def test_two_steps_train(tiny_pipeline: Path, manifest: Path, tmp_path: Path):
    from prefbench.reference_trainers.offline import train

    given = {"steps": 2, "batch": 2, "cache": True, "reference": "refresh:1", "reference_cap": 10}
    recipe = resolve_recipe("rethinking_dpo", "miniature", {k: Constant(v, "test") for k, v in given.items()})
    card = train(recipe, backbone=str(tiny_pipeline), data=str(manifest), out=tmp_path / "out").card
    assert card["last_step"]["reference_moves"] == 2
    assert 0 < card["last_step"]["reference_divergence"] < 10


def test_examples_in_the_docstrings_run():
    ran = doctest.testmod(rethinking_dpo, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert (ran.failed, ran.attempted) == (0, 3)
