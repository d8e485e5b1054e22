"""Sign flips of whole prompts: exact against enumeration, random against exact, and what has no answer."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.bench.tally import permutation
from prefbench.bench.tally.differences import effect_size, without_dust
from prefbench.bench.tally.permutation import FINEST, difference_flip_p_values, vote_flip_p_values
from prefbench.bench.tally.win_rate import mean_difference, tally, win_rate


def enumerated(sums):
    """All 2^n flips of one column, one after the other."""
    flipped = [
        abs(sum(s * v for s, v in zip(signs, sums, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    return sum(f >= abs(sum(sums)) - 1e-9 for f in flipped) / len(flipped)


def of_votes(sums):
    return float(vote_flip_p_values(np.asarray(sums)[:, None])[0])


def of_gaps(sums, resamples=10_000, seed=0):
    rng = np.random.default_rng(seed)
    return float(difference_flip_p_values(np.asarray(sums, float)[:, None], resamples=resamples, rng=rng)[0])


def test_votes_by_hand():
    """Prompts won 2:0, 1:0, 0:1 in seeds: sums 2, 1, -1, total 2. Flips: |total| is 4, 2, 2, 0 each with 2 of 8: 6/8."""
    assert of_votes([2, 1, -1]) == pytest.approx(0.75)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_votes_are_exact(sums):
    assert of_votes(sums) == pytest.approx(enumerated(sums), abs=1e-12)


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=300))
def test_with_one_seed_a_prompt_it_is_the_sign_test(votes):
    found = win_rate(
        np.array(votes),
        np.zeros(len(votes)),
        np.arange(len(votes)),
        rng=np.random.default_rng(0),
        resamples=1,
    )
    assert found.permutation_p_value == pytest.approx(found.p_value, rel=1e-9)


def test_thousands_of_prompts_with_four_seeds_are_exact_by_convolution():
    """The distribution over all flips, built one prompt after the other: an independent dynamic programme."""
    sums = np.random.default_rng(1).binomial(4, 0.52, size=600) * 2 - 4
    chance, reach = np.ones(1), abs(int(sums.sum()))
    for value in np.abs(sums):
        wider = np.zeros(len(chance) + 2 * value)
        wider[: len(chance)] += chance / 2
        wider[len(wider) - len(chance) :] += chance / 2
        chance = wider
    totals = np.arange(len(chance)) - len(chance) // 2
    assert of_votes(sums) == pytest.approx(chance[np.abs(totals) >= reach].sum(), abs=1e-12)


def test_more_seeds_that_agree_are_no_more_prompts():
    votes = np.array([1] * 30 + [-1] * 18 + [0] * 4)
    assert of_votes(4 * votes) == of_votes(votes)


def test_a_p_value_too_small_for_the_transform_is_given_as_the_finest():
    assert of_votes([1, 2] * 300) == FINEST
    assert 0 < of_votes([1] * 900) < 1e-200, "one value alone: the binomial tail has no such limit"


@pytest.mark.parametrize(
    ("sums", "p"), [([3], 1.0), ([0, 0, 0], 1.0), ([1, -1], 1.0), ([1, 1, 1, 1], 2 / 16)]
)
def test_one_prompt_all_ties_even_and_unanimous_votes(sums, p):
    assert of_votes(sums) == pytest.approx(p)
    assert of_gaps(sums) == pytest.approx(p)


@given(st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=1, max_size=9))
def test_few_prompts_differences_are_exact(sums):
    assert of_gaps(sums) == pytest.approx(enumerated(sums), abs=1e-12)


def test_fourteen_prompts_are_those_of_scipys_exact_paired_test():
    gaps = np.random.default_rng(3).normal(0.4, 1, 14)
    oracle = stats.permutation_test(
        (gaps,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True, batch=2000
    )
    assert of_gaps(gaps) == pytest.approx(oracle.pvalue, abs=1e-12)


def test_random_flips_come_close_to_the_exact_p_and_never_reach_0():
    """40 prompts of +-1: the binomial tail is exact. The standard error of p = .15 from 20,000 flips is .0025."""
    gaps = np.array([1.0] * 25 + [-1.0] * 15)
    exact = stats.binomtest(25, 40).pvalue
    assert of_gaps(gaps, resamples=20_000) == pytest.approx(exact, abs=0.01)
    assert of_gaps(np.ones(40), resamples=999) == 1 / 1000


def test_random_flips_are_drawn_in_blocks_without_a_trace(monkeypatch):
    gaps = np.random.default_rng(4).normal(0.2, 1, 64)
    whole = of_gaps(gaps, resamples=3000)
    monkeypatch.setattr(permutation, "BLOCK", 64 * 7)
    assert of_gaps(gaps, resamples=3000) == whole


def test_flips_of_groups_say_the_same_of_many_prompts_as_the_normal_limit():
    """5,000 prompts in 1,024 groups: p of z = 2 within the noise of 10,000 flips, and of the groups' own size."""
    gaps = np.random.default_rng(5).normal(0, 1, 5000)
    gaps += 2 / np.sqrt(5000) - gaps.mean()
    z = gaps.sum() / np.sqrt((gaps**2).sum())
    found = [of_gaps(gaps, seed=seed) for seed in range(4)]
    assert np.mean(found) == pytest.approx(2 * stats.norm.sf(z), abs=0.01)


