import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.bench.tally.win_rate import mean_difference, tally, win_rate


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def by_votes(votes, prompts, **options):
    votes = np.asarray(votes)
    return win_rate(votes, np.zeros(len(votes)), prompts, rng=rng(), **options)


def test_counts_rate_and_sign_test_by_hand():
    """Three prompts, two seeds: p wins both, q splits, r ties one and loses one.

    3 wins, 1 tie, 2 losses: (3 + 1/2) / 6 = 7/12. Sign test: p for, r against, q left out: 1 of 2, p-value 1.
    """
    found = by_votes([1, 1, 1, -1, 0, -1], ["p", "p", "q", "q", "r", "r"])
    assert (found.prompts, found.pairs, found.wins, found.ties, found.losses) == (3, 6, 3, 1, 2)
    assert found.win_rate == pytest.approx(7 / 12, abs=1e-15)
    assert found.p_value == 1.0


def test_sign_test_by_hand():
    """8 of 10 decided prompts: 2 (C(10,0) + C(10,1) + C(10,2)) / 2^10 = 112/1024; two ties do not count."""
    found = by_votes([1] * 8 + [-1] * 2 + [0, 0], list("abcdefghijkl"))
    assert found.p_value == pytest.approx(112 / 1024, rel=1e-12)


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=400))
def test_sign_test_is_scipys_binomial_test(votes):
    ahead, behind = votes.count(1), votes.count(-1)
    expected = stats.binomtest(ahead, ahead + behind).pvalue if ahead + behind else 1.0
    assert by_votes(votes, np.arange(len(votes)), resamples=1).p_value == pytest.approx(expected, rel=1e-9)


def test_ten_wins_of_ten_get_the_exact_bound_and_not_a_point():
    """Clopper-Pearson lower limit of 10/10: .025^(1/10) = .6915; a percentile bootstrap would say [1, 1]."""
    found = by_votes([1] * 10, np.arange(10))
    assert found.win_rate == 1.0
    assert found.ci95 == (pytest.approx(0.025**0.1), 1.0)
    assert found.ci95[0] == pytest.approx(0.6915, abs=5e-5)
    assert found.ci_method == "exact"
    assert found.p_value == pytest.approx(2 / 1024)


@pytest.mark.parametrize("losses", range(5))
def test_a_few_losses_among_wins_get_the_clopper_pearson_lower_limit(losses):
    n = 60
    expected = stats.binomtest(n - losses, n).proportion_ci(method="exact").low
    found = by_votes([1] * (n - losses) + [-1] * losses, np.arange(n))
    assert found.ci_method == "exact"
    assert found.ci95[0] == pytest.approx(min(expected, found.win_rate), rel=1e-9)


def test_one_loss_more_never_raises_the_lower_limit_across_the_change_of_method():
    lows = [by_votes([1] * (100 - k) + [-1] * k, np.arange(100)).ci95[0] for k in range(9)]
    assert lows == sorted(lows, reverse=True)


def test_all_ties_are_one_half_with_p_1_and_an_interval_of_some_width():
    """20 prompts: at most u = 1 - .025^(1/20) = .1684 may differ, each anywhere in [0, 1]: .5 +- u/2."""
    found = by_votes([0] * 20, np.arange(20))
    u = 1 - 0.025 ** (1 / 20)
    assert (found.win_rate, found.p_value, found.ties) == (0.5, 1.0, 20)
    assert found.ci95 == (pytest.approx(0.5 - u / 2), pytest.approx(0.5 + u / 2))


def test_one_prompt_has_a_rate_and_no_interval():
    found = by_votes([1, 1, -1, 1], ["only"] * 4)
    assert (found.win_rate, found.ci95, found.ci_method) == (0.75, None, "none")
    assert mean_difference([1.0, 2.0], [0.0, 0.0], ["only"] * 2, rng=rng()).ci95 is None


def test_five_differing_prompts_are_enough_for_the_bootstrap():
    assert by_votes([1] * 95 + [-1] * 5, np.arange(100)).ci_method == "bootstrap"
    assert by_votes([1] * 96 + [-1] * 4, np.arange(100)).ci_method == "exact"


def test_interval_contains_the_rate_when_one_prompt_has_most_of_the_pairs():
    """100 lost seeds of one prompt against 9 prompts won once: rate 9/109, though 9 of 10 prompts are won."""
    found = by_votes([-1] * 100 + [1] * 9, ["big"] * 100 + list("abcdefghi"))
    assert found.win_rate == pytest.approx(9 / 109)
    assert found.ci95[0] <= found.win_rate <= found.ci95[1]


