"""Semi-DPO: which pairs are clean, what the teacher labels, when it is renewed, the loss and its constants."""

import doctest
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers import semi_dpo
from prefbench.reference_trainers.data_order import OrderContext, StagedPools
from prefbench.reference_trainers.diffusion_dpo import dpo_loss
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.loop_config import learning_rate
from prefbench.reference_trainers.method import Nets, PairBatch
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.recipes import resolve_recipe
from prefbench.reference_trainers.registry import load_method
from prefbench.reference_trainers.semi_dpo import Config, agreed, measure, pseudo_labels, semi_dpo_loss, step

BASE: dict[str, Any] = {
    "kappa": 50.0,
    "voters": "one,two",
    "clean_steps": 2,
    "round_steps": None,
    "percentile": 80.0,
    "probe": 4,
}


def config_of(**values: Any) -> Config:
    return Config(**{**BASE, **values})


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_pair_is_clean_only_if_every_voter_prefers_its_winner():
    """Columns: both agree, one disagrees, one is undecided."""
    scores = {
        "one": torch.tensor([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]]),
        "two": torch.tensor([[0.1, 0.0], [0.0, 0.1], [0.5, 0.5]]),
    }
    assert agreed(scores, ["one", "two"]).tolist() == [True, False, False]
    assert agreed(scores, ["one"]).tolist() == [True, True, True]


@given(st.lists(st.tuples(st.floats(-2, 2), st.booleans(), st.floats(0, 2)), min_size=1, max_size=8))
def test_labels_stand_where_clean_and_follow_a_confident_teacher_elsewhere(rows: list):
    logit, clean, threshold = (torch.tensor(column) for column in zip(*rows, strict=True))
    sign, weight = pseudo_labels(logit, clean, threshold)
    for i, (value, is_clean, least) in enumerate(rows):
        if is_clean:
            assert (sign[i], weight[i]) == (1, 1)
        elif abs(logit[i]) >= threshold[i] and value != 0 and logit[i] != 0:
            assert (sign[i], weight[i]) == (math.copysign(1, value), 1)
        else:
            assert weight[i] == 0, (value, least)


def errors_of(count: int) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(4, count, dtype=torch.float64) / 100


def test_with_all_labels_as_given_it_is_diffusion_dpo():
    errors, ones = errors_of(6), torch.ones(6, dtype=torch.float64)
    result, dpo = semi_dpo_loss(*errors, ones, ones, kappa=900.0), dpo_loss(*errors, kappa=900.0)
    assert torch.equal(result.per_pair, dpo.per_pair)
    assert torch.equal(result.logit, dpo.logit)


def test_a_label_turned_round_is_diffusion_dpo_of_the_exchanged_pair():
    errors, ones = errors_of(6), torch.ones(6, dtype=torch.float64)
    result = semi_dpo_loss(*errors, -ones, ones, kappa=900.0)
    assert torch.allclose(result.per_pair, dpo_loss(*errors[[1, 0, 3, 2]], kappa=900.0).per_pair, atol=1e-14)


def test_hand_derived_value():
    """l = (.13 - .10) - (.10 - .09) = .02; kappa 50 log 3: sigmoid(log 3) = 3/4, turned round 1/4, left out 0."""
    three = [double(value, value, value) for value in (0.10, 0.09, 0.13, 0.10)]
    result = semi_dpo_loss(*three, double(1, -1, -1), double(1, 1, 0), kappa=50 * math.log(3))
    assert result.per_pair.tolist() == pytest.approx([math.log(4 / 3), math.log(4), 0], abs=1e-12)
    assert result.logit.tolist() == pytest.approx([0.02] * 3)


def test_gradients_agree_with_finite_differences_and_vanish_without_a_label():
    mse_w, mse_l, *reference = errors_of(5)
    mse_w.requires_grad_()
    mse_l.requires_grad_()
    sign, weight = double(1, -1, 1, -1, 1), double(1, 1, 1, 0, 0)

    def loss(w: Tensor, losers: Tensor) -> Tensor:
        return semi_dpo_loss(w, losers, *reference, sign, weight, kappa=100.0).per_pair

    assert torch.autograd.gradcheck(loss, (mse_w, mse_l))
    loss(mse_w, mse_l).sum().backward()
    assert mse_w.grad is not None
    assert (mse_w.grad[:3] * sign[:3] > 0).all()
    assert mse_w.grad[3:].tolist() == [0, 0]


