"""BCa limits: the same numbers as scipy's from the same resamples, and a stated answer where BCa has none."""

import numpy as np
import pytest
from scipy import stats

from prefbench.bench.tally.bca import bca_limits
from prefbench.bench.tally.resampling import cluster_sums, resampled_means
from prefbench.bench.tally.win_rate import mean_difference, tally, win_rate

TAIL = 0.025


def limits_of(sums, sizes, resamples=2000, seed=3):
    columns = np.asarray(sums, float).reshape(len(sizes), -1)
    sizes = np.asarray(sizes)
    drawn = resampled_means(columns, sizes, resamples=resamples, rng=np.random.default_rng(seed))
    return bca_limits(drawn, columns, sizes, tail=TAIL)


def scipys(data, statistic, resamples=2000, seed=3):
    """scipy draws its resamples as `resampled_means` does, so from one seed they are the same."""
    found = stats.bootstrap(
        data,
        statistic,
        paired=len(data) > 1,
        vectorized=True,
        n_resamples=resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return found.confidence_interval


@pytest.mark.parametrize("values", ["skewed", "votes"])
def test_one_pair_a_prompt_gives_scipys_limits_from_the_same_resamples(values):
    source = np.random.default_rng(1)
    x = (
        source.lognormal(size=80)
        if values == "skewed"
        else source.choice([-1.0, 0.0, 1.0], 80, p=[0.1, 0.1, 0.8])
    )
    found, defined = limits_of(x, np.ones(80, int))
    oracle = scipys((x,), np.mean)
    assert defined.all()
    assert found[:, 0] == pytest.approx([oracle.low, oracle.high], rel=1e-12)


def test_prompts_with_unequal_seeds_give_scipys_limits_of_the_ratio_of_sums():
    source = np.random.default_rng(2)
    sizes = source.integers(1, 6, size=60)
    sums = source.exponential(size=60) * sizes
    found, _ = limits_of(sums, sizes)
    oracle = scipys((sums, sizes), lambda s, m, axis: s.sum(axis=axis) / m.sum(axis=axis))
    assert found[:, 0] == pytest.approx([oracle.low, oracle.high], rel=1e-12)


def test_many_columns_at_once_are_each_column_alone():
    sums = np.random.default_rng(4).gamma(1.0, size=(50, 3))
    together, _ = limits_of(sums, np.full(50, 2))
    for j in range(3):
        assert together[:, j] == pytest.approx(limits_of(sums[:, j], np.full(50, 2))[0][:, 0], rel=1e-12)


def test_a_sample_that_is_its_own_mirror_image_keeps_nearly_the_percentile_limits():
    """Values x and -x: no skewness, so a = 0; what is left is z0, from chance in the resamples alone."""
    x = np.abs(np.random.default_rng(5).normal(size=200))
    sums, sizes = np.concatenate([x, -x])[:, None], np.ones(400, int)
    drawn = resampled_means(sums, sizes, resamples=20_000, rng=np.random.default_rng(0))
    found, _ = bca_limits(drawn, sums, sizes, tail=TAIL)
    plain = np.quantile(drawn, [TAIL, 1 - TAIL], axis=0)
    assert found == pytest.approx(plain, abs=0.02 * float(np.ptp(plain)))


def test_a_long_tail_to_the_right_moves_both_limits_to_the_right():
    x = np.random.default_rng(6).lognormal(sigma=1.5, size=100)[:, None]
    drawn = resampled_means(x, np.ones(100, int), resamples=4000, rng=np.random.default_rng(0))
    found, _ = bca_limits(drawn, x, np.ones(100, int), tail=TAIL)
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    assert found[0, 0] > low
    assert found[1, 0] > high


def test_without_spread_it_is_undefined_and_the_limits_are_the_constant():
    found, defined = limits_of(np.full(10, 0.5), np.ones(10, int))
    assert not defined.any()
    assert found[:, 0].tolist() == [0.5, 0.5]


def test_where_every_resample_lies_above_the_estimate_it_is_undefined_and_the_percentile_stands():
    sums, sizes = np.array([[0.0], [1.0], [2.0]]), np.ones(3, int)
    drawn = np.array([[1.5], [1.6], [1.7]])
    found, defined = bca_limits(drawn, sums, sizes, tail=TAIL)
    assert not defined[0]
    assert found[:, 0] == pytest.approx(np.quantile(drawn, [TAIL, 1 - TAIL]))


def test_scores_near_the_largest_allowed_neither_overflow_nor_change_the_limits():
    x = np.random.default_rng(7).lognormal(size=60)
    small, _ = limits_of(x, np.ones(60, int))
    with np.errstate(all="raise"):
        large, defined = limits_of(x * 2.0**320, np.ones(60, int))
    assert defined.all()
    assert large / 2.0**320 == pytest.approx(small, rel=1e-9)


def test_limits_of_coarse_scores_do_not_hang_on_their_unit():
    """Ten differences in tenths: many resamples equal the estimate, and in another unit they round to another side of it."""
    for seed in range(5):
        x = np.round(np.random.default_rng(seed).normal(0.1, 0.3, size=10), 1)
        found = [limits_of(x * unit, np.ones(10, int))[0] / unit for unit in (1, 3, 0.7, 1e-3)]
        assert all(other == pytest.approx(found[0], abs=1e-9) for other in found[1:])


def test_one_prompt_has_no_bca_limits():
    with pytest.raises(ValueError, match="two clusters"):
        bca_limits(np.ones((5, 1)), np.ones((1, 1)), np.ones(1, int), tail=TAIL)


def by_votes(votes, prompts=None):
    labels = np.arange(len(votes)) if prompts is None else np.asarray(prompts)
    return tally(
        np.asarray(votes)[:, None], None, labels, resamples=2000, rng=np.random.default_rng(1), interval="bca"
    )[0][0]


def test_a_win_rate_says_that_its_interval_is_bca_and_turning_all_votes_round_mirrors_it():
    votes = np.random.default_rng(8).choice([-1, 0, 1], 120, p=[0.2, 0.1, 0.7])
    there, back = by_votes(votes), by_votes(-votes)
    assert there.ci_method == back.ci_method == "bca"
    assert there.ci95 == (
        pytest.approx(1 - back.ci95[1], abs=2e-3),
        pytest.approx(1 - back.ci95[0], abs=2e-3),
    )


def test_nearly_unanimous_prompts_keep_the_exact_bound():
    """10 of 10 won: BCa is undefined (no spread) and the bound is Clopper-Pearson's .025^(1/10), as without BCa."""
    found = by_votes([1] * 10)
    assert (found.ci95, found.ci_method) == ((pytest.approx(0.025**0.1), 1.0), "exact")
    assert by_votes([1] * 60 + [-1] * 3).ci_method == "exact"


def test_one_prompt_and_all_ties_have_the_answers_of_the_percentile_interval():
    assert (by_votes([1, -1], ["p", "p"]).ci95, by_votes([1, -1], ["p", "p"]).ci_method) == (None, "none")
    plain = win_rate(np.zeros(20), np.zeros(20), np.arange(20), rng=np.random.default_rng(1))
    assert by_votes([0] * 20) == plain


def test_mean_differences_get_bca_limits_too():
    source = np.random.default_rng(9)
    prompts, gaps = np.repeat(np.arange(50), 3), source.lognormal(size=150)
    no_votes = np.empty((150, 0), dtype=np.int8)
    options = {"resamples": 2000, "rng": np.random.default_rng(3)}
    found = tally(no_votes, gaps[:, None], prompts, interval="bca", **options)[1][0]
    sums, sizes = cluster_sums(gaps[:, None], prompts)
    assert found.ci95 == tuple(limits_of(sums, sizes)[0][:, 0])
    assert found.ci95 != mean_difference(gaps, np.zeros(150), prompts, rng=np.random.default_rng(3)).ci95


def test_bca_intervals_cover_the_truth_in_92_to_98_percent_of_300_benchmarks():
    """100 prompts, two seeds that lean together, true win rate .8; the standard error of a coverage of .95 is .013."""
    source, covered = np.random.default_rng(20261122), 0
    labels = np.repeat(np.arange(100), 2)
    for _ in range(300):
        lean = source.beta(1.2, 0.3, size=(100, 1))
        votes = np.where(source.random((100, 2)) < lean, 1, -1).ravel()
        found = tally(votes[:, None], None, labels, resamples=1000, rng=source, interval="bca")[0][0]
        covered += found.ci95[0] <= 0.8 <= found.ci95[1]
    assert 0.92 <= covered / 300 <= 0.98


def log_normal(rng, n):
    return rng.lognormal(size=(n, 1)) - np.exp(0.5), 0.0


def votes_at(rate):
    return lambda rng, n: (np.where(rng.random((n, 1)) < rate, 1.0, -1.0), 2 * rate - 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "draw", "prompts"),
    [("log-normal", log_normal, n) for n in (30, 100, 400)]
    + [(f"votes {rate}", votes_at(rate), 100) for rate in (0.6, 0.9)],
)
def test_bca_covers_no_less_and_spreads_its_misses_wider_over_both_sides(name, draw, prompts):
    """The table of docs/statistics.md, with -s; the standard error of a share of 5 % is .7 points."""
    rng, sizes = np.random.default_rng(20261122), np.ones(prompts, int)
    missed = {"percentile": np.zeros(2), "bca": np.zeros(2)}
    for _ in range(1000):
        sums, truth = draw(rng, prompts)
        drawn = resampled_means(sums, sizes, resamples=1000, rng=rng)
        plain = np.quantile(drawn, [TAIL, 1 - TAIL], axis=0)
        for kind, (low, high) in (
            ("percentile", plain),
            ("bca", bca_limits(drawn, sums, sizes, tail=TAIL)[0]),
        ):
            missed[kind] += [truth < low[0], truth > high[0]]
    told = {kind: [100 - found.sum() / 10, *(found / 10).tolist()] for kind, found in missed.items()}
    print(f"{name}, {prompts} prompts: {told}")
    assert missed["bca"].sum() <= missed["percentile"].sum() + 10
    assert abs(np.subtract(*missed["bca"])) <= abs(np.subtract(*missed["percentile"]))
