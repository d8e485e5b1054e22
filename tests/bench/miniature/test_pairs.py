"""Preference pairs are reproducible and keep the truth about every row."""

import numpy as np
import pytest

from prefbench.bench.exceptions import UsageError
from prefbench.bench.miniature.pairs import load_pairs
from prefbench.bench.miniature.scenes import parse_caption, split_of

N = 800


def test_the_same_seed_paints_the_same_pairs_and_another_seed_others() -> None:
    one, other = load_pairs(60, 3), load_pairs(60, 4)
    load_pairs.cache_clear()
    again = load_pairs(60, 3)
    assert one.prompts == again.prompts
    np.testing.assert_array_equal(one.images_0, again.images_0)
    assert not np.array_equal(one.images_0, other.images_0)


def test_without_minority_and_flips_every_label_follows_the_majority_utility() -> None:
    pairs = load_pairs(N)
    np.testing.assert_array_equal(pairs.label_0 > 0.5, pairs.utility_0 > pairs.utility_1)
    assert set(pairs.annotator) == {"majority"}


def test_margins_come_in_all_sizes() -> None:
    pairs = load_pairs(N)
    margin = np.abs(pairs.utility_0 - pairs.utility_1)
    low, middle, high = np.quantile(margin, [0.1, 0.5, 0.9])
    assert low < 0.05
    assert 0.1 < middle < 0.35
    assert high > 0.35


def test_flips_turn_the_asked_share_round_and_leave_the_pictures_alone() -> None:
    plain, flipped = load_pairs(N), load_pairs(N, flip=0.3, flip_seed=1)
    np.testing.assert_array_equal(plain.images_1, flipped.images_1)
    np.testing.assert_array_equal(flipped.flipped, plain.label_0 != flipped.label_0)
    assert flipped.flipped.mean() == pytest.approx(0.3, abs=0.04)
    assert not np.array_equal(flipped.flipped, load_pairs(N, flip=0.3, flip_seed=2).flipped)


def test_the_minority_is_coherent_and_disagrees_with_the_majority() -> None:
    """A minority label is predicted by vividness alone; about half of such labels contradict the majority's utility."""
    pairs = load_pairs(N, minority=0.2)
    minority = np.array(pairs.annotator) == "minority"
    assert minority.mean() == pytest.approx(0.2, abs=0.04)
    agrees = (pairs.label_0 > 0.5) == (pairs.utility_0 > pairs.utility_1)
    assert agrees[~minority].all()
    assert 0.25 < agrees[minority].mean() < 0.75


def test_junk_prompts_ask_for_nothing_and_near_duplicates_for_the_scene_above() -> None:
    pairs = load_pairs(N)
    scenes = [parse_caption(p) for p in pairs.prompts]
    assert all(scenes[k] is None for k in np.flatnonzero(pairs.junk))
    assert all(scenes[k] == scenes[k - 1] is not None for k in np.flatnonzero(pairs.near_duplicate))
    assert all(pairs.prompts[k] != pairs.prompts[k - 1] for k in np.flatnonzero(pairs.near_duplicate))
    assert pairs.junk.mean() == pytest.approx(0.04, abs=0.02)
    assert 0.05 < pairs.near_duplicate.mean() < 0.13


def test_training_pairs_use_training_captions_only() -> None:
    assert {split_of(s) for s in map(parse_caption, load_pairs(300).prompts) if s} == {"train"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"flip": 1.5}, "flip is a share"), ({"split": "dev"}, "unknown split 'dev'"), ({"n": 0}, "at least 1")],
)
def test_impossible_requests_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_pairs(**arguments)  # type: ignore[arg-type]
