"""Randomness and order as functions of seed, step, row and epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.data_order import pair_index
from prefbench.reference_trainers.draws import Draws, micro_batches
from prefbench.reference_trainers.loop_config import LoopConfig, learning_rate

BASE = {
    "lr": 1.0,
    "steps": 10,
    "batch": 12,
    "schedule": "linear",
    "warm_up": 0.2,
    "weight_decay": 0.0,
    "beta1": 0.9,
    "beta2": 0.999,
    "clip": 1.0,
    "precision": "fp32",
}


def test_a_row_draws_the_same_whatever_rows_stand_beside_it():
    whole, part = Draws(0, 3, tuple(range(8))), Draws(0, 3, (5, 6))
    assert torch.equal(whole.normal("noise", (2, 3))[5:7], part.normal("noise", (2, 3)))
    assert torch.equal(whole.integers("timestep", 1000)[5:7], part.integers("timestep", 1000))
    assert torch.equal(whole.uniform("caption")[5:7], part.uniform("caption"))


def test_seed_step_row_and_name_each_change_the_draw():
    draws = [
        Draws(*key).normal(name, (4,))[0].tolist()
        for key, name in [
            ((0, 0, (0,)), "a"),
            ((1, 0, (0,)), "a"),
            ((0, 1, (0,)), "a"),
            ((0, 0, (1,)), "a"),
            ((0, 0, (0,)), "b"),
        ]
    ]
    assert len({tuple(draw) for draw in draws}) == 5


def test_draws_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    Draws(0, 0, (0, 1)).normal("noise", (4,))
    assert torch.equal(before, torch.random.get_rng_state())


def test_draws_have_the_stated_distributions():
    """4000 rows: standard errors .016 of a normal mean, .0046 of a uniform mean, 4.6 of the mean timestep."""
    draws = Draws(7, 0, tuple(range(4000)))
    normal = draws.normal("noise", (1,))
    assert abs(normal.mean()) < 0.07
    assert abs(normal.std() - 1) < 0.06
    timesteps = draws.integers("timestep", 1000)
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    assert abs(timesteps.float().mean() - 499.5) < 20
    assert abs(draws.uniform("caption").mean() - 0.5) < 0.02


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_every_epoch_shows_every_pair_once(count: int, seed: int, epoch: int):
    order = [pair_index(seed, epoch * count + i, count) for i in range(count)]
    assert sorted(order) == list(range(count))


def test_epochs_and_seeds_have_different_orders():
    orders = [
        [pair_index(seed, epoch * 30 + i, 30) for i in range(30)] for seed, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    assert len({tuple(order) for order in orders}) == 3


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2))
def test_processes_and_micro_batches_share_out_the_same_rows(
    processes: int, passes: int, micro: int, first: int
):
    batch, count = processes * passes * micro, 7
    common = {"seed": 1, "count": count, "batch": batch, "first_step": first, "steps": 3}
    whole = {
        (m.step, row): index
        for m in micro_batches(**common, micro_batch=batch, process=0, processes=1)
        for row, index in zip(m.rows, m.indices, strict=True)
    }
    shared = {}
    for process in range(processes):
        plan = list(micro_batches(**common, micro_batch=micro, process=process, processes=processes))
        assert sum(m.last for m in plan) == 3 - first
        for m in plan:
            shared |= {(m.step, row): index for row, index in zip(m.rows, m.indices, strict=True)}
    assert shared == whole


def test_learning_rate_rises_then_falls_to_zero_after_the_last_step():
    """10 steps, 2 of warm-up: .5, 1, then (10 - s) / 8 for s = 2..9."""
    rates = [learning_rate(LoopConfig(**BASE), s) for s in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_constant_schedule_stays_at_the_peak():
    cfg = LoopConfig(**{**BASE, "schedule": "constant", "warm_up": 0.0})
    assert {learning_rate(cfg, s) for s in range(10)} == {1.0}


def test_a_batch_that_cannot_be_shared_out_is_refused():
    cfg = LoopConfig(**BASE, micro_batch=5)
    with pytest.raises(UsageError, match=r"batch = 12.*micro_batch = 5.*multiple"):
        cfg.micro_batch_for(1)
    assert LoopConfig(**BASE, micro_batch=2).micro_batch_for(3) == 2
    assert LoopConfig(**BASE).micro_batch_for(3) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 0.0),
        ("lr", np.nan),
        ("steps", 0),
        ("batch", 0),
        ("warm_up", 1.5),
        ("beta1", 1.0),
        ("clip", 0.0),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: float):
    with pytest.raises(UsageError, match=name):
        LoopConfig(**{**BASE, name: value})
