"""The Diffusion-DPO loss against hand-derived values, finite differences and a numpy derivation."""

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers import diffusion_dpo
from prefbench.reference_trainers.diffusion_dpo import Config, dpo_loss
from prefbench.reference_trainers.registry import load_method

ERRORS = arrays(np.float64, (4, 5), elements=st.floats(0.0, 2.0))
KAPPAS = st.floats(1.0, 5000.0)


def loss_of(errors: np.ndarray, kappa: float) -> diffusion_dpo.PairLoss:
    return dpo_loss(*(torch.from_numpy(row) for row in errors), kappa=kappa)


def test_policy_equal_to_reference_gives_log_2_and_logit_0():
    error = torch.rand(7, dtype=torch.float64)
    other = torch.rand(7, dtype=torch.float64)
    result = dpo_loss(error, other, error, other, kappa=2500.0)
    assert result.per_pair.tolist() == pytest.approx([math.log(2)] * 7, abs=1e-15)
    assert result.logit.tolist() == [0.0] * 7


def test_hand_derived_value():
    """mse_w .10, mse_l .20, ref_mse_w .13, ref_mse_l .21: l = (.13 - .21) - (.10 - .20) = .02.

    With kappa = 100 ln(3)/2 = 54.93, kappa l = ln 3, sigmoid = 3/4, loss = ln(4/3) = 0.287682.
    """
    result = dpo_loss(*torch.tensor([[0.10], [0.20], [0.13], [0.21]]).double(), kappa=50 * math.log(3))
    assert result.per_pair.item() == pytest.approx(math.log(4 / 3), abs=1e-7)
    assert result.logit.item() == pytest.approx(0.02, abs=1e-7)
    assert result.log["kappa_logit"].item() == pytest.approx(math.log(3), abs=1e-6)


def test_gradient_agrees_with_finite_differences():
    errors = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inputs = [row.requires_grad_() for row in errors.unbind()]
    assert torch.autograd.gradcheck(lambda *e: dpo_loss(*e, kappa=5.0).per_pair, inputs)


@given(ERRORS, KAPPAS)
def test_agrees_with_a_numpy_derivation(errors: np.ndarray, kappa: float):
    """-log p with p the Bradley-Terry probability of two implicit rewards r = kappa (ref error - error)."""
    reward_w, reward_l = kappa * (errors[2] - errors[0]), kappa * (errors[3] - errors[1])
    expected = np.logaddexp(reward_w, reward_l) - reward_w
    assert loss_of(errors, kappa).per_pair.numpy() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(ERRORS, KAPPAS)
def test_swapping_winner_and_loser_turns_the_logit_round_and_costs_the_logit(
    errors: np.ndarray, kappa: float
):
    """-log s(-x) = -log s(x) + x, and the gradient's weights s(-x) and s(x) add to 1."""
    one, other = loss_of(errors, kappa), loss_of(errors[[1, 0, 3, 2]], kappa)
    assert torch.equal(one.logit, -other.logit) or torch.allclose(one.logit, -other.logit, atol=1e-12)
    assert torch.allclose(other.per_pair - one.per_pair, kappa * one.logit, rtol=1e-9, atol=1e-9)


@given(st.floats(-0.1, 0.1), st.floats(1e-3, 0.1), st.floats(1.0, 200.0))
def test_loss_falls_as_the_logit_rises(logit: float, rise: float, kappa: float):
    zero = torch.zeros(1, dtype=torch.float64)
    low = dpo_loss(zero, zero + logit + 1, zero, zero + 1, kappa=kappa)
    high = dpo_loss(zero, zero + logit + rise + 1, zero, zero + 1, kappa=kappa)
    assert high.logit > low.logit
    assert high.per_pair < low.per_pair


def test_half_of_the_pairs_do_not_change_the_loss_of_the_others():
    errors = torch.rand(4, 6, dtype=torch.float64)
    whole = dpo_loss(*errors, kappa=1000.0).per_pair
    assert torch.equal(dpo_loss(*errors[:, :3], kappa=1000.0).per_pair, whole[:3])


def test_large_logits_stay_finite_in_float32():
    result = dpo_loss(torch.tensor([10.0]), torch.zeros(1), torch.zeros(1), torch.zeros(1), kappa=2500.0)
    assert result.per_pair.item() == pytest.approx(25000.0)


def test_logit_and_log_carry_no_gradient():
    errors = torch.rand(4, 3, requires_grad=True)
    result = dpo_loss(*errors, kappa=10.0)
    assert result.per_pair.requires_grad
    assert not any(value.requires_grad for value in [result.logit, *result.log.values()])


@pytest.mark.parametrize("kappa", [0.0, -1.0, math.nan])
def test_kappa_must_be_positive(kappa: float):
    z = torch.zeros(2)
    with pytest.raises(ValueError, match="kappa must be positive"):
        dpo_loss(z, z, z, z, kappa=kappa)
    with pytest.raises(UsageError, match=r"2500 \(launcher\), 1000 \(paper\)"):
        Config(kappa=kappa)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        dpo_loss(torch.zeros(3), torch.zeros(1), torch.zeros(3), torch.zeros(3), kappa=1.0)
    with pytest.raises(ValueError, match="one shape"):
        dpo_loss(*[torch.zeros(3, 1)] * 4, kappa=1.0)


def test_named_kappas_have_a_source():
    presets = load_method("diffusion_dpo").presets
    assert presets["launcher"]["kappa"].value == 2500 == 0.5 * 5000
    assert presets["paper"]["kappa"].value == 1000 == 0.5 * 2000
    assert "5233e75" in presets["launcher"]["kappa"].source
    assert "2311.12908" in presets["paper"]["kappa"].source


def test_examples_in_the_docstrings_run():
    flags = doctest.ELLIPSIS
    assert doctest.testmod(diffusion_dpo, extraglobs={"torch": torch}, optionflags=flags) == (0, 2)


def test_the_loss_takes_the_arrays_by_their_contract_names():
    z = torch.zeros(2)
    loss = load_method("diffusion_dpo").loss
    assert loss(mse_w=z, mse_l=z, ref_mse_w=z, ref_mse_l=z, kappa=1.0).per_pair.shape == (2,)
    assert load_method("sft").loss(mse_w=z + 0.5).per_pair.tolist() == [0.5, 0.5]
