"""Inversion under the policy, and the two methods that train on it: InPO and SmPO."""

import doctest
import math

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers import inpo, smpo
from prefbench.reference_trainers.diffusion_dpo import dpo_loss
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.inversion import check_grid, invert, inverted_pair, noise_that_leads_to
from prefbench.reference_trainers.method import Nets, PairBatch
from prefbench.reference_trainers.smpo import smpo_loss, soft_label

SD = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
ABAR = DDIMScheduler(**SD).alphas_cumprod.double()


def nets_of(policy, prediction_type: str = "epsilon", reference=None) -> Nets:
    return Nets(policy, reference or policy, ABAR, prediction_type)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def level_reached(t: int, grid_steps: int) -> int:
    """The last of 1, 1 + r, 1 + 2r ... whose step starts below t."""
    ratio = 1000 // grid_steps
    return max(1 + k * ratio for k in range(grid_steps) if 1 + (k - 1) * ratio < t)


def closed_form(x0: Tensor, eps: Tensor, level: int) -> Tensor:
    """With a constant eps: (x - sqrt(1 - a) eps) / sqrt(a) is the same at every level, the first being abar_0."""
    image = (x0 - math.sqrt(1 - ABAR[0]) * eps) / math.sqrt(ABAR[0])
    return math.sqrt(ABAR[level]) * image + math.sqrt(1 - ABAR[level]) * eps


@pytest.mark.parametrize(("grid_steps", "predictions"), [(10, 1), (5, 2), (1, 1), (7, 2)])
def test_a_constant_prediction_is_inverted_in_closed_form(grid_steps: int, predictions: int):
    x0, eps = random(6, 2, 3, 3), random(2, 3, 3, seed=1)
    t = torch.tensor([0, 1, 2, 350, 901, 999])
    nets = nets_of(lambda x, times, c: eps.expand_as(x))
    x = invert(nets, x0, t, {}, grid_steps=grid_steps, predictions=predictions)
    for row, time in enumerate(t.tolist()):
        expected = closed_form(x0[row], eps, level_reached(time, grid_steps))
        assert torch.allclose(x[row], expected, atol=1e-12), time


def test_the_velocity_of_a_constant_eps_is_inverted_to_the_same():
    """v = (eps - sqrt(1 - a) x) / sqrt(a) at the level of x is the velocity that stands for eps."""
    x0, eps = random(3, 2, 3, 3), random(2, 3, 3, seed=1)

    def velocity(x: Tensor, times: Tensor, c: dict) -> Tensor:
        abar = ABAR[times.clamp(min=0)].view(-1, 1, 1, 1)
        return (eps - (1 - abar).sqrt() * x) / abar.sqrt()

    t = torch.tensor([5, 420, 777])
    x = invert(nets_of(velocity, "v_prediction"), x0, t, {}, grid_steps=10, predictions=1)
    plain = invert(nets_of(lambda x, times, c: eps.expand_as(x)), x0, t, {}, grid_steps=10, predictions=1)
    assert torch.allclose(x, plain, atol=1e-11)


def test_steps_are_those_of_diffusers_and_the_noise_has_its_standard_deviation():
    """Today's DDIMInverseScheduler counts a step by its end; the pinned one counted it by its start."""
    x0, noise, t = random(1, 2, 3, 3), [random(1, 2, 3, 3, seed=k + 5) for k in range(10)], 640
    network = lambda x, times, c: 0.3 * x + times.view(-1, 1, 1, 1) / 1000  # noqa: E731
    inverse, forward = DDIMInverseScheduler(**SD), DDIMScheduler(**SD)
    inverse.set_timesteps(10)
    forward.set_timesteps(10)
    inverse.alphas_cumprod = inverse.initial_alpha_cumprod = ABAR
    inverse.initial_alpha_cumprod = ABAR[0]
    x, asked = x0, []
    for k, start in enumerate(range(-99, t, 100)):
        asked.append(start)
        x = inverse.step(network(x, torch.tensor([start]), None), start + 100, x).prev_sample
        x = x + 0.1 * forward._get_variance(start + 100, start).double().sqrt() * noise[k]
    ours = invert(
        nets_of(network), x0, torch.tensor([t]), {}, grid_steps=10, predictions=1, noise=noise, eta=0.1
    )
    assert asked == [-99, 1, 101, 201, 301, 401, 501, 601]
    assert torch.allclose(ours, x, atol=1e-6)  # diffusers keeps its variances in float32


