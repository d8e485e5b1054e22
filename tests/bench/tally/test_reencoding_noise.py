"""The tie tolerance from changes made by hand, and from noise whose spread is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prefbench.bench.tally.reencoding_noise import NEIGHBOURS, reencoding_noise, turned_votes

CHANGES = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 3), st.integers(2, 30)), elements=st.integers(-50, 50)
)


def measure(changes, prompts=None, *, resamples=2):
    images = np.shape(changes)[1]
    labels = np.arange(images) if prompts is None else prompts
    return reencoding_noise(changes, labels, resamples=resamples, rng=np.random.default_rng(0))


def test_by_hand():
    """Changes 0, 1, 2 and 4, 4, 7 (shift 1 and 5): variances 1 and 3, mean 2.

    Three images make three pairs; they move by 1, 1, 2 and by 0, 3, 3. Sorted 0 1 1 2 3 3: the 95 % quantile is 3.
    """
    found = measure([[0, 1, 2], [4, 4, 7]])
    assert found.shifts == [1, 5]
    assert found.score_sd == pytest.approx(np.sqrt(2))
    assert found.difference_sd == pytest.approx(2)
    assert found.tolerance == 3


@settings(max_examples=30)
@given(CHANGES, st.integers(-100, 100))
def test_what_moves_all_images_alike_moves_no_difference(changes, shift):
    here, there = measure(changes), measure(changes + shift)
    assert there.tolerance == here.tolerance
    assert there.score_sd == pytest.approx(here.score_sd)


@settings(max_examples=30)
@given(CHANGES, st.integers(0, 20))
def test_tolerance_is_in_the_scorers_units(changes, factor):
    assert measure(changes * factor).tolerance == pytest.approx(factor * measure(changes).tolerance)


def test_no_change_is_no_tolerance():
    found = measure(np.zeros((2, 30)))
    assert (found.tolerance, found.score_sd, found.tolerance_ci95) == (0, 0, (0, 0))


def test_of_normal_noise_the_tolerance_is_1_96_standard_deviations_of_a_difference():
    changes = np.random.default_rng(1).normal(scale=0.1, size=(2, 20_000))
    found = measure(changes)
    assert found.difference_sd == pytest.approx(0.1 * np.sqrt(2), rel=0.02)
    assert found.tolerance == pytest.approx(1.96 * found.difference_sd, rel=0.02)


def test_few_images_that_move_far_widen_the_spread_and_not_the_tolerance():
    changes = np.random.default_rng(2).normal(scale=0.1, size=(2, 2_000))
    changes[:, ::200] += 10
    found = measure(changes)
    assert found.tolerance < 0.5 < 1.96 * found.difference_sd


def test_every_image_meets_those_that_follow_it_however_few_there_are():
    """One image of n that moves by 1 is in two of every n pairs of a step: 2 / n of all pairs move."""
    for images in (2, 3, 5, 2 * NEIGHBOURS - 1, 2 * NEIGHBOURS + 1, 1000):
        changes = np.zeros((1, images))
        changes[0, 0] = 1
        assert measure(changes).tolerance == (1 if 2 / images > 0.05 else 0), images


def test_the_interval_covers_the_tolerance_of_all_images_and_is_of_prompts():
    """Noise normal with sd 1: the tolerance is 1.96 sqrt 2. Prompts whose images all move alike say less."""
    truth, covered, widths = 1.96 * np.sqrt(2), 0, []
    for seed in range(20):
        changes = np.random.default_rng(seed).normal(size=(2, 150))
        low, high = measure(changes, resamples=60).tolerance_ci95
        covered += low <= truth <= high
        widths.append(high - low)
    assert covered >= 16
    # Every change three times over, by prompt: as many images, and a third of the evidence.
    alike = np.repeat(np.random.default_rng(0).normal(size=(2, 50)), 3, axis=1)
    low, high = measure(alike, np.repeat(np.arange(50), 3), resamples=60).tolerance_ci95
    assert high - low > 1.3 * np.mean(widths)


def test_one_prompt_has_no_interval():
    assert measure(np.eye(1, 30), prompts=["x"] * 30).tolerance_ci95 is None


def test_turned_votes_by_hand():
    """Prompt x: scores 0, 1, 5; prompt y: 2, 2. The second image loses 2: 0 against 1 turns, 1 against 5 does not; of y the
    first loses 1, and a tie becomes a loss. Tolerance 1: of four pairs two tie, and both are those that turn."""
    found = turned_votes([0, 1, 5, 2, 2], [[0, -2, 0, -1, 0]], ["x", "x", "x", "y", "y"], 1.0)
    assert (found.pairs, found.tied, found.turned, found.turned_beyond) == (4, 0.5, 0.5, 0.0)


def test_turned_votes_are_a_mean_over_encodings_and_unknown_without_pairs_or_beyond_all_ties():
    found = turned_votes([0, 1], [[2, 0], [0, 0]], ["x", "x"], 5.0)
    assert (found.turned, found.tied, found.turned_beyond) == (0.5, 1.0, None)
    assert turned_votes([0, 1], [[0, 0]], ["x", "y"], 0.0) is None


@pytest.mark.parametrize(
    ("changes", "prompts"),
    [([[1.0]], ["x"]), ([1.0, 2.0], ["x", "y"]), ([[1.0, np.nan]], ["x", "y"]), ([[1.0, 2.0]], ["x"])],
)
def test_what_cannot_be_measured_is_refused(changes, prompts):
    with pytest.raises(ValueError, match="Need finite changes"):
        reencoding_noise(changes, prompts, rng=np.random.default_rng(0))
