"""Adaptive-DPO's metric, weights, margins and objectives against hand-derived values and a numpy derivation."""

import doctest
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers import adaptive_dpo, minority_metric
from prefbench.reference_trainers.adaptive_dpo import Config, adaptive_dpo_loss, step
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.method import Condition, Nets, PairBatch
from prefbench.reference_trainers.minority_metric import detector_log, pair_weight
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.recipes import resolve_recipe
from prefbench.reference_trainers.registry import load_method
from prefbench.reference_trainers.robust_dpo import derivative_loss

README: dict[str, Any] = {
    "kappa": 1000.0,
    "rho": 15.0,
    "normalise": True,
    "warming_up": False,
    "weight": "linear",
    "temperature": 10.0,
    "intercept": 1.0,
    "margin": "quadratic",
    "relabel_share": 1.0,
    "relabel_above": 1.0,
    "objective": "dpo",
    "smoothing": 0.1,
    "ipo_beta": 100.0,
}
ERRORS = arrays(np.float64, (10, 4), elements=st.floats(0.0, 0.01))


def metric(logits: list[list[float]], rho: float = 15.0, normalise: bool = True) -> Tensor:
    return minority_metric.minority_metric(torch.tensor(logits).double(), rho=rho, normalise=normalise)


def loss_of(errors: np.ndarray | Tensor, **changes: Any) -> PairLoss:
    """Rows: policy w, l; reference w, l; then the annotators' winners and losers, the policy first."""
    rows = torch.as_tensor(errors)
    return adaptive_dpo_loss(*rows[:4], rows[4:7], rows[7:10], **{**README, **changes})


def of_logits(policy: list[float], others: list[list[float]], **changes: Any) -> PairLoss:
    """The loss where the policy's logits are `policy` and the other annotators' are `others`."""
    logits = torch.tensor([policy, *others]).double()
    zero = torch.zeros(len(policy), dtype=torch.float64)
    losers = logits.clone().requires_grad_()
    return adaptive_dpo_loss(
        zero, losers[0], zero, zero, zero.expand(len(logits), -1), losers, **{**README, **changes}
    )


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_u_of_two_pairs_and_three_annotators_by_hand():
    """Logits (3, 4), (4, -3), (0, 5) times 1e-4 have norm 5e-4: h = (.6, .8), (.8, -.6), (0, 1).

    With rho 1, pair 0 has rho h = .6, .8, 0: mean 7/15, squared deviations 4/225, 25/225, 49/225 with sum 78/225,
    unbiased variance 39/225. Pair 1 has .8, -.6, 1: mean .4, squares .16 + 1 + .36 = 1.52, variance .76.
    With rho 15 both std exceed 1, so u = 1 - mean sigmoid of (9, 12, 0) and of (12, -9, 15).
    """
    logits = [[3e-4, 4e-4], [4e-4, -3e-4], [0.0, 5e-4]]
    doubt = [
        1 - (sigmoid(0.6) + sigmoid(0.8) + 0.5) / 3,
        1 - (sigmoid(0.8) + sigmoid(-0.6) + sigmoid(1)) / 3,
    ]
    expected = [doubt[0] * math.sqrt(39) / 15, doubt[1] * math.sqrt(0.76)]
    assert metric(logits, rho=1.0).tolist() == pytest.approx(expected, rel=1e-5)
    clamped = [
        1 - (sigmoid(9) + sigmoid(12) + 0.5) / 3,
        1 - (sigmoid(12) + sigmoid(-9) + sigmoid(15)) / 3,
    ]
    assert metric(logits).tolist() == pytest.approx(clamped, rel=1e-6)


def test_without_normalisation_the_logits_themselves_are_scaled():
    """rho 1e4 times (6e-5, 8e-5, 0) is (.6, .8, 0), pair 0 of the example above."""
    doubt = 1 - (sigmoid(0.6) + sigmoid(0.8) + 0.5) / 3
    u = metric([[6e-5], [8e-5], [0.0]], rho=1e4, normalise=False)
    assert u.item() == pytest.approx(doubt * math.sqrt(39) / 15, rel=1e-5)


