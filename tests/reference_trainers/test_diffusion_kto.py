"""The Diffusion-KTO loss against hand-derived values and finite differences; reference points; the step."""

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers import diffusion_kto
from prefbench.reference_trainers.diffusion_kto import UTILITIES, Config, balanced_mean, kto_loss, step
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.method import ImageBatch, Nets
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.registry import load_method

WEIGHTS = {"desirable_weight": 1.0, "undesirable_weight": 1.0}


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loss_of(
    mse: Tensor,
    ref: Tensor,
    label: Tensor,
    point: float,
    kappa: float,
    utility: str = "sigmoid",
    **weights: float,
) -> PairLoss:
    terms = {**WEIGHTS, **weights}
    return kto_loss(mse, ref, label, double(point)[0], kappa=kappa, utility=UTILITIES[utility], **terms)


def test_hand_derived_value():
    """g = .13 - .10 = .03 and .20 - .22 = -.02, z0 = .01: g - z0 = .02 and -.03. With kappa = 50 ln 3:

    desirable: z = ln 3, 1 - 3/4 = 1/4. Undesirable: z = -1.5 ln 3, label z = 1.5 ln 3, 1 - s = 1 / (1 + 3^1.5).
    """
    result = loss_of(double(0.10, 0.22), double(0.13, 0.20), double(1, -1), 0.01, 50 * math.log(3))
    assert result.per_pair.tolist() == pytest.approx([0.25, 1 / (1 + 3**1.5)], abs=1e-12)
    assert result.logit.tolist() == pytest.approx([0.02, 0.03], abs=1e-15)
    assert result.log["kappa_gain_desirable"].item() == pytest.approx(math.log(3))
    assert result.log["kappa_gain_undesirable"].item() == pytest.approx(-1.5 * math.log(3))


def test_policy_equal_to_reference_gives_one_half_for_either_label():
    error = torch.rand(6, dtype=torch.float64)
    result = loss_of(error, error, double(1, -1, 1, 1, -1, -1), 0.0, 5000.0)
    assert result.per_pair.tolist() == [0.5] * 6
    assert result.logit.tolist() == [0.0] * 6


@pytest.mark.parametrize(
    ("utility", "expected"),
    [
        ("sigmoid", lambda y, z: 1 - 1 / (1 + math.exp(-y * z))),
        ("loss_averse", lambda y, z: 1 + math.log(1 + math.exp(-y * z))),
        ("risk_seeking_1", lambda y, z: 1 - y * math.log(1 + math.exp(z))),
        ("risk_seeking_2", lambda y, z: 2 - y * math.exp(z / 100)),
        ("risk_seeking_3", lambda y, z: 1 - math.log(1 + math.exp(y * z))),
    ],
)
def test_every_utility_is_its_formula(utility: str, expected):
    for label, gain in [(1.0, 0.02), (-1.0, 0.02), (1.0, -0.01), (-1.0, -0.01)]:
        result = loss_of(double(0.0), double(gain), double(label), 0.0, 70.0, utility)
        assert result.per_pair.item() == pytest.approx(expected(label, 70 * gain), rel=1e-12)


@pytest.mark.parametrize("utility", list(UTILITIES))
def test_gradient_agrees_with_finite_differences(utility: str):
    generator = torch.Generator().manual_seed(0)
    mse, ref = torch.rand(2, 4, dtype=torch.float64, generator=generator)
    label = double(1, -1, -1, 1)
    mse.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: loss_of(m, ref, label, 0.1, 5.0, utility).per_pair, [mse])


def test_no_gradient_flows_into_the_reference_point():
    mse = double(0.2, 0.3).requires_grad_()
    point = mse.mean()
    loss = kto_loss(
        mse, double(0.3, 0.3), double(1, -1), point, kappa=3.0, utility=UTILITIES["sigmoid"], **WEIGHTS
    )
    fixed = kto_loss(
        mse,
        double(0.3, 0.3),
        double(1, -1),
        point.detach(),
        kappa=3.0,
        utility=UTILITIES["sigmoid"],
        **WEIGHTS,
    )
    gradients = [
        torch.autograd.grad(part.per_pair.sum(), mse, retain_graph=True)[0] for part in (loss, fixed)
    ]
    assert torch.equal(*gradients)


@given(st.permutations(range(5)), st.sampled_from(list(UTILITIES)))
def test_the_loss_of_an_image_does_not_depend_on_its_place_in_the_batch(order: list[int], utility: str):
    generator = torch.Generator().manual_seed(4)
    mse, ref = torch.rand(2, 5, dtype=torch.float64, generator=generator)
    label = double(1, -1, 1, 1, -1)
    point = (ref - mse).mean().clamp(min=0).item()
    whole = loss_of(mse, ref, label, point, 20.0, utility).per_pair
    moved = loss_of(mse[order], ref[order], label[order], point, 20.0, utility).per_pair
    assert torch.equal(moved, whole[order])


def test_the_weights_multiply_each_class():
    terms = (double(0.1, 0.1, 0.3), double(0.2, 0.2, 0.2), double(1, -1, -1), 0.0, 30.0)
    plain, weighted = loss_of(*terms), loss_of(*terms, desirable_weight=1.3, undesirable_weight=0.7)
    assert (weighted.per_pair / plain.per_pair).tolist() == pytest.approx([1.3, 0.7, 0.7], rel=1e-14)