@pytest.mark.parametrize("ragged", [False, True])
def test_interval_is_that_of_scipys_bootstrap_over_prompts(ragged):
    source = np.random.default_rng(11)
    n = 150
    sizes = source.integers(1, 6, size=n) if ragged else np.full(n, 4)
    lean = source.beta(2, 1.5, size=n)
    prompts = np.repeat(np.arange(n), sizes)
    a = np.where(source.random(len(prompts)) < lean[prompts], 1.0, -1.0) * (source.random(len(prompts)) > 0.1)
    values = (1 + a) / 2
    sums = np.bincount(prompts, weights=values)
    oracle = stats.bootstrap(
        (sums, sizes),
        lambda s, m, axis: s.sum(axis=axis) / m.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=source,
    ).confidence_interval
    found = win_rate(a, np.zeros_like(a), prompts, rng=rng(), resamples=20_000)
    # The 2.5 % point of 20,000 draws with a standard error of .03 has itself a standard error of .0006.
    assert found.ci95 == (pytest.approx(oracle.low, abs=0.003), pytest.approx(oracle.high, abs=0.003))
    assert found.win_rate == pytest.approx(values.mean(), abs=1e-15)


def test_mean_difference_and_its_interval_are_those_of_scipy():
    source = np.random.default_rng(12)
    prompts = np.repeat(np.arange(120), 3)
    a, b = source.normal(0.2, 1, 360), source.normal(0, 1, 360)
    found = mean_difference(a, b, prompts, rng=rng(), resamples=20_000)
    oracle = stats.bootstrap(
        ((a - b).reshape(120, 3).mean(axis=1),), np.mean, n_resamples=20_000, method="percentile", rng=source
    ).confidence_interval
    assert found.mean == pytest.approx((a - b).mean(), abs=1e-12)
    assert found.ci95 == (pytest.approx(oracle.low, abs=0.01), pytest.approx(oracle.high, abs=0.01))


def test_unclustered_bootstrap_would_be_far_too_narrow():
    """Four seeds that always agree are one observation: the interval is as wide as that of one seed."""
    one = np.where(np.random.default_rng(5).random(100) < 0.6, 1.0, -1.0)
    four = win_rate(np.repeat(one, 4), np.zeros(400), np.repeat(np.arange(100), 4), rng=rng())
    wrong = win_rate(np.repeat(one, 4), np.zeros(400), np.arange(400), rng=rng())
    single = win_rate(one, np.zeros(100), np.arange(100), rng=rng())
    assert four.ci95 == single.ci95
    assert (wrong.ci95[1] - wrong.ci95[0]) < 0.55 * (four.ci95[1] - four.ci95[0])


def test_many_columns_at_once_equal_one_at_a_time():
    source = np.random.default_rng(2)
    ballots, gaps = source.integers(-1, 2, size=(90, 3)), source.normal(size=(90, 2))
    prompts = np.repeat(np.arange(45), 2)
    rates, differences = tally(ballots, gaps, prompts, resamples=500, rng=rng())
    alone = [tally(ballots[:, [j]], None, prompts, resamples=500, rng=rng())[0][0] for j in range(3)]
    assert rates == alone
    assert differences[1].mean == pytest.approx(gaps[:, 1].mean())


def test_same_generator_same_result_and_another_seed_another_interval():
    a = np.random.default_rng(1).normal(0.3, 1, 200)
    first, again = (
        win_rate(a, np.zeros(200), np.arange(200), rng=np.random.default_rng(4)) for _ in range(2)
    )
    other = win_rate(a, np.zeros(200), np.arange(200), rng=np.random.default_rng(5))
    assert first == again
    assert other.ci95 != first.ci95


@pytest.mark.parametrize(
    ("ballots", "gaps", "prompts", "resamples", "message"),
    [
        (np.zeros((0, 1)), None, [], 10, "clusters"),
        (np.zeros((2, 1)), None, ["p"], 10, "clusters"),
        (np.full((2, 1), 3), None, ["p", "q"], 10, "-1, 0 or 1"),
        (np.zeros((2, 1)), [[np.nan], [0]], ["p", "q"], 10, "not finite"),
        (np.zeros((2, 1)), None, ["p", "q"], 0, "at least 1"),
    ],
)
def test_what_cannot_be_tallied_is_refused(ballots, gaps, prompts, resamples, message):
    with pytest.raises(ValueError, match=message):
        tally(ballots, gaps, np.asarray(prompts), resamples=resamples, rng=rng())