@given(arrays(np.float64, (3, 5), elements=st.floats(-1, 1)), st.floats(0.1, 1e4), st.booleans())
def test_u_lies_between_0_and_1_and_the_linear_weight_between_an_eleventh_and_1(
    logits: np.ndarray, rho: float, normalise: bool
):
    u = minority_metric.minority_metric(torch.from_numpy(logits), rho=rho, normalise=normalise)
    assert ((u >= 0) & (u <= 1)).all()
    weights = pair_weight(u, weight="linear", temperature=10.0, intercept=1.0)
    assert ((weights >= 1 / 11 - 1e-12) & (weights <= 1)).all()


def test_annotators_that_agree_exactly_give_u_0():
    assert metric([[1e-4, -2e-4, 3e-4]] * 3).tolist() == [0.0, 0.0, 0.0]


def test_u_depends_on_the_neighbours_in_the_micro_batch():
    """Alone, each logit is normalised to 1. Beside a larger one the first is near 0 for two of three annotators:
    rho h = .75, 15, .5, so 1 - mean sigmoid = 1 - (.679 + 1 + .622) / 3 = .233, and the std is clamped to 1."""
    logits = [[1e-5, 2e-4], [2e-4, 1e-5], [1e-5, 3e-4]]
    assert metric([row[:1] for row in logits]).item() == 0
    assert metric(logits)[0].item() == pytest.approx(0.233, abs=1e-3)


def test_a_lone_annotator_is_not_normalised():
    u = metric([[1e-4, -1e-4]], rho=1e4)
    assert u.tolist() == pytest.approx([1 - sigmoid(1), 1 - sigmoid(-1)], rel=1e-5)


def test_policy_equal_to_reference_gives_u_0_log_2_and_a_finite_gradient():
    errors = torch.rand(2, 4, dtype=torch.float64)
    mse = errors.clone().requires_grad_()
    stacked = [row.expand(3, -1) for row in errors]
    result = adaptive_dpo_loss(*mse, *errors, *stacked, **README)
    assert result.per_pair.tolist() == pytest.approx([math.log(2)] * 4, abs=1e-15)
    assert result.log["u"] == 0
    result.per_pair.sum().backward()
    assert mse.grad[0].tolist() == pytest.approx([500.0] * 4)  # kappa / 2: W is 1, the margin 0


WEIGHTS = {
    "linear": lambda u: 1 / (1 + 10 * u),
    "quadratic": lambda u: 1 / (1 + 10 * u**2),
    "sigmoid": lambda u: 1 / (1 + np.exp(10 * u)),
    "sqrt": lambda u: 1 / (1 + np.exp(10 * np.sqrt(u))),
    "none": np.ones_like,
}


@settings(max_examples=150)
@given(st.sampled_from(list(WEIGHTS)), st.sampled_from(["quadratic", "linear", "none"]), ERRORS)
def test_agrees_with_a_numpy_derivation_in_float64(weight: str, margin: str, errors: np.ndarray):
    result = loss_of(errors, weight=weight, margin=margin)
    rewards = (errors[2] - errors[3]) - (errors[4:7] - errors[7:10])
    size = np.sqrt((rewards**2).sum(axis=1, keepdims=True))
    scaled = 15 * np.divide(rewards, size, out=np.zeros_like(rewards), where=size > 0)
    probability = np.mean(1 / (1 + np.exp(-scaled)), axis=0)
    u = np.abs(probability - 1) * np.minimum(np.std(scaled, axis=0, ddof=1), 1)
    logit = (errors[2] - errors[3]) - (errors[0] - errors[1])
    power = {"quadratic": u**2, "linear": u, "none": None}[margin]
    shift = 0 if power is None else -power / 1000 + logit.mean()
    expected = WEIGHTS[weight](u) * np.logaddexp(0, -(1000 * logit - shift))
    assert result.log["u"].item() == pytest.approx(u.mean(), abs=1e-7)
    assert result.per_pair.detach().numpy() == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("objective", ["dpo", "ipo", "cdpo", "rdpo"])
