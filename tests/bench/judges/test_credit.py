"""Three rules for ties: values by hand, PickScore's script written out anew as oracle, and properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.judges.credit import (
    FOLDS,
    LOGIT_GRID,
    best_threshold,
    cross_fitted,
    points,
    probability_gap,
)

PAIRS = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1]), st.floats(-4, 4, allow_nan=False).map(lambda x: round(x, 1))),
    min_size=1,
    max_size=40,
)


def split(pairs: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    people, gap = zip(*pairs, strict=True)
    return np.array(people), np.array(gap)


def accuracy(ballots: np.ndarray) -> float:
    return float((1 + ballots.mean()) / 2)


def pickscore_accuracy(people: np.ndarray, gap: np.ndarray, t: float) -> float:
    """The script's rule in its own terms: labels in words, softmax of two scores, a threshold on |p0 - p1|."""
    total = 0.0
    for choice, difference in zip(people, gap, strict=True):
        label = {1: "0", -1: "1", 0: "tie"}[int(choice)]
        p0 = 1 / (1 + math.exp(-difference))
        said = "tie" if abs(2 * p0 - 1) <= t else "0" if p0 > 0.5 else "1"
        total += 1.0 if label == said else 0.5 if "tie" in (label, said) else 0.0
    return total / len(people)


def test_each_rule_gives_what_it_says_on_nine_kinds_of_pair() -> None:
    """People 1, 0, -1 against a clear yes, an exact tie, and a small yes below the threshold 0.5."""
    people = [1, 1, 1, 0, 0, 0, -1, -1, -1]
    gap = [2.0, 0.0, 0.4] * 3
    assert points(people, gap).tolist() == [1, 0, 1, 0, 0, 0, -1, 0, -1]
    assert points(people, gap, 0.5).tolist() == [1, 0, 0, 0, 1, 1, -1, 0, 0]


def test_a_threshold_of_zero_makes_only_equal_scores_a_tie() -> None:
    assert points([0, 0, 1], [0.0, 1e-12, 0.0], 0.0).tolist() == [1, 0, 0]


def test_the_best_threshold_by_hand() -> None:
    """Ties at 0.1 and 0.2, choices at 0.3 (wrong) and 0.9 (right).

    Points of t = 0: 0.5 + 0.5 + 0 + 1 = 2; 0.1: 2.5; 0.2: 3; 0.3: 1 + 1 + 0.5 + 1 = 3.5; 0.9: 3. So 0.3.
    """
    assert best_threshold([0, 0, -1, 1], [0.1, -0.2, 0.3, 0.9]) == 0.3


def test_of_equally_good_thresholds_the_smallest_is_taken() -> None:
    """The script takes the first maximum of an ascending grid: here nothing is gained by any tie."""
    assert best_threshold([1, -1], [0.5, -0.5]) == 0.0


def test_the_grid_is_the_scripts_eleven_probabilities() -> None:
    assert [round(probability_gap(t), 9) for t in LOGIT_GRID] == [round(k / 10, 9) for k in range(11)]


@given(PAIRS)
def test_the_rule_on_logits_is_that_of_pickscores_script(pairs: list[tuple[int, float]]) -> None:
    people, gap = split(pairs)
    # Differences of 0.1 never meet 2 artanh(k / 10) but at 0, so rounding decides nothing.
    by_script = [pickscore_accuracy(people, gap, k / 10) for k in range(11)]
    ours = [accuracy(points(people, gap, t)) for t in LOGIT_GRID]
    assert ours == pytest.approx(by_script)
    assert best_threshold(people, gap, LOGIT_GRID) == LOGIT_GRID[int(np.argmax(np.round(by_script, 9)))]


@given(PAIRS)
def test_no_threshold_gives_more_points_than_the_best(pairs: list[tuple[int, float]]) -> None:
    people, gap = split(pairs)
    best = accuracy(points(people, gap, best_threshold(people, gap)))
    tried = [accuracy(points(people, gap, t)) for t in np.linspace(0, 4.5, 46)]
    assert best >= max(tried) - 1e-12


@given(PAIRS)
def test_always_saying_tie_gets_half_a_point_for_choices_and_one_for_ties(
    pairs: list[tuple[int, float]],
) -> None:
    people, gap = split(pairs)
    assert accuracy(points(people, gap, math.inf)) == pytest.approx(0.5 + 0.5 * (people == 0).mean())


@given(PAIRS, st.floats(0, 3))
def test_which_image_is_named_first_does_not_matter(pairs: list[tuple[int, float]], threshold: float) -> None:
    people, gap = split(pairs)
    assert (points(people, gap) == points(-people, -gap)).all()
    assert (points(people, gap, threshold) == points(-people, -gap, threshold)).all()


@given(PAIRS)
def test_where_people_never_tie_the_first_two_rules_and_no_threshold_are_one(
    pairs: list[tuple[int, float]],
) -> None:
    people, gap = split(pairs)
    people = np.where(people == 0, 1, people)
    assert (points(people, gap) == points(people, gap, 0.0)).all()


def test_the_threshold_of_a_prompt_does_not_depend_on_its_own_pairs() -> None:
    rng = np.random.default_rng(0)
    prompts = [f"p{k % 12}" for k in range(120)]
    people, gap = rng.integers(-1, 2, 120), rng.normal(size=120)
    before, parts = cross_fitted(people, gap, prompts)
    own = np.array([prompt == "p3" for prompt in prompts])
    after, _ = cross_fitted(np.where(own, 0, people), np.where(own, 9.0, gap), prompts)
    assert len(parts) == FOLDS
    assert (before[own] == after[own]).all()
    assert (before != after).any()


def test_the_order_of_the_rows_does_not_move_a_cross_fitted_threshold() -> None:
    rng = np.random.default_rng(1)
    prompts = [f"p{k % 7}" for k in range(70)]
    people, gap = rng.integers(-1, 2, 70), rng.normal(size=70)
    order = rng.permutation(70)
    whole, _ = cross_fitted(people, gap, prompts)
    shuffled, _ = cross_fitted(people[order], gap[order], [prompts[k] for k in order])
    assert (whole[order] == shuffled).all()


def test_two_prompts_choose_for_one_another_and_one_cannot() -> None:
    """p's tie lies at 1 and q's at 2, so p is judged with 2 and q with 1."""
    thresholds, parts = cross_fitted([0, 0], [1.0, 2.0], ["p", "q"])
    assert thresholds.tolist() == [2.0, 1.0]
    assert sorted(parts) == [1.0, 2.0]
    with pytest.raises(ValueError, match="other prompts"):
        cross_fitted([0, 0], [1.0, 2.0], ["p", "p"])
