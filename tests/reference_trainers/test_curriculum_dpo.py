"""Curriculum-DPO: ranking by a scorer's margin, chunks of a run, constants."""

import doctest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers import curriculum_dpo
from prefbench.reference_trainers.curriculum_dpo import Config, easiest_first, order
from prefbench.reference_trainers.data_order import NestedChunks, OrderContext
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.registry import load_method

SCORES = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.floats(0, 1))
BASE: dict[str, Any] = {
    "kappa": 1000.0,
    "scorer": "toy",
    "threshold": 0.0,
    "floor": None,
    "top": None,
    "chunks": 2,
    "every": 3,
}


@given(SCORES, st.floats(0, 0.5), st.floats(0, 0.5) | st.none(), st.integers(1, 12) | st.none())
def test_the_ranking_holds_what_passes_and_nothing_else(
    scores: np.ndarray, threshold: float, floor: float | None, top: int | None
):
    margin = np.abs(scores[:, 0] - scores[:, 1])
    ranking = easiest_first(scores, threshold=threshold, floor=floor, top=top)
    passing = [
        i for i in range(len(scores)) if margin[i] > threshold and (floor is None or scores[i].min() > floor)
    ]
    assert len(ranking) == min(len(passing), len(passing) if top is None else top)
    assert set(ranking) <= set(passing)
    assert (np.diff(margin[ranking]) <= 0).all()
    left = set(passing) - set(ranking.tolist())
    assert not left or max(margin[list(left)]) <= margin[ranking[-1]]


def scored_pairs(write_manifest: Callable[..., Path], folder: Path) -> LabelledPairs:
    """Ten pairs with margins .1, .2 ... 1, the scorer at odds with the label for every third."""
    pairs = open_preferences(str(write_manifest(folder, 10)), DataConfig())
    margin = np.random.default_rng(0).permutation(10) / 10 + 0.1
    signed = np.where(np.arange(10) % 3 == 0, -margin, margin)
    return replace(pairs, side_scores={"toy": np.stack([1 + signed / 2, 1 - signed / 2], axis=1)})


def order_of(pairs: LabelledPairs, rows: np.ndarray | None = None, **values: Any) -> NestedChunks:
    rows = np.arange(len(pairs)) if rows is None else rows
    return order(OrderContext(pairs, rows, None, Config(**{**BASE, **values}), seed=0, batch=5, steps=6))


def test_the_first_chunk_holds_exactly_the_pairs_of_largest_margin(
    write_manifest: Callable[..., Path], tmp_path: Path
):
    pairs = scored_pairs(write_manifest, tmp_path)
    order = order_of(pairs)
    scores = pairs.image_scores["toy"]
    margin = np.abs(scores[:, 0] - scores[:, 1])
    first = {i for step in range(3) for i in order.indices(step, range(5))}
    assert first == set(np.flatnonzero(margin > 0.55).tolist())
    assert len(first) == 5
    later = [i for step in range(3, 6) for i in order.indices(step, range(5))]
    assert sorted(later[:10]) == list(range(10))


def test_indices_count_within_the_rows_that_were_kept(write_manifest: Callable[..., Path], tmp_path: Path):
    """Of rows 4..9, index 0 is row 4."""
    pairs, rows = scored_pairs(write_manifest, tmp_path), np.arange(4, 10)
    scores = pairs.image_scores["toy"][rows]
    ranking = order_of(pairs, rows).ranking
    assert ranking[0] == np.abs(scores[:, 0] - scores[:, 1]).argmax()
    assert sorted(ranking) == list(range(6))


def test_thresholds_that_leave_nothing_and_absent_scores_are_named(
    write_manifest: Callable[..., Path], tmp_path: Path
):
    pairs = scored_pairs(write_manifest, tmp_path)
    with pytest.raises(DataError, match=r"toy gives margins up to 1 .*threshold = 2, floor = None"):
        order_of(pairs, threshold=2.0)
    with pytest.raises(UsageError, match="'other'.*carries no scores"):
        order_of(pairs, scorer="other")
    with pytest.raises(UsageError, match=r"chunks = 11 of 10"):
        order_of(pairs, chunks=11)


@pytest.mark.parametrize(
    "wrong", [{"chunks": 0}, {"every": 0}, {"top": 0}, {"threshold": -1.0}, {"kappa": 0.0}]
)
def test_constants_out_of_range_are_refused(wrong: dict):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Config(**{**BASE, **wrong})


def test_the_released_constants():
    preset = load_method("curriculum_dpo").presets["launcher"]
    assert preset["kappa"].value == 0.5 * 2000
    assert "never read" in preset["kappa"].source
    assert (preset["chunks"].value, preset["every"].value, preset["top"].value) == (6, 500, 150_000)


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(curriculum_dpo) == (0, 1)
