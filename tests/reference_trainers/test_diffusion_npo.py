"""Diffusion-NPO is Diffusion-DPO with winner and loser exchanged, number for number."""

import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prefbench.reference_trainers import diffusion_dpo, diffusion_npo
from prefbench.reference_trainers.diffusion_npo import npo_loss
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.method import Nets, PairBatch
from prefbench.reference_trainers.registry import load_method


@given(st.integers(0, 1000), st.floats(1.0, 5000.0))
def test_the_loss_is_dpo_with_swapped_labels(seed: int, kappa: float):
    mse_w, mse_l, ref_w, ref_l = torch.rand(
        4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    ours, swapped = (
        npo_loss(mse_w, mse_l, ref_w, ref_l, kappa=kappa),
        diffusion_dpo.dpo_loss(mse_l, mse_w, ref_l, ref_w, kappa=kappa),
    )
    assert torch.equal(ours.per_pair, swapped.per_pair)
    assert torch.equal(ours.logit, swapped.logit)
    right = diffusion_dpo.dpo_loss(mse_w, mse_l, ref_w, ref_l, kappa=kappa)
    assert torch.allclose(ours.logit, -right.logit, atol=1e-15)


def test_the_gradient_pushes_the_winner_away():
    errors = [torch.full((1,), 0.2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    ref = torch.full((1,), 0.2, dtype=torch.float64)
    npo_loss(*errors, ref, ref, kappa=10.0).per_pair.sum().backward()
    assert [error.grad.item() for error in errors] == pytest.approx([-5.0, 5.0])  # kappa sigmoid(0)


def test_the_step_is_dpo_with_swapped_labels():
    weight = torch.tensor(0.3, requires_grad=True)

    def policy(x: Tensor, t: Tensor, condition: dict) -> Tensor:
        return weight * x + condition["text"]

    nets = Nets(policy, lambda x, t, c: 0.1 * x, torch.linspace(0.999, 0.01, 1000), "v_prediction")
    winner, loser, text = torch.randn(3, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    cfg, draws = diffusion_npo.Config(kappa=30.0), Draws(0, 0, (0, 1))
    ours = diffusion_npo.step(nets, PairBatch(winner, loser, {"text": text}), draws, cfg).per_pair
    swapped = diffusion_dpo.step(nets, PairBatch(loser, winner, {"text": text}), draws, cfg).per_pair
    assert torch.equal(ours, swapped)
    gradients = [torch.autograd.grad(part.sum(), weight)[0] for part in (ours, swapped)]
    assert torch.equal(*gradients)
    plain = diffusion_dpo.step(nets, PairBatch(winner, loser, {"text": text}), draws, cfg).per_pair
    assert not torch.allclose(ours, plain)


def test_the_trained_network_is_said_to_be_the_negative_one():
    method = load_method("diffusion_npo")
    assert method.network == "negative"
    assert load_method("diffusion_dpo").network == "policy"
    assert method.presets["launcher"]["kappa"].value == 500


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(diffusion_npo, optionflags=doctest.ELLIPSIS) == (0, 3)
