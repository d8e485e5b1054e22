"""The exact bound: by hand, against scipy, its inverse, and its coverage by counting every outcome."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.bench.tally import unanimity
from prefbench.bench.tally.unanimity import TAIL, tail_below, unanimity_bound


@pytest.mark.parametrize(("wins", "prompts"), [(10, 14), (0, 3), (8, 8), (199, 200), (2, 4)])
def test_prompts_won_or_lost_outright_have_both_limits_of_clopper_and_pearson(wins, prompts):
    expected = stats.binomtest(wins, prompts).proportion_ci(method="exact")
    values = np.repeat([1.0, 0.0], [wins, prompts - wins])
    assert unanimity_bound(values) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_a_tie_among_wins_counts_as_lost_below_and_as_won_above():
    """10 wins, 1 tie, 3 losses: the lower limit of 10 of 14, the upper limit of 11 of 14."""
    low = stats.binomtest(10, 14).proportion_ci(method="exact").low
    high = stats.binomtest(11, 14).proportion_ci(method="exact").high
    values = np.repeat([1.0, 0.5, 0.0], [10, 1, 3])
    assert unanimity_bound(values) == pytest.approx((low, high), rel=1e-9)


def test_among_ties_a_win_is_no_reason_for_a_lower_limit():
    """17 ties, 3 wins: all 20 reach 1/2, so the lower limit is that of 20 ties, .5 x .025^(1/20)."""
    low, high = unanimity_bound(np.repeat([0.5, 1.0], [17, 3]))
    assert low == pytest.approx(0.5 * 0.025 ** (1 / 20))
    assert high == pytest.approx(1 - 0.5 * stats.binomtest(17, 20).proportion_ci(method="exact").low)


def test_five_values_off_the_commonest_have_no_bound():
    assert unanimity_bound(np.repeat([1.0, 0.0], [9, 5])) is None


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=6),
    st.floats(0.1, 0.99),
)
def test_the_tail_below_a_threshold_is_where_the_lower_limit_meets_it(values, threshold):
    tail = tail_below(np.array(values), threshold)
    if tail < 1 - 1e-9:
        assert unanimity_bound(np.array(values), tail)[0] == pytest.approx(threshold, rel=1e-6)
    else:
        assert unanimity_bound(np.array(values), 0.999)[0] <= threshold


def missed(values, prompts, truths):
    """Probability that a limit lies beyond the true mean, (truths, 2): the lower one above it, the upper one below.

    Exact: every multiset of outcomes with its multinomial probability; no random number.
    """
    values = np.array(values)
    outcomes = np.array([
        np.bincount(drawn, minlength=len(values))
        for drawn in itertools.combinations_with_replacement(range(len(values)), prompts)
    ])  # fmt: skip
    limits = np.array([unanimity_bound(np.repeat(values, counts)) for counts in outcomes])
    ways = [math.factorial(prompts) / math.prod(map(math.factorial, counts)) for counts in outcomes.tolist()]
    probability = np.array(ways) * np.prod(truths[:, None, :] ** outcomes, axis=-1)
    mean = (truths @ values)[:, None]
    beyond = np.stack([limits[:, 0] > mean + 1e-12, limits[:, 1] < mean - 1e-12])
    return (probability * beyond).sum(axis=-1).T


@pytest.mark.parametrize("prompts", [2, 5, 7, 9, 12])
def test_neither_limit_misses_the_truth_with_more_than_its_share_whatever_wins_and_ties_there_are(
    prompts, monkeypatch
):
    """All truths of win, tie and loss in steps of 1/20. Without the rule of when to use it: the bound itself is at issue."""
    monkeypatch.setattr(unanimity, "RARE", prompts)
    steps = [(w, t, 20 - w - t) for w in range(21) for t in range(21 - w)]
    found = missed([1.0, 0.5, 0.0], prompts, np.array(steps) / 20)
    assert found.max() <= TAIL
    assert found.max() > TAIL / 2, "and it is not that it never speaks"


@pytest.mark.parametrize(
    "values", [[0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.1, 0.2, 0.9, 1.0], [0.0, 0.45, 0.5, 0.55, 1.0]]
)
def test_nor_with_several_seeds_a_prompt(values, monkeypatch):
    monkeypatch.setattr(unanimity, "RARE", 6)
    rng = np.random.default_rng(3)
    truths = np.vstack([rng.dirichlet(np.full(5, spread), 400) for spread in (0.2, 0.5, 1.0)])
    assert missed(values, 6, truths).max() <= TAIL