def test_balanced_mean_of_three_and_one():
    """Desirable .1, .2, .3 (mean .2), undesirable -.6: (.2 - .6) / 2 = -.2, whereas the plain mean is 0."""
    gain, label = double(0.1, 0.2, -0.6, 0.3), double(1, 1, -1, 1)
    assert balanced_mean(gain, label, lambda value: value).item() == pytest.approx(-0.2)
    assert balanced_mean(gain[:2], label[:2], lambda value: value).item() == pytest.approx(0.15)


def test_wrong_arrays_are_refused():
    one = double(0.1, 0.2)
    with pytest.raises(ValueError, match="one shape"):
        loss_of(one, double(0.1), double(1, -1), 0.0, 1.0)
    with pytest.raises(ValueError, match=r"\+1 or -1"):
        loss_of(one, one, double(1, 0), 0.0, 1.0)
    with pytest.raises(ValueError, match="one number"):
        kto_loss(one, one, double(1, -1), one, kappa=1.0, utility=UTILITIES["sigmoid"], **WEIGHTS)


@pytest.mark.parametrize(
    "wrong", [{"kappa": 0}, {"kappa": math.nan}, {"positive_ratio": 1.0}, {"desirable_weight": 0.0}]
)
def test_constants_out_of_range_are_refused(wrong: dict):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Config(**{"kappa": 1.0, "positive_ratio": 0.5, **wrong})


def nets_of(policy, reference, process_mean=lambda value: value) -> Nets:
    return Nets(policy, reference, torch.linspace(0.999, 0.01, 1000), "epsilon", process_mean=process_mean)


def batch_of(count: int = 4) -> ImageBatch:
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([1.0, -1.0, -1.0, 1.0])[:count]
    text = torch.randn(count, 1, 2, 2, generator=generator)
    return ImageBatch(torch.randn(count, 1, 2, 2, generator=generator), label, {"text": text})


def run_step(config: Config, process_mean=lambda value: value) -> tuple[PairLoss, Tensor]:
    """Policy: half the prompt; reference: zero. Returns the result and g, worked out here."""
    batch, draws = batch_of(), Draws(0, 0, (0, 1, 2, 3))
    nets = nets_of(lambda x, t, c: c["text"] / 2, lambda x, t, c: torch.zeros_like(x), process_mean)
    noise = draws.normal("noise", (1, 2, 2))
    gain = noise.square().mean((1, 2, 3)) - (batch.condition["text"] / 2 - noise).square().mean((1, 2, 3))
    return step(nets, batch, draws, config), gain


def test_the_default_reference_point_is_the_mean_cut_at_0():
    result, gain = run_step(Config(kappa=10.0, positive_ratio=0.5))
    point = max(0.0, gain.mean().item())
    assert result.log["reference_point"].item() == pytest.approx(point, abs=1e-6)
    raised, _ = run_step(Config(kappa=10.0, positive_ratio=0.5), process_mean=lambda value: value * 0 + 0.25)
    assert raised.log["reference_point"].item() == 0.25
    lowered, _ = run_step(Config(kappa=10.0, positive_ratio=0.5), process_mean=lambda value: value * 0 - 0.25)
    assert lowered.log["reference_point"].item() == 0.0


def test_the_balanced_reference_point_may_be_negative():
    result, gain = run_step(Config(kappa=10.0, positive_ratio=0.5, reference_point="sigmoid"))
    label = batch_of().label
    expected = (gain[label > 0].mean() + gain[label < 0].mean()) / 2
    assert expected < 0
    assert result.log["reference_point"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_original_reference_point_rolls_the_prompts():
    result, _ = run_step(Config(kappa=10.0, positive_ratio=0.5, reference_point="original"))
    noise = Draws(0, 0, (0, 1, 2, 3)).normal("noise", (1, 2, 2))
    rolled = batch_of().condition["text"][[3, 0, 1, 2]]
    gain = noise.square().mean((1, 2, 3)) - (rolled / 2 - noise).square().mean((1, 2, 3))
    assert result.log["reference_point"].item() == pytest.approx(gain.mean().item(), abs=1e-6)


def test_one_image_cannot_roll_its_prompt():
    nets = nets_of(lambda x, t, c: x, lambda x, t, c: x)
    config = Config(kappa=1.0, positive_ratio=0.5, reference_point="original")
    with pytest.raises(UsageError, match="micro_batch"):
        step(nets, batch_of(1), Draws(0, 0, (0,)), config)


def test_noise_and_timestep_are_drawn_for_each_image():
    seen: list[tuple[Tensor, Tensor]] = []

    def policy(x: Tensor, t: Tensor, condition: dict) -> Tensor:
        seen.append((x, t))
        return torch.zeros_like(x)

    batch = ImageBatch(torch.zeros(4, 1, 2, 2), torch.ones(4), {"text": torch.zeros(4, 1)})
    step(nets_of(policy, policy), batch, Draws(0, 0, (0, 1, 2, 3)), Config(kappa=1.0, positive_ratio=0.5))
    (ref_x, ref_t), (x, t) = seen
    assert torch.equal(ref_x, x)
    assert torch.equal(ref_t, t)
    assert len(set(t.tolist())) == 4
    assert len(np.unique(x.flatten(1).numpy(), axis=0)) == 4


def test_named_constants_have_a_source():
    presets = load_method("diffusion_kto").presets
    assert (presets["launcher"]["kappa"].value, presets["paper"]["kappa"].value) == (1000, 5000)
    assert presets["launcher"]["positive_ratio"].value == 0.8
    assert "226bbd0" in presets["launcher"]["kappa"].source
    assert "2404.04465" in presets["paper"]["kappa"].source


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(diffusion_kto, optionflags=doctest.ELLIPSIS) == (0, 3)
