"""Tests on annotators: by hand, against every way the lot can fall, and their level."""

from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from prefbench.bench.tally.annotator_tests import side_p_value, typical_tail


def test_typical_tail_by_hand() -> None:
    """Draws from -1, 1, 1: two of them sum to -2 with 1/9, to 0 with 4/9, to 2 with 4/9."""
    everybody = [-1, 1, 1]
    assert typical_tail([(everybody, [-1, -1])]) == pytest.approx(1 / 9)
    assert typical_tail([(everybody, [-1, 1])]) == pytest.approx(5 / 9)
    assert typical_tail([(everybody, [1, 1])]) == pytest.approx(1)


def test_groups_without_a_difference_say_nothing() -> None:
    assert typical_tail([([1, 1, 1], [1])]) is None
    assert typical_tail([]) is None
    assert typical_tail([([1, 1], [1]), ([-1, 1, 1], [-1])]) == pytest.approx(1 / 3)


@given(st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=4), min_size=1, max_size=4), st.data())
def test_typical_tail_is_the_share_of_all_draws(everybody: list[list[int]], data: st.DataObject) -> None:
    own = [data.draw(st.sampled_from(values)) for values in everybody]
    sums = [sum(drawn) for drawn in product(*everybody)]
    expected = Fraction(sum(total <= sum(own) for total in sums), len(sums))
    found = typical_tail([(values, [one]) for values, one in zip(everybody, own, strict=True)])
    if all(len(set(values)) == 1 for values in everybody):
        assert found is None
    else:
        assert found == pytest.approx(float(expected))


def test_who_draws_from_everybody_is_seldom_below_the_level() -> None:
    """All ways to draw 3 of -1, -1, 0, 1, 1, 1: P(p <= x) <= x for each p that occurs."""
    everybody = [-1, -1, 0, 1, 1, 1]
    found = np.array([typical_tail([(everybody, drawn)]) for drawn in product(everybody, repeat=3)])
    assert all((found <= p + 1e-12).mean() <= p + 1e-9 for p in np.unique(found))
    # Without replacement, as annotators really come by their share, sums spread less: small p-values are rarer still.
    without = np.array([typical_tail([(everybody, drawn)]) for drawn in permutations(everybody, 3)])
    assert (without <= 0.2).mean() <= (found <= 0.2).mean()


def test_side_p_value_by_hand() -> None:
    """Six choices, a shown first in three, chosen in just these: 1 of 20 ways to deal the sides, twice for two sides."""
    assert side_p_value([1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0] * 6) == pytest.approx(0.1)
    assert side_p_value([1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0] * 6) == pytest.approx(0.1)


def test_one_order_only_or_one_checkpoint_always_preferred_is_no_evidence() -> None:
    assert side_p_value([1, 1, 1, 1], [1, 1, 1, 0], [0] * 4) is None
    assert side_p_value([1, 1, 0, 0], [1, 1, 1, 1], [0] * 4) is None
    assert side_p_value([], [], []) is None


def test_a_preference_is_no_bias_however_often_the_checkpoint_stood_first() -> None:
    """Mine stood first 90 times of 100 and was preferred 90 of 100, as often on either side: 81 of 90 and 9 of 10."""
    first = np.array([1] * 90 + [0] * 10)
    chosen = np.array([1] * 81 + [0] * 9 + [1] * 9 + [0])
    went_first = (first == chosen).mean()
    assert went_first == 0.82, "a binomial test of 82 of 100 would call this a bias"
    assert side_p_value(first, chosen, np.zeros(100)) == pytest.approx(1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=12))
def test_one_pair_is_fishers_exact_test(judged: list[tuple[bool, bool]]) -> None:
    first, chosen = np.array(judged).T
    table = [[int((first & chosen).sum()), int((first & ~chosen).sum())]]
    table += [[int((~first & chosen).sum()), int((~first & ~chosen).sum())]]
    tails = [fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    found = side_p_value(first, chosen, np.zeros(len(judged)))
    assert found is None or found == pytest.approx(min(1, 2 * min(tails)))
    assert (found is None) == (0 in np.sum(table, axis=0) or 0 in np.sum(table, axis=1))


def test_several_pairs_are_shuffled_each_by_itself() -> None:
    """Two pairs of four choices, two first and two chosen, all together: 1 of 6 ways each, 1 of 36 for both, two-sided."""
    first, chosen = [1, 1, 0, 0] * 2, [1, 1, 0, 0] * 2
    assert side_p_value(first, chosen, [0] * 4 + [1] * 4) == pytest.approx(2 / 36)
    assert side_p_value(first, chosen, [0] * 8) == pytest.approx(2 / 70)
