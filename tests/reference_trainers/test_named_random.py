"""What a seed decides, it decides independently: wrong labels, random subsets, drawn scorers and the order of training."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.reference_trainers.data_order import pair_index
from prefbench.reference_trainers.named_random import named_generator
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.selection.ranking import keep_random

COUNT, SHARE = 1000, 0.3


def flipped(seed: int) -> np.ndarray:
    config = DataConfig(flip=SHARE, flip_seed=seed)
    return np.asarray(open_preferences(f"miniature:{COUNT}", config).flipped)


def five_sigma(drawn: int) -> float:
    """Of the share of 300 marked among `drawn` of 1,000, without replacement."""
    return 5 * (SHARE * (1 - SHARE) / drawn * (COUNT - drawn) / (COUNT - 1)) ** 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrong_labels_lie_evenly_over_the_order_of_training_at_one_seed(seed: int) -> None:
    """The first 300 pairs of an epoch hold about 30 % of the wrong labels: five standard deviations are 11 percent."""
    wrong = flipped(seed)
    assert wrong.sum() == 300
    first = [pair_index(seed, position, COUNT) for position in range(300)]
    assert abs(wrong[first].mean() - SHARE) < five_sigma(300)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_random_subset_has_its_share_of_wrong_labels_at_one_seed(seed: int) -> None:
    kept = keep_random(COUNT, 300, seed=seed, what="test").kept
    assert abs(flipped(seed)[kept].mean() - SHARE) < five_sigma(300)


@given(st.integers(0, 2**32 - 1))
def test_streams_of_other_names_or_numbers_differ_though_the_seed_is_one(seed: int) -> None:
    """numpy's own generators of [seed] and [seed, 0] are one stream."""
    assert np.random.default_rng(seed).random() == np.random.default_rng([seed, 0]).random()
    streams = [("flip", seed), ("random subset", seed), ("flip", seed, 0), ("flip", seed + 1)]
    first = [named_generator(*stream).random() for stream in streams]
    assert all(one != other for one, other in combinations(first, 2))
    assert named_generator("flip", seed).random() == first[0]
