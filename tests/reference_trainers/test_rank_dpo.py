"""RankDPO: the loss of ranked lists against values by hand, its symmetries, its constants."""

import doctest
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers import rank_dpo
from prefbench.reference_trainers.diffusion_dpo import dpo_loss
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.method import Nets, RankBatch
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.rank_dpo import Config, dcg_weights, rank_dpo_loss, step
from prefbench.reference_trainers.registry import load_method

TWO = 1 / math.log(2) - 1 / math.log(3)
"""Worth of the only pair of a list of two with phi 1 and 0."""


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def one_list(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.long)


def loss_of(score: Tensor, value: Tensor, place: Tensor | None = None, kappa: float = 10.0) -> PairLoss:
    place = one_list(len(score)) if place is None else place
    return rank_dpo_loss(score + 1, torch.ones_like(score), value, place, kappa=kappa)


def by_hand(score: np.ndarray, value: np.ndarray, kappa: float) -> float:
    """The sum over pairs, pair by pair; equal values share their mean rank."""
    ranks = [1 + (value > v).sum() + 0.5 * ((value == v).sum() - 1) for v in value]
    total = 0.0
    for i, j in np.argwhere(value[:, None] > value[None, :]):
        gain = 2 ** value[i] - 2 ** value[j]
        discount = abs(1 / math.log(1 + ranks[i]) - 1 / math.log(1 + ranks[j]))
        total += gain * discount * math.log1p(math.exp(kappa * (score[i] - score[j])))
    return total


def test_a_list_of_three_by_hand():
    """phi = 1/2, 1, 0: gains sqrt 2 - 1, 1, 0 and discounts log 3, log 2, log 4. With 10 (s_j - s_i) = log 3 for the
    middle over the last and for the first over the middle, so 2 log 3 for the first over the last:

    log sigmoid of these is log 3/4, log 3/4, log 9/10.
    """
    apart = math.log(3) / 10
    result = loss_of(double(0.0, -apart, apart), double(0.5, 1.0, 0.0))
    first_middle = (2 - math.sqrt(2)) * (1 / math.log(2) - 1 / math.log(3))
    first_last = 1 / math.log(2) - 1 / math.log(4)
    middle_last = (math.sqrt(2) - 1) * (1 / math.log(3) - 1 / math.log(4))
    expected = (first_middle + middle_last) * math.log(4 / 3) + first_last * math.log(10 / 9)
    assert result.per_pair.tolist() == pytest.approx([expected], abs=1e-12)
    assert sorted(result.logit.tolist()) == pytest.approx([apart, apart, 2 * apart])
    assert result.log["weight_a_list"].item() == pytest.approx(first_middle + first_last + middle_last)
    assert result.log["kappa_logit"].item() == pytest.approx(4 / 3 * math.log(3))
    assert result.log["images_a_list"] == 3


def test_two_images_are_a_constant_times_diffusion_dpo():
    """The constant is 1/log 2 - 1/log 3 for unanimous voters, less where they disagree: |2^phi - 2^(1 - phi)| of it."""
    torch.manual_seed(0)
    errors = torch.rand(4, 5, dtype=torch.float64) / 100
    dpo = dpo_loss(*errors, kappa=1000.0)
    for phi in (1.0, 0.75):
        mse = torch.stack([errors[1], errors[0]], dim=1).flatten()  # the loser first
        ref = torch.stack([errors[3], errors[2]], dim=1).flatten()
        value, place = double(1 - phi, phi).repeat(5), torch.arange(5).repeat_interleave(2)
        ranked = rank_dpo_loss(mse, ref, value, place, kappa=1000.0)
        worth = (2**phi - 2 ** (1 - phi)) * TWO
        assert torch.allclose(ranked.per_pair, worth * dpo.per_pair, atol=1e-12, rtol=0)
        assert torch.allclose(ranked.logit, dpo.logit, atol=1e-15, rtol=0)


