"""Noise, targets and errors, against values derived by hand and against diffusers' scheduler."""

import pytest
import torch
from diffusers import DDPMScheduler

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.errors import (
    add_noise,
    mse_per_image,
    noisy_pair,
    pair_errors,
    prediction_target,
)
from prefbench.reference_trainers.method import Nets, PairBatch

ABAR = torch.tensor([0.64, 0.36])


def test_noise_is_mixed_by_hand():
    """abar .64 gives .8 x + .6 e; abar .36 gives .6 x + .8 e."""
    x, noise = torch.ones(2, 1, 1, 1), torch.full((2, 1, 1, 1), 2.0)
    mixed = add_noise(x, noise, torch.tensor([0, 1]), ABAR)
    assert mixed.flatten().tolist() == pytest.approx([0.8 + 1.2, 0.6 + 1.6])


def test_velocity_by_hand_and_together_with_noise_it_gives_the_image_back():
    """v = sqrt(abar) e - sqrt(1 - abar) x, so x = sqrt(abar) x_t - sqrt(1 - abar) v."""
    x, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    t = torch.tensor([0, 1])
    v = prediction_target(x, noise, t, ABAR, "v_prediction")
    assert torch.allclose(v[0], 0.8 * noise[0] - 0.6 * x[0], atol=1e-6)
    signal, sigma = ABAR.sqrt().view(2, 1, 1, 1), (1 - ABAR).sqrt().view(2, 1, 1, 1)
    assert torch.allclose(signal * add_noise(x, noise, t, ABAR) - sigma * v, x, atol=1e-6)


def test_a_velocity_error_is_the_noise_error_of_the_same_prediction_divided_by_abar():
    """v = (e - sqrt(1 - abar) x_t) / sqrt(abar), for the truth as for a prediction: errors differ by 1 / sqrt(abar)."""
    x, noise, guess = (torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(3))
    t, abar = torch.tensor([0, 1]), ABAR.double()
    noisy = add_noise(x, noise, t, abar)
    signal, sigma = abar.sqrt().view(2, 1, 1, 1), (1 - abar).sqrt().view(2, 1, 1, 1)
    of_noise = mse_per_image(guess, prediction_target(x, noise, t, abar, "epsilon"))
    as_velocity = (guess - sigma * noisy) / signal
    of_velocity = mse_per_image(as_velocity, prediction_target(x, noise, t, abar, "v_prediction"))
    assert torch.allclose(of_velocity, of_noise / abar, rtol=1e-12)


def test_epsilon_target_is_the_noise():
    noise = torch.randn(1, 1, 2, 2)
    assert prediction_target(noise * 0, noise, torch.tensor([0]), ABAR, "epsilon") is noise


def test_agrees_with_diffusers_scheduler():
    scheduler = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    x, noise, t = torch.randn(5, 4, 8, 8), torch.randn(5, 4, 8, 8), torch.tensor([0, 1, 400, 998, 999])
    assert torch.allclose(
        add_noise(x, noise, t, scheduler.alphas_cumprod), scheduler.add_noise(x, noise, t), atol=1e-6
    )
    ours = prediction_target(x, noise, t, scheduler.alphas_cumprod, "v_prediction")
    assert torch.allclose(ours, scheduler.get_velocity(x, noise, t), atol=1e-6)


def test_error_is_a_mean_over_elements_not_a_sum():
    a, b = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    a[1] = 0.5
    assert mse_per_image(a, b).tolist() == [0.0, 0.25]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_before_the_square(dtype: torch.dtype):
    """300^2 overflows float16."""
    error = mse_per_image(torch.full((1, 4), 300.0, dtype=dtype), torch.zeros(1, 4, dtype=dtype))
    assert error.dtype == torch.float32
    assert error.item() == pytest.approx(90000.0, rel=1e-2)


def test_double_precision_is_kept():
    assert mse_per_image(torch.zeros(1, 2).double(), torch.zeros(1, 2)).dtype == torch.float64


def test_other_prediction_types_are_refused():
    with pytest.raises(UsageError, match=r"'sample'.*'epsilon' and 'v_prediction'"):
        prediction_target(ABAR, ABAR, torch.tensor([0, 1]), ABAR, "sample")


def test_winner_and_loser_share_noise_timestep_and_condition():
    batch = PairBatch(
        torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), {"text": torch.arange(2.0).view(2, 1)}
    )
    nets = Nets(
        policy=lambda noisy, t, c: noisy, reference=None, alphas_cumprod=ABAR, prediction_type="epsilon"
    )
    pair = noisy_pair(batch, torch.randn(2, 1, 2, 2), torch.tensor([0, 1]), nets)
    for value in (pair.noisy, pair.timesteps, pair.target, pair.condition["text"]):
        assert torch.equal(value[:2], value[2:])
    assert torch.equal(*pair_errors(nets.policy, pair))


def test_a_batch_without_losers_is_refused():
    batch = PairBatch(torch.zeros(2, 1, 2, 2), None, {})
    with pytest.raises(ValueError, match="uses_loser=True"):
        noisy_pair(batch, batch.winner, torch.tensor([0, 1]), None)