def test_under_the_null_p_is_below_alpha_in_alpha_of_the_cases():
    """2,000 benchmarks of 30 prompts, skewed in size but symmetric in sign; .05 with a standard error of .005."""
    source = np.random.default_rng(6)
    gaps = source.lognormal(size=(30, 2000)) * source.choice([-1, 1], size=(30, 2000))
    p = difference_flip_p_values(gaps, resamples=999, rng=source)
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_it_tests_the_mean_where_the_sign_test_looks_at_each_prompt():
    """11 prompts a little ahead and one far behind: the sign test is sure, the mean is not above 0 at all."""
    gaps = np.array([0.1] * 11 + [-3.0])
    found = mean_difference(gaps, np.zeros(12), np.arange(12), rng=np.random.default_rng(0))
    by_sign = win_rate(gaps, np.zeros(12), np.arange(12), rng=np.random.default_rng(0))
    assert by_sign.p_value < 0.01
    assert found.permutation_p_value > 0.2


@pytest.mark.parametrize(
    "sums", [np.empty((0, 1)), np.array([1.0, 2.0]), np.array([[np.nan], [1.0]]), np.array([[np.inf], [1.0]])]
)
def test_what_has_no_p_value_is_refused(sums):
    with pytest.raises(ValueError, match="prompts, columns"):
        vote_flip_p_values(sums)
    with pytest.raises(ValueError, match="prompts, columns"):
        difference_flip_p_values(sums, resamples=100, rng=np.random.default_rng(0))


def test_half_votes_and_no_resamples_are_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        vote_flip_p_values([[0.5]])
    with pytest.raises(ValueError, match="at least 1"):
        difference_flip_p_values([[0.5]], resamples=0, rng=np.random.default_rng(0))


def test_effect_size_by_hand():
    """Prompt means 1, 2, 3: mean 2, standard deviation 1."""
    assert effect_size([1, 2, 3]) == 2.0
    gaps, prompts = np.array([0.0, 2.0, 1.0, 3.0, 3.0, 3.0]), np.array(list("ppqqrr"))
    assert mean_difference(gaps, np.zeros(6), prompts, rng=np.random.default_rng(0)).effect_size == 2.0


@pytest.mark.parametrize(
    "values", [[], [1.0], [0.0, 0.0], [0.2, 0.2, 0.2], [0.3 - 0.1, 0.5 - 0.3, 20.2 - 20.0]]
)
def test_without_spread_or_with_one_prompt_there_is_no_effect_size(values):
    """The last differ by rounding alone."""
    assert effect_size(values) is None


def test_differences_that_add_up_to_0_but_for_rounding_are_none():
    """.1 - .0 and .2 - .3: 2.8e-17 on each of 30 prompts, which were certain to differ. 1e-9 on each is a difference."""
    a, b, prompts = np.tile([0.1, 0.2], 30), np.tile([0.0, 0.3], 30), np.repeat(np.arange(30), 2)
    assert (a - b).reshape(30, 2).sum(axis=1).all()
    found = mean_difference(a, b, prompts, rng=np.random.default_rng(0))
    assert (found.mean, found.ci95, found.permutation_p_value, found.effect_size) == (0, (0, 0), 1, None)
    real = mean_difference(a + 1e-9, b, prompts, rng=np.random.default_rng(0))
    assert real.permutation_p_value < 0.001
    assert real.ci95[0] > 0


@pytest.mark.parametrize("scale", [[1.0, 1.0], [np.nan], [-1.0]])
def test_a_scale_that_fits_no_column_is_refused(scale):
    with pytest.raises(ValueError, match="one a column"):
        without_dust(np.zeros((3, 1)), np.ones(3, int), scale)


def test_effect_size_has_no_unit_and_the_sign_of_the_difference():
    x = np.random.default_rng(7).normal(0.3, 1, 40)
    assert effect_size(x * 1e100) == pytest.approx(effect_size(x))
    assert effect_size(-x) == -effect_size(x)


def test_constant_scores_have_an_answer_everywhere():
    gaps = np.full((20, 1), 0.5)
    rate, gap = tally(
        np.ones((20, 1), int), gaps, np.arange(20), resamples=1000, rng=np.random.default_rng(0)
    )
    assert rate[0].permutation_p_value == pytest.approx(2 / 2**20)
    assert (gap[0].ci95, gap[0].effect_size) == ((0.5, 0.5), None)
    assert gap[0].permutation_p_value == 1 / 1001


def test_an_effect_size_of_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        effect_size([1.0, np.nan])