def test_gradient_agrees_with_finite_differences(objective: str):
    """Without the margin, whose batch mean carries no gradient; u never sees the policy's own errors here."""
    errors = 1e-2 * torch.rand(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    own = [row.requires_grad_() for row in errors[:2].clone()]

    def loss(*policy: Tensor) -> Tensor:
        return loss_of(torch.stack([*policy, *errors[2:]]), margin="none", objective=objective).per_pair

    assert torch.autograd.gradcheck(loss, own, eps=1e-7, rtol=1e-4)


def test_margin_and_weight_carry_no_gradient():
    """d loss_i / d l_j = -W_i kappa sigmoid(-(kappa l_i - g_i)) for i = j and 0 otherwise."""
    result = of_logits([2e-4, -1e-4], [[1e-4, 3e-4], [-1e-4, 2e-4]], weight="linear")
    logits = torch.tensor([[2e-4, -1e-4], [1e-4, 3e-4], [-1e-4, 2e-4]]).double()
    u = minority_metric.minority_metric(logits, rho=15.0, normalise=True)
    shifted = 1000 * logits[0] + u.square() / 1000 - logits[0].mean()
    (leaf,) = _leaves(result.per_pair)
    for i in range(2):
        (grad,) = torch.autograd.grad(result.per_pair[i], leaf, retain_graph=True)
        expected = torch.zeros(3, 2, dtype=torch.float64)
        expected[0, i] = -1000 / (1 + 10 * u[i]) * torch.sigmoid(-shifted[i])
        assert torch.allclose(grad, expected, rtol=1e-6)


def _leaves(value: Tensor) -> list[Tensor]:
    found, todo = {}, [value.grad_fn]
    while todo:
        node = todo.pop()
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        todo += [nxt for nxt, _ in getattr(node, "next_functions", ()) if nxt is not None]
    return list(found.values())


def test_the_released_margin_is_numerically_void():
    """|u^2 / kappa| <= 1e-3 and the mean of l is of 1e-3 at most: less than 0.3 % of the gradient's weight."""
    generator = torch.Generator().manual_seed(0)
    for size in (5e-5, 5e-4, 5e-3):
        logits = (size * torch.randn(3, 16, generator=generator)).tolist()
        with_it, without = (of_logits(logits[0], logits[1:], margin=m) for m in ("quadratic", "none"))
        gradients = [
            torch.autograd.grad(r.per_pair.sum(), _leaves(r.per_pair))[0] for r in (with_it, without)
        ]
        difference = (gradients[0][0] / gradients[1][0] - 1).abs().max()
        assert 0 < difference < 3e-3


@pytest.mark.parametrize("form", ["hinge", "cdpo", "rdpo"])
def test_derivative_objectives_take_weight_and_margin_as_the_dpo_loss_does(form: str):
    policy, others = [2e-4, -1e-4], [[1e-4, 3e-4], [-1e-4, 2e-4]]
    result = of_logits(policy, others, objective=form)
    logit = torch.tensor(policy).double()
    u = minority_metric.minority_metric(torch.tensor([policy, *others]).double(), rho=15.0, normalise=True)
    shift = (-u.square() / 1000 + logit.mean()) / 1000
    constants = {"kappa": 1000.0, "form": form, "smoothing": 0.1, "ipo_beta": 100.0}
    expected = derivative_loss(logit - shift, **constants) / (1 + 10 * u)
    assert torch.allclose(result.per_pair, expected, rtol=1e-9)
    plain = of_logits(policy, others, objective=form, weight="none", margin="none")
    assert torch.allclose(plain.per_pair, derivative_loss(logit, **constants), rtol=1e-12)


def test_the_margin_of_ipo_has_the_opposite_sign():
    """W (l - u^2 / kappa^2 + mean(l) / kappa - 1 / (2 ipo_beta))^2; here u = 0, l = 2e-4, 4e-4 and mean 3e-4."""
    result = of_logits([2e-4, 4e-4], [[2e-4, 4e-4]] * 2, objective="ipo")
    expected = [(2e-4 + 3e-7 - 5e-3) ** 2, (4e-4 + 3e-7 - 5e-3) ** 2]
    assert result.per_pair.tolist() == pytest.approx(expected, rel=1e-7)


def test_labels_are_turned_round_strictly_above_the_threshold_and_within_the_share():
    policy, others = [3e-4, 1e-4, -2e-4, -4e-4], [[1e-4, 1e-4, 2e-4, -1e-4], [2e-4, -3e-4, 1e-4, -3e-4]]
    u = minority_metric.minority_metric(torch.tensor([policy, *others]).double(), rho=15.0, normalise=True)
    ordered = u.sort().values.tolist()
    assert len(set(ordered)) == 4
    plain = of_logits(policy, others, margin="none")
    assert plain.log["relabelled"] == 0
    for above, share, count in ((ordered[1], 1.0, 2), (0.0, 0.5, 1), (0.0, 1.0, 3), (ordered[3], 1.0, 0)):
        changed = of_logits(policy, others, margin="none", relabel_above=above, relabel_share=share)
        turned = u >= ordered[4 - count] if count else u < 0
        assert changed.log["relabelled"].item() == count / 4
        assert torch.equal(changed.logit, plain.logit)  # of the labels as given
        weights = 1 / (1 + 10 * u)
        difference = weights * 1000 * torch.tensor(policy).double()  # -log s(-x) = -log s(x) + x
        assert torch.allclose(
            changed.per_pair - plain.per_pair, torch.where(turned, difference, 0), atol=1e-9
        )


def test_in_the_warm_up_u_is_0_but_sigmoid_and_sqrt_weights_are_a_half():
    policy, others = [2e-4, -1e-4], [[1e-4, 3e-4], [-1e-4, 2e-4]]
    for weight, value in (("linear", 1.0), ("quadratic", 1.0), ("sigmoid", 0.5), ("sqrt", 0.5)):
        result = of_logits(policy, others, weight=weight, warming_up=True)
        expected = [value * math.log1p(math.exp(-1000 * logit + 5e-5)) for logit in policy]
        assert result.per_pair.tolist() == pytest.approx(expected, rel=1e-7)
        assert (result.log["u"], result.log["weight_below_half"]) == (0, 0)


def test_a_detector_is_measured_within_the_batch():
    u = torch.tensor([0.9, 0.8, 0.1, 0.2, 0.3, 0.0, 0.4, 0.5])
    flipped = torch.tensor([True, False, False, True, False, False, False, False])
    out = detector_log(u, flipped)
    assert out["flipped_share"] == 0.25
    assert out["flipped_in_top_quarter"] == 0.5  # of 0.9 and 0.8, one
    assert out["u_auc"].item() == pytest.approx((6 + 2) / 12)  # 0.9 exceeds six kept labels, 0.2 two


def test_ties_count_in_part_and_what_cannot_be_told_is_nan():
    blind = detector_log(torch.zeros(8), torch.arange(8) < 2)
    assert [blind[name].item() for name in ("flipped_in_top_quarter", "u_auc")] == [0.25, 0.5]
    assert detector_log(torch.rand(4), torch.zeros(4, dtype=torch.bool))["u_auc"].isnan()


class Fake:
    """A denoiser that predicts a multiple of its input and counts its calls."""

    def __init__(self, scale: float) -> None:
        self.scale, self.calls = torch.tensor(scale, requires_grad=True), 0

    def __call__(self, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        self.calls += 1
        return self.scale * noisy


def run_step(number: int, flipped: Tensor | None = None, **changes: Any) -> tuple[PairLoss, list[Fake]]:
    nets = [Fake(scale) for scale in (0.5, 0.4, 0.48, 0.45)]
    generator = torch.Generator().manual_seed(1)
    winner, loser = torch.randn(2, 4, 1, 2, 2, generator=generator)
    cfg = replace(resolve_recipe("adaptive_dpo", "miniature").config, **changes)
    result = step(
        Nets(nets[0], nets[1], torch.linspace(0.9, 0.1, 10), "epsilon", tuple(nets[2:])),
        PairBatch(winner, loser, {}, flipped=flipped),
        Draws(seed=0, step=number, rows=(0, 1, 2, 3)),
        cfg,
    )
    return result, nets


def test_averages_rest_during_the_warm_up_and_annotate_after_it():
    early, nets = run_step(1)
    assert [net.calls for net in nets] == [1, 1, 0, 0]
    assert early.log["u"] == 0
    late, nets = run_step(2)
    assert [net.calls for net in nets] == [1, 1, 1, 1]
    assert late.log["u"] > 0
    late.per_pair.sum().backward()
    assert nets[0].scale.grad is not None
    assert all(net.scale.grad is None for net in nets[1:])


def test_which_labels_were_flipped_is_logged_and_changes_no_loss():
    flipped = torch.tensor([True, False, False, True])
    with_truth, without = run_step(5, flipped)[0], run_step(5)[0]
    assert torch.equal(with_truth.per_pair, without.per_pair)
    assert with_truth.log.keys() - without.log.keys() == {"flipped_share", "flipped_in_top_quarter", "u_auc"}
    assert with_truth.log["flipped_share"] == 0.5


def test_the_launcher_is_the_readme_of_the_released_code():
    recipe = resolve_recipe("adaptive_dpo", "launcher")
    assert (recipe.config.kappa, recipe.config.rho, recipe.config.temperature) == (1000, 15, 10)
    assert (recipe.loop.lora_rank, recipe.loop.batch, recipe.loop.micro_batch) == (8, 32, 16)
    assert (recipe.loop.lr, recipe.loop.warm_up, recipe.loop.precision) == (1e-5, 0, "fp16")
    assert load_method("adaptive_dpo").shadow_decays(recipe.config) == (0.9999, 0.5)
    lone = replace(recipe.config, decay_slow=None, decay_fast=None)
    assert load_method("adaptive_dpo").shadow_decays(lone) == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kappa": 0.0}, "kappa = 0.0"),
        ({"decay_slow": 1.5}, "decay_slow = 1.5"),
        ({"u_warm_up": -1}, "u_warm_up = -1"),
        ({"relabel_share": 0.0}, "relabel_share = 0.0"),
        ({"smoothing": 0.5}, "smoothing = 0.5"),
    ],
)
def test_constants_out_of_their_range_are_refused(values: dict, message: str):
    good = resolve_recipe("adaptive_dpo", "miniature").config
    assert isinstance(good, Config)
    with pytest.raises(UsageError, match=message):
        replace(good, **values)


def test_shapes_and_names_that_do_not_fit_are_refused():
    z = torch.zeros(4)
    with pytest.raises(ValueError, match=r"shape \(M, 4\)"):
        adaptive_dpo_loss(z, z, z, z, z, z, **README)
    for name in ("weight", "margin"):
        with pytest.raises(ValueError, match=f"{name} must be"):
            loss_of(np.zeros((10, 4)), **{name: "cubic"})
    with pytest.raises(ValueError, match="form must be"):
        loss_of(np.zeros((10, 4)), objective="sigmoid")


def test_examples_in_the_docstrings_run():
    ran = doctest.testmod(minority_metric, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert (ran.failed, ran.attempted) == (0, 4)
    assert adaptive_dpo.METHOD.loss is adaptive_dpo_loss