def test_shapes_that_would_broadcast_and_kappa_0_are_refused():
    errors, ones = errors_of(3), torch.ones(3)
    with pytest.raises(ValueError, match="sign and weight need shape"):
        semi_dpo_loss(*errors, ones[:1], ones, kappa=1.0)
    with pytest.raises(ValueError, match="kappa to be positive"):
        semi_dpo_loss(*errors, ones, ones, kappa=0.0)


@given(
    st.integers(1, 9),
    st.integers(0, 6),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_stages_meet_what_they_name_and_each_epoch_meets_all(
    clean: int, others: int, batch: int, until: int, steps: int, seed: int
):
    count = clean + others
    first = np.sort(np.random.default_rng(seed).permutation(count)[:clean])
    order = StagedPools(seed, first, count, until, batch, steps)
    drawn = [order.indices(step, range(batch)) for step in range(steps)]
    early = [unit for units in drawn[:until] for unit in units]
    later = [unit for units in drawn[until:] for unit in units]
    assert set(early) <= set(first.tolist())
    assert len(set(early[:clean])) == min(len(early), clean)
    assert len(set(later[:count])) == min(len(later), count)
    assert list(order.met()) == list(dict.fromkeys(early + later))
    assert order.indices(0, [batch - 1]) == drawn[0][-1:]


def scored_pairs(write_manifest: Callable[..., Path], folder: Path, count: int = 10) -> LabelledPairs:
    """Voter "one" agrees with every label, "two" with those of pairs 0, 3, 6 and 9."""
    pairs = open_preferences(str(write_manifest(folder, count)), DataConfig())
    agrees = np.ones(count), np.where(np.arange(count) % 3 == 0, 1.0, -1.0)
    side = np.where(pairs.winner_side == 0, 1.0, -1.0)
    scores = {n: np.stack([a * side, -a * side], axis=1) for n, a in zip(("one", "two"), agrees, strict=True)}
    return replace(pairs, side_scores=scores)


def order_of(pairs: LabelledPairs, rows: np.ndarray, config: Config) -> StagedPools:
    return semi_dpo.order(OrderContext(pairs, rows, None, config, seed=0, batch=4, steps=6))


def test_the_first_stage_holds_the_clean_pairs_alone(write_manifest: Callable[..., Path], tmp_path: Path):
    """Of rows 2..9, pairs 3, 6 and 9 are units 1, 4 and 7."""
    pairs = scored_pairs(write_manifest, tmp_path)
    order = order_of(pairs, np.arange(2, 10), config_of())
    assert order.first.tolist() == [1, 4, 7]
    assert {u for step in (0, 1) for u in order.indices(step, range(4))} == {1, 4, 7}
    assert sorted(u for step in (2, 3) for u in order.indices(step, range(4))) == list(range(8))


def test_no_clean_pair_and_absent_scores_are_named(write_manifest: Callable[..., Path], tmp_path: Path):
    pairs = scored_pairs(write_manifest, tmp_path)
    with pytest.raises(DataError, match=r"one, two all agree with none of the 2 labels"):
        order_of(pairs, np.array([1, 2]), config_of())
    with pytest.raises(UsageError, match=r"carries no scores of other"):
        order_of(pairs, np.arange(10), config_of(voters="one,other"))


def test_a_new_teacher_is_probed_on_the_next_pairs_that_are_not_clean(
    write_manifest: Callable[..., Path], tmp_path: Path
):
    order = order_of(scored_pairs(write_manifest, tmp_path), np.arange(10), config_of())
    coming = [u for step in range(2, 6) for u in order.indices(step, range(4)) if u % 3]
    assert semi_dpo.probe(order, 2, config_of()).tolist() == list(dict.fromkeys(coming))[:4]
    assert sorted(semi_dpo.probe(order, 2, config_of(probe=50))) == [1, 2, 4, 5, 7, 8]
    assert len(semi_dpo.probe(order, 6, config_of())) == 0


def test_the_policy_becomes_the_teacher_after_the_first_stage_and_after_each_round():
    assert [n for n in range(12) if semi_dpo.due(config_of(), n)] == [2]
    assert [n for n in range(12) if semi_dpo.due(config_of(round_steps=4), n)] == [2, 6, 10]


def fake_nets(seen: dict[str, list], **values: Any) -> Nets:
    """Networks that note the noisy images and timesteps they are asked about."""

    def net(name: str, scale: float) -> Callable[..., Tensor]:
        def predict(noisy: Tensor, timesteps: Tensor, condition: dict[str, Tensor]) -> Tensor:
            seen.setdefault(name, []).append((noisy, timesteps))
            return noisy * scale

        return predict

    return Nets(
        net("policy", 0.9),
        net("reference", 0.5),
        torch.linspace(0.99, 0.01, 1000),
        "epsilon",
        teacher=net("teacher", 0.8),
        **values,
    )


def batch_of(count: int, clean: list[bool]) -> PairBatch:
    torch.manual_seed(1)
    latents = torch.randn(2, count, 2, 2, 2)
    winner = torch.tensor([[1.0, 0.0] if c else [0.0, 1.0] for c in clean])
    return PairBatch(latents[0], latents[1], {"text": torch.zeros(count)}, {"one": winner, "two": winner})


def test_the_teacher_labels_at_the_timestep_that_is_trained_with_a_noise_of_its_own():
    seen: dict[str, list] = {}
    nets = fake_nets(seen, measured={"thresholds": torch.zeros(10)})
    step(nets, batch_of(3, [True, False, False]), Draws(0, 2, (0, 1, 2)), config_of())
    (trained, t), (labelled, taught_t) = seen["policy"][0], seen["teacher"][0]
    assert torch.equal(t, taught_t)
    assert not torch.allclose(trained, labelled)
    assert torch.equal(labelled, seen["reference"][1][0])


def test_the_threshold_of_the_nearest_probed_timestep_decides():
    """Infinite at all but the nearest to the drawn timestep of pair 1: of two pairs that are not clean, it alone counts."""
    draws = Draws(0, 2, (0, 1, 2))
    drawn = draws.integers("timestep", 1000)
    nearest = (drawn[:, None] - semi_dpo.probed_timesteps(1000)).abs().argmin(dim=1)
    assert nearest[1] != nearest[2]
    thresholds = torch.full((10,), math.inf)
    thresholds[nearest[1]] = 0.0
    result = step(
        fake_nets({}, measured={"thresholds": thresholds}),
        batch_of(3, [True, False, False]),
        draws,
        config_of(),
    )
    assert (result.per_pair > 0).tolist() == [True, True, False]
    assert result.log["clean"].item() == pytest.approx(1 / 3)
    assert result.log["pseudo_labelled"].item() == pytest.approx(1 / 3)


def test_in_the_first_stage_there_is_no_teacher():
    seen: dict[str, list] = {}
    result = step(fake_nets(seen), batch_of(2, [True, True]), Draws(0, 1, (0, 1)), config_of())
    assert "teacher" not in seen
    assert (result.per_pair > 0).all()


def test_thresholds_are_percentiles_of_confidence_at_each_timestep(monkeypatch: pytest.MonkeyPatch):
    """Five pairs in two passes with |l_T| = t times 1..5: the 75th percentile is 4 t, the 100th 5 t."""

    def logit(net: Any, nets: Nets, batch: PairBatch, noise: Tensor, timesteps: Tensor) -> Tensor:
        return batch.winner[:, 0, 0, 0] * timesteps

    monkeypatch.setattr(semi_dpo, "_logit", logit)
    values = torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0]).view(5, 1, 1, 1)
    batches = [
        (PairBatch(part, part, {}), Draws(0, 2, tuple(range(len(part))))) for part in (values[:3], values[3:])
    ]
    grid = semi_dpo.probed_timesteps(1000)
    for percentile, times in ((75.0, 4), (100.0, 5), (0.0, 1)):
        found = measure(fake_nets({}), batches, config_of(percentile=percentile))["thresholds"]
        assert found.tolist() == pytest.approx((times * grid).tolist())
    assert measure(fake_nets({}), [], config_of())["thresholds"].tolist() == [math.inf] * 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"kappa": 0.0},
        {"clean_steps": 0},
        {"round_steps": 0},
        {"probe": 0},
        {"percentile": 101.0},
        {"voters": ""},
    ],
)
def test_constants_out_of_range_are_refused(wrong: dict[str, Any]):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        config_of(**wrong)


def test_the_published_learning_rate_falls_to_a_tenth_in_the_second_stage():
    recipe = resolve_recipe("semi_dpo", "launcher")
    rates = [learning_rate(recipe.loop, done) for done in (399, 1599, 1600, 5599)]
    assert rates == pytest.approx([2.048e-6, 2.048e-6, 2.048e-7, 2.048e-7])
    assert learning_rate(recipe.loop, 0) == pytest.approx(2.048e-6 / 400)
    assert (recipe.config.clean_steps, recipe.loop.batch, recipe.config.percentile) == (1600, 512, 80)
    for name in ("kappa", "voters", "round_steps", "probe"):
        assert "reconstruction" in load_method("semi_dpo").presets["launcher"][name].source


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(semi_dpo) == (0, 3)
