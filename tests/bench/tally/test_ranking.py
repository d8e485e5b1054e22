"""Ranks, win rates against the average opponent, and their intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_scores import cast, noisy, round_robin, true_rate

from prefbench.bench.tally.davidson import fit_davidson
from prefbench.bench.tally.ranking import rank_checkpoints

RESAMPLES = 200


def rank(scores, prompts=None, resamples=RESAMPLES, seed=0, **options):
    scores = np.asarray(scores, dtype=float)
    labels = np.arange(scores.shape[1]) if prompts is None else prompts
    rng = np.random.default_rng(seed)
    votes = cast(scores, **options)
    return rank_checkpoints(votes, round_robin(len(scores)), labels, resamples=resamples, rng=rng)


@st.composite
def small_scores(draw):
    """3 or 4 checkpoints on a coarse grid, 1 to 8 prompts with 1 to 3 seeds."""
    seeds = draw(st.lists(st.integers(1, 3), min_size=1, max_size=8))
    prompts = np.repeat(np.arange(len(seeds)), seeds)
    n = draw(st.integers(3, 4))
    values = st.lists(st.integers(-2, 2), min_size=len(prompts), max_size=len(prompts))
    return np.array([draw(values) for _ in range(n)], dtype=float), prompts


def test_matrices_rates_and_ranks_by_hand():
    """Scores of x: 3 3 1 1, y: 1 2 1 2, z: 0 3 0 0.

    x-y: 2 wins, 1 tie, 1 loss; x-z: 3 wins, 1 tie; y-z: 3 wins, 1 loss. Points of 8: x 5 + 1 = 6, y 4 + 1/2, z 1 + 1/2.
    """
    found = rank([[3, 3, 1, 1], [1, 2, 1, 2], [0, 3, 0, 0]])
    assert found.wins.tolist() == [[0, 2, 3], [1, 0, 3], [0, 1, 0]]
    assert found.ties.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert found.win_rate.tolist() == [6 / 8, 4.5 / 8, 1.5 / 8]
    assert found.rank.tolist() == [1, 2, 3]
    assert (found.prompts, found.pairs) == (4, 4)


def test_strengths_are_those_of_the_pooled_counts_and_fitted_rates_those_of_the_strengths():
    scores, prompts = noisy([0, 0.4, 0.8], 60, seeds=2)
    found = rank(scores, prompts, close=0.2)
    counts = [[found.wins[a, b], found.ties[a, b], found.wins[b, a]] for a, b in round_robin(3)]
    alone = fit_davidson(np.array(counts), np.array(round_robin(3)), 3)
    assert found.strengths.log_strengths == pytest.approx(alone.strengths)
    half, nu = np.exp((alone.strengths[2] - alone.strengths[0]) / 2), alone.tie_parameter
    assert found.strengths.fitted[2, 0] == pytest.approx((half + nu / 2) / (half + nu + 1 / half))
    assert found.strengths.fitted + found.strengths.fitted.T == pytest.approx(np.ones((3, 3)))


@settings(max_examples=40)
@given(small_scores())
def test_the_model_s_rate_against_the_average_opponent_is_the_observed_one(data):
    """So strengths rank as win rates do, and no rank rests on the model."""
    found = rank(*data, resamples=20)
    if found.strengths:
        n = len(found.rank)
        average = (found.strengths.fitted.sum(axis=1) - 0.5) / (n - 1)
        assert average == pytest.approx(found.win_rate, abs=1e-6)
        order = np.argsort(found.win_rate, kind="stable")
        assert (np.diff(found.strengths.log_strengths[order]) > -1e-6).all()


@settings(max_examples=40)
@given(small_scores(), st.randoms(use_true_random=False))
def test_permuting_the_checkpoints_permutes_the_results(data, random):
    scores, prompts = data
    order = list(range(len(scores)))
    random.shuffle(order)
    plain, turned = rank(scores, prompts, resamples=50), rank(scores[order], prompts, resamples=50)
    assert turned.win_rate.tolist() == plain.win_rate[order].tolist()
    assert turned.rank.tolist() == plain.rank[order].tolist()
    assert turned.wins.tolist() == plain.wins[np.ix_(order, order)].tolist()
    assert (turned.strengths is None) == (plain.strengths is None)
    if plain.strengths:
        assert turned.strengths.log_strengths == pytest.approx(plain.strengths.log_strengths[order], abs=1e-6)
    if plain.ci95:
        assert turned.ci95 == [
            (pytest.approx(low), pytest.approx(high)) for low, high in (plain.ci95[i] for i in order)
        ]
        assert turned.rank_ci95 == [plain.rank_ci95[i] for i in order]


@settings(max_examples=40)
@given(small_scores())
def test_turning_every_win_into_a_loss_turns_the_ranking_round(data):
    scores, prompts = data
    plain, turned = rank(scores, prompts, resamples=50), rank(-scores, prompts, resamples=50)
    n = len(scores)
    assert turned.win_rate == pytest.approx(1 - plain.win_rate)
    assert turned.wins.tolist() == plain.wins.T.tolist()
    if plain.strengths:
        assert turned.strengths.log_strengths == pytest.approx(-plain.strengths.log_strengths, abs=1e-6)
    if plain.ci95:
        assert turned.ci95 == [(pytest.approx(1 - high), pytest.approx(1 - low)) for low, high in plain.ci95]
        assert turned.rank_ci95 == [(n + 1 - worst, n + 1 - best) for best, worst in plain.rank_ci95]


@settings(max_examples=40)
@given(small_scores())
def test_estimates_lie_in_their_intervals(data):
    found = rank(*data, resamples=100)
    if found.ci95 is None:
        assert found.prompts == 1
        return
    for i, (low, high) in enumerate(found.ci95):
        assert 0 <= low <= found.win_rate[i] <= high <= 1
        best, worst = found.rank_ci95[i]
        assert 1 <= best <= found.rank[i] <= worst <= len(found.rank)


def test_copies_of_all_prompts_as_other_texts_narrow_the_intervals_and_as_the_same_text_do_not():
    scores, prompts = noisy([0, 0.25, 0.5], 80)
    once = rank(scores, prompts)
    again = np.tile(scores, 4)
    apart, same = rank(again, np.arange(320)), rank(again, np.tile(prompts, 4))
    for i in range(3):
        widths = [found.ci95[i][1] - found.ci95[i][0] for found in (once, apart, same)]
        assert widths[1] == pytest.approx(widths[0] / 2, rel=0.25)
        assert widths[2] == pytest.approx(widths[0])
    assert same.rank_ci95 == once.rank_ci95
    assert sum(worst - best for best, worst in apart.rank_ci95) < sum(
        worst - best for best, worst in once.rank_ci95
    )


def test_plain_differences_get_one_rank_each_and_equals_share_theirs():
    scores, prompts = noisy([0, 3, 6], 100)
    assert rank(scores, prompts).rank_ci95 == [(3, 3), (2, 2), (1, 1)]
    equal = rank(np.stack([scores[1], scores[1], scores[0]]), prompts)
    assert equal.rank.tolist() == [1, 1, 3]
    assert equal.rank_ci95 == [(1, 2), (1, 2), (3, 3)]


def test_three_prompts_won_by_one_prove_no_rank_though_every_resample_is_the_same():
    """u = 1 - (.025/2)^(1/3) = .77 of the prompts may be otherwise: 100 % less twice that is far below 0."""
    found = rank([[2, 2, 2], [1, 1, 1], [0, 0, 0]])
    assert found.win_rate.tolist() == [1, 0.5, 0]
    assert found.rank_ci95 == [(1, 3), (1, 3), (1, 3)]
    assert found.ci95[0] == (pytest.approx(0.025 ** (1 / 3)), 1.0)
    assert found.ci_method[0] == "exact"


def test_one_prompt_is_ranked_without_intervals():
    found = rank([[2, 2, 0], [1, 1, 1], [0, 0, 2]], prompts=["only"] * 3)
    assert found.rank.tolist() == [1, 2, 3]
    assert (found.ci95, found.rank_ci95, found.ci_method) == (None, None, ["none"] * 3)
    assert (found.strengths.ci95, found.strengths.resamples_without) == (None, 0)


def test_who_lost_every_comparison_has_no_strength_but_a_rank():
    scores, prompts = noisy([0, 0.5, 0.6], 60)
    found = rank(np.vstack([scores, np.full((1, 60), -9.0)]), prompts)
    assert found.strengths is None
    assert found.rank[3] == 4
    assert found.rank_ci95[3] == (4, 4)


def test_resamples_without_a_finite_strength_open_the_interval_and_are_counted():
    """One win of 40 is missing from a resample with probability (39/40)^40 = .363: far more than 2.5 %."""
    scores, prompts = noisy([0, 0.2], 40)
    last = np.full(40, -9.0)
    last[7] = 9.0
    found = rank(np.vstack([scores, last]), prompts, resamples=1000).strengths
    assert found.resamples_without / 1000 == pytest.approx(0.363, abs=0.05)
    assert found.ci95 == [(None, None)] * 3


def covered(qualities, repetitions, prompts=60, seeds=2, close=0.3):
    """How often each checkpoint's rate and all its possible ranks lie in their intervals."""
    rng, q = np.random.default_rng(20260101), np.asarray(qualities, dtype=float)
    gaps = q[:, None] - q[None, :]
    true = true_rate(gaps, close)
    truth = (true.sum(axis=1) - 0.5) / (len(q) - 1)
    best, worst = 1 + (gaps < 0).sum(axis=1), len(q) - (gaps > 0).sum(axis=1)
    hits = np.zeros((2, len(q)))
    for _ in range(repetitions):
        found = rank(
            *noisy(q, prompts, seeds, rng=rng), resamples=400, seed=int(rng.integers(2**31)), close=close
        )
        hits[0] += [low <= t <= high for (low, high), t in zip(found.ci95, truth, strict=True)]
        hits[1] += [
            low <= b and w <= high for (low, high), b, w in zip(found.rank_ci95, best, worst, strict=True)
        ]
    return hits / repetitions


def test_rates_and_possible_ranks_are_covered_with_three_equals_among_five():
    """Ranks of equals are all those they share. Standard error of a coverage of .95 from 120 repetitions: .02."""
    rates, ranks = covered([0, 0.5, 0.5, 0.5, 0.9], 120)
    assert rates.mean() == pytest.approx(0.95, abs=0.03)
    assert ranks.min() >= 0.9


@pytest.mark.parametrize(
    ("votes", "pairs", "message"),
    [
        (np.zeros((3, 4)), [[0, 1], [0, 2]], "shape"),
        (np.full((1, 4), 2), [[0, 1]], "-1, 0 or 1"),
        (np.zeros((2, 4)), [[0, 1], [0, 2]], "every two"),
        (np.zeros((3, 4)), [[0, 1], [1, 0], [1, 2]], "every two"),
        (np.zeros((3, 4)), [[0, 1], [0, 2], [1, 1]], "every two"),
    ],
)
def test_what_is_no_round_robin_is_refused(votes, pairs, message):
    with pytest.raises(ValueError, match=message):
        rank_checkpoints(votes, pairs, np.arange(4), resamples=10, rng=np.random.default_rng(0))
