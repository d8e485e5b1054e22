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
    st.booleans(),
)
def test_the_tail_below_a_threshold_is_where_the_lower_limit_meets_it(values, threshold, uneven):
    sizes = np.arange(1, len(values) + 1) if uneven else None
    tail = tail_below(np.array(values), threshold, sizes=sizes)
    if tail < 1 - 1e-9:
        assert unanimity_bound(np.array(values), tail, sizes=sizes)[0] == pytest.approx(threshold, rel=1e-6)
    else:
        assert unanimity_bound(np.array(values), 0.999, sizes=sizes)[0] <= threshold


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


def test_with_unequal_pairs_the_prompts_that_differ_may_be_those_with_the_most():
    """Ten ties, one of them with 11 pairs, nine with 1. At least L = .025^(1/10) = .6915 of the prompts reach 1/2; those with the
    fewest pairs are 6.915 of 20 pairs. So [.1729, .8271], and [.3458, .6542] were all as heavy.
    """
    ties = np.full(10, 0.5)
    heavy = np.array([1] * 9 + [11])
    assert unanimity_bound(ties, sizes=heavy) == pytest.approx((0.1729, 0.8271), abs=1e-4)
    assert unanimity_bound(ties, sizes=np.full(10, 7)) == unanimity_bound(ties)
    assert unanimity_bound(ties) == pytest.approx((0.3458, 0.6542), abs=1e-4)


@pytest.mark.parametrize(("heavy", "light", "pairs"), [(4, 4, 4), (4, 6, 4), (6, 6, 2)])
def test_neither_limit_misses_more_than_its_share_where_heavy_prompts_have_other_chances(
    heavy, light, pairs, monkeypatch
):
    """Every outcome (won, tied, lost) of prompts with `pairs` pairs and of prompts with one, each kind with chances of its own.

    Chances in steps of 1/10 for both kinds. Counting prompts alone, the worst would be misses of 24, 53 and 4.8 %.
    """
    monkeypatch.setattr(unanimity, "RARE", heavy + light)
    values, sizes = np.array([1.0, 0.5, 0.0]), np.repeat([pairs, 1], [heavy, light])
    chances = np.array([(w, t, 10 - w - t) for w in range(11) for t in range(11 - w)]) / 10
    kinds = []
    for prompts in (heavy, light):
        drawn = itertools.combinations_with_replacement(range(3), prompts)
        counts = np.array([np.bincount(one, minlength=3) for one in drawn])
        ways = [math.factorial(prompts) / math.prod(map(math.factorial, row)) for row in counts.tolist()]
        kinds.append((counts, np.array(ways) * np.prod(chances[:, None, :] ** counts, axis=-1)))
    (of_heavy, chance_heavy), (of_light, chance_light) = kinds
    limits = np.array([
        [unanimity_bound(np.concatenate([np.repeat(values, h), np.repeat(values, k)]), sizes=sizes) for k in of_light]
        for h in of_heavy
    ])  # fmt: skip
    mean = (heavy * pairs * (chances @ values)[:, None] + light * chances @ values) / sizes.sum()
    for i, truth in enumerate(mean):
        below = (limits[..., 0] > truth[:, None, None] + 1e-12).astype(float)
        above = (limits[..., 1] < truth[:, None, None] - 1e-12).astype(float)
        for beyond in (below, above):
            missed_by = np.einsum("h,thl,tl->t", chance_heavy[i], beyond, chance_light)
            assert missed_by.max() <= TAIL