def test_two_predictions_are_averaged_at_the_same_time():
    """One step of a network that returns x: p1 = x, trial = c x with c = sqrt(A) (1 - s) / sqrt(a) + S, p = (1 + c) / 2 x."""
    x0 = random(1, 1, 2, 2)
    times: list[int] = []

    def network(x: Tensor, t: Tensor, c: dict) -> Tensor:
        times.append(int(t))
        return x

    ours = invert(nets_of(network), x0, torch.tensor([1]), {}, grid_steps=10, predictions=2)
    a, after = float(ABAR[0]), float(ABAR[1])
    s, last = math.sqrt(1 - a), math.sqrt(1 - after)
    trial = math.sqrt(after / a) * (1 - s) + last
    mean = (1 + trial) / 2
    expected = (math.sqrt(after / a) * (1 - s * mean) + last * mean) * x0
    assert torch.allclose(ours, expected, atol=1e-12)
    assert times == [-99, -99]


@given(st.lists(st.integers(0, 999), min_size=2, max_size=4))
def test_an_image_is_inverted_the_same_whatever_stands_beside_it(times: list[int]):
    x0, t = random(len(times), 1, 2, 2), torch.tensor(times)
    text = random(len(times), 1, 2, 2, seed=3)
    nets = nets_of(lambda x, t, c: 0.2 * x + c["text"])
    whole = invert(nets, x0, t, {"text": text}, grid_steps=5, predictions=2)
    alone = [
        invert(nets, x0[i : i + 1], t[i : i + 1], {"text": text[i : i + 1]}, grid_steps=5, predictions=2)
        for i in range(len(times))
    ]
    assert torch.allclose(whole, torch.cat(alone), atol=1e-13)


def test_the_target_is_the_noise_that_leads_to_the_inverted_image():
    batch = PairBatch(
        random(2, 1, 2, 2).float(), random(2, 1, 2, 2, seed=1).float(), {"text": torch.zeros(2, 1)}
    )
    weight = torch.tensor(0.3, requires_grad=True)
    pair = inverted_pair(
        nets_of(lambda x, t, c: weight * x), batch, Draws(0, 0, (0, 1)), grid_steps=4, predictions=1, eta=0.1
    )
    assert torch.equal(*pair.timesteps.chunk(2))
    assert not pair.noisy.requires_grad
    latents, abar = torch.cat([batch.winner, batch.loser]), ABAR[pair.timesteps].view(-1, 1, 1, 1)
    assert torch.allclose(
        abar.sqrt() * latents + (1 - abar).sqrt() * pair.target, pair.noisy.double(), atol=1e-5
    )
    eps = noise_that_leads_to(pair.noisy, latents, pair.timesteps, ABAR)
    assert torch.equal(eps, pair.target)
    assert not torch.allclose(*pair.target.chunk(2))


def test_added_noise_is_drawn_by_row_and_differs_between_the_images_of_a_pair():
    same = random(2, 1, 2, 2).float()
    nets = nets_of(lambda x, t, c: x * 0)
    batch = PairBatch(same, same, {})

    def noisy(rows: tuple[int, ...], eta: float) -> tuple[Tensor, Tensor]:
        part = PairBatch(same[list(rows)], same[list(rows)], {})
        pair = inverted_pair(nets, part, Draws(0, 0, rows), grid_steps=4, predictions=1, eta=eta)
        winner, loser = pair.noisy.chunk(2)
        return winner, loser

    assert batch.loser is not None
    winner, loser = noisy((0, 1), 0.1)
    assert not torch.equal(winner, loser)
    assert torch.equal(noisy((1,), 0.1)[0], winner[1:])
    assert torch.equal(*noisy((0, 1), 0.0))


@pytest.mark.parametrize("steps", [0, 1000])
def test_a_grid_that_leaves_the_schedule_is_refused(steps: int):
    with pytest.raises(ValueError, match="do not fit"):
        check_grid(steps, 1000)