@given(st.lists(st.integers(2, 5), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_lists_of_any_length_sum_their_own_pairs(lengths: list[int], seed: int):
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(len(lengths)), lengths)
    score, value = rng.normal(size=len(place)) / 10, rng.integers(0, 4, len(place)) / 3
    result = loss_of(torch.from_numpy(score), torch.from_numpy(value), torch.from_numpy(place))
    expected = [by_hand(score[place == i], value[place == i], 10.0) for i in range(len(lengths))]
    assert result.per_pair.tolist() == pytest.approx(expected, abs=1e-9)


@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_the_order_in_which_images_are_named_means_nothing(order: list[int], seed: int):
    """Also where several share a value, and where the lists lie among one another."""
    rng = np.random.default_rng(seed)
    score, value = torch.from_numpy(rng.normal(size=6)), torch.from_numpy(rng.integers(0, 3, 6) / 2)
    place = torch.tensor([0, 0, 0, 0, 1, 1])
    mixed = loss_of(score[order], value[order], place[order])
    assert torch.allclose(mixed.per_pair, loss_of(score, value, place).per_pair, atol=1e-12)


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    mse = (torch.rand(7, dtype=torch.float64) / 10).requires_grad_()
    ref, value = torch.rand(7, dtype=torch.float64) / 10, torch.rand(7, dtype=torch.float64)
    place = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda m: rank_dpo_loss(m, ref, value, place, kappa=20.0).per_pair, mse)


def test_a_step_helps_the_best_image_at_the_expense_of_the_worst():
    """The gradient of a list sums to 0: only differences of errors matter."""
    torch.manual_seed(0)
    mse = torch.rand(4, dtype=torch.float64, requires_grad=True)
    rank_dpo_loss(
        mse, mse.detach(), double(0.2, 1.0, 0.0, 0.6), one_list(4), kappa=5.0
    ).per_pair.sum().backward()
    gradient = mse.grad
    assert gradient is not None
    assert gradient[1] > 0 > gradient[2]
    assert gradient.sum().item() == pytest.approx(0, abs=1e-12)


def test_equal_values_are_not_compared():
    """Two at the top: ranks 1.5 and 1.5, then 3; only their lead over the third counts."""
    weights = dcg_weights(double(1.0, 1.0, 0.0), one_list(3))
    lead = 1 / math.log(2.5) - 1 / math.log(4)
    assert weights.flatten().tolist() == pytest.approx([0, 0, lead, 0, 0, lead, 0, 0, 0])
    assert loss_of(double(0.1, 0.3), double(0.5, 0.5)).per_pair.tolist() == [0.0]


def test_arrays_of_different_lengths_and_kappa_0_are_refused():
    zeros, lists = torch.zeros(2), one_list(2)
    with pytest.raises(ValueError, match="must all have one shape"):
        rank_dpo_loss(zeros, zeros, torch.zeros(3), lists, kappa=1.0)
    with pytest.raises(ValueError, match="kappa must be positive"):
        rank_dpo_loss(zeros, zeros, zeros, lists, kappa=0.0)


def test_the_images_of_a_list_share_noise_and_timestep():
    """Equal latents in lists 0, 0, 1: the network sees equal noisy images in list 0, another one in list 1."""
    seen: list[tuple[Tensor, Tensor]] = []

    def net(noisy: Tensor, timesteps: Tensor, condition: dict[str, Tensor]) -> Tensor:
        seen.append((noisy, timesteps))
        return noisy

    nets = Nets(net, net, torch.linspace(0.99, 0.01, 100), "epsilon")
    batch = RankBatch(
        torch.ones(3, 2, 2, 2),
        torch.tensor([0, 0, 1]),
        torch.tensor([1.0, 0.0, 1.0]),
        {"text": torch.zeros(3)},
    )
    step(nets, batch, Draws(0, 0, (0, 1)), Config(kappa=1.0, voters=None, longest=None))
    for noisy, timesteps in seen:
        assert torch.equal(noisy[0], noisy[1])
        assert timesteps[0] == timesteps[1] != timesteps[2]
        assert not torch.equal(noisy[0], noisy[2])
    assert torch.equal(seen[0][0], seen[1][0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kappa": 0.0}, "kappa = 0"),
        ({"longest": 2}, "longest = 2"),
        ({"voters": " , "}, "voters is empty"),
        ({"voters": "a, b,a"}, "names a scorer twice"),
    ],
)
def test_constants_out_of_range_are_refused(wrong: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        Config(**{"kappa": 1.0, "voters": None, "longest": None, **wrong})


def test_what_is_the_papers_and_what_is_not_is_said():
    method = load_method("rank_dpo")
    preset = method.presets["launcher"]
    assert (preset["batch"].value, preset["steps"].value) == (1024, 400)
    for ours in ("kappa", "lr"):
        assert "reconstruction" in preset[ours].source
    assert "MPS and VQAScore are no scorers here" in preset["voters"].source
    assert method.scorers(Config(1.0, "a, b", None)) == ("a", "b")
    assert method.scorers(Config(1.0, None, None)) == ()


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(rank_dpo) == (0, 4)