def test_inpo_is_the_dpo_loss_on_inverted_images():
    batch = PairBatch(random(3, 1, 2, 2).float(), random(3, 1, 2, 2, seed=1).float(), {})
    nets = nets_of(lambda x, t, c: 0.4 * x, reference=lambda x, t, c: 0.5 * x)
    cfg = inpo.Config(kappa=20.0, grid_steps=4, eta=0.1)
    result = inpo.step(nets, batch, Draws(0, 0, (0, 1, 2)), cfg)
    pair = inverted_pair(nets, batch, Draws(0, 0, (0, 1, 2)), grid_steps=4, predictions=1, eta=0.1)
    errors = [(factor * pair.noisy - pair.target).square().mean((1, 2, 3)).chunk(2) for factor in (0.4, 0.5)]
    expected = dpo_loss(*errors[0], *errors[1], kappa=20.0)
    assert torch.allclose(result.per_pair, expected.per_pair)
    assert inpo.METHOD.presets["launcher"]["lr"].value == pytest.approx(1e-8 * 1024)


ERRORS = [
    torch.tensor(row, dtype=torch.float64) for row in ([0.10, 0.2], [0.20, 0.1], [0.13, 0.3], [0.21, 0.15])
]


def test_smpo_by_hand():
    """l = .02 for the first pair; alpha 3/4: kappa gamma / 2 l = ln 3 with kappa gamma = 100 ln 3, loss ln(4/3)."""
    alpha = torch.tensor([0.75, 0.5], dtype=torch.float64)
    result = smpo_loss(*ERRORS, alpha, kappa=10 * math.log(3), gamma=10.0)
    assert result.per_pair.tolist() == pytest.approx([math.log(4 / 3), math.log(2)], abs=1e-12)
    assert result.logit.tolist() == pytest.approx([0.02, 0.0], abs=1e-12)


def test_smpo_does_not_depend_on_the_label():
    mse_w, mse_l, ref_w, ref_l = ERRORS
    scores = torch.tensor([[3.0, 1.0], [0.5, 2.0]], dtype=torch.float64)
    alpha, turned = (soft_label(part, low=0.0, high=4.0) for part in (scores, scores.flip(1)))
    one = smpo_loss(mse_w, mse_l, ref_w, ref_l, alpha, kappa=30.0, gamma=10.0)
    other = smpo_loss(mse_l, mse_w, ref_l, ref_w, turned, kappa=30.0, gamma=10.0)
    assert torch.allclose(one.per_pair, other.per_pair, atol=1e-14)
    assert torch.allclose(one.logit, other.logit, atol=1e-14)


def test_every_pair_has_its_own_alpha():
    """The released code takes the first pair's for all: then the second loss here would be another."""
    alpha = torch.tensor([0.9, 0.6], dtype=torch.float64)
    whole = smpo_loss(*ERRORS, alpha, kappa=30.0, gamma=10.0).per_pair
    second = smpo_loss(*(error[1:] for error in ERRORS), alpha[1:], kappa=30.0, gamma=10.0).per_pair
    assert whole[1:].tolist() == second.tolist()


def test_smpo_gradient_agrees_with_finite_differences():
    alpha = torch.tensor([0.9, 0.3], dtype=torch.float64)
    inputs = [error.clone().requires_grad_() for error in ERRORS]
    assert torch.autograd.gradcheck(lambda *e: smpo_loss(*e, alpha, kappa=2.0, gamma=3.0).per_pair, inputs)


def test_soft_label_is_the_sigmoid_of_the_normalised_difference():
    scores = torch.tensor([[0.2, 0.25], [0.22, 0.2]], dtype=torch.float64)
    expected = torch.sigmoid((scores[:, 0] - scores[:, 1]) / (0.28 - 0.12))
    assert torch.allclose(soft_label(scores, low=0.12, high=0.28), expected)


def test_constants_out_of_range_are_refused():
    with pytest.raises(UsageError, match="score_low"):
        smpo.Config(kappa=1.0, gamma=1.0, grid_steps=5, scorer="x", score_low=1.0, score_high=1.0)
    with pytest.raises(UsageError, match="gamma"):
        smpo.Config(kappa=1.0, gamma=0.0, grid_steps=5, scorer="x", score_low=0.0, score_high=1.0)
    with pytest.raises(UsageError, match="grid_steps"):
        inpo.Config(kappa=1.0, grid_steps=0, eta=0.1)
    with pytest.raises(UsageError, match="eta"):
        inpo.Config(kappa=1.0, grid_steps=5, eta=-0.1)


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(smpo, optionflags=doctest.ELLIPSIS) == (0, 1)
