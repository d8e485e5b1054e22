"""Davidson's strengths by hand, against evalica, choix and scipy, and where there are none."""

from itertools import combinations

import choix
import evalica
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from prefbench.bench.tally.davidson import fit_davidson, has_estimate, outcome_odds


def round_robin(n):
    return np.array(list(combinations(range(n), 2)))


def simulated(n=5, games=80, nu=0.6, seed=0):
    """Counts of a round robin drawn from the model: wins of the first, ties, wins of the second."""
    rng = np.random.default_rng(seed)
    pairs = round_robin(n)
    odds = outcome_odds(rng.normal(0, 0.8, n), nu, pairs)
    return np.array([rng.multinomial(games, p) for p in odds]), pairs


def games(counts, pairs):
    """The counts as evalica takes them: one entry a kind of outcome, with its number as weight."""
    winner = evalica.Winner
    rows = [
        (a, b, kind, float(number))
        for (a, b), row in zip(pairs.tolist(), counts.tolist(), strict=True)
        for kind, number in zip((winner.X, winner.Draw, winner.Y), row, strict=True)
    ]
    xs, ys, kinds, weights = (list(column) for column in zip(*rows, strict=True))
    return {"xs": xs, "ys": ys, "winners": kinds, "weights": weights, "tolerance": 1e-13, "limit": 20_000}


def centred_logs(scores):
    logs = np.log(np.asarray(scores, dtype=float))
    return logs - logs.mean()


@st.composite
def outcomes(draw, most=6):
    """Counts of a round robin of 2 to 4 checkpoints, with many zeros."""
    pairs = round_robin(draw(st.integers(2, 4)))
    row = st.lists(st.sampled_from((0, 0, 1, most)), min_size=3, max_size=3).filter(any)
    return np.array([draw(row) for _ in pairs]), pairs


@pytest.mark.parametrize(
    ("wins", "ties", "losses"),
    [(8, 4, 2), (3, 1, 3), (1, 50, 2), (999_999, 5, 1), (10_000_000, 10_000_000, 1)],
)
def test_two_checkpoints_have_the_closed_form(wins, ties, losses):
    """Two numbers fit two: pi_a / pi_b = wins / losses and nu = ties / sqrt(wins losses)."""
    found = fit_davidson(np.array([[wins, ties, losses]]), np.array([[0, 1]]), 2)
    assert found.strengths.tolist() == pytest.approx([np.log(wins / losses) / 2, -np.log(wins / losses) / 2])
    assert found.tie_parameter == pytest.approx(ties / np.sqrt(wins * losses))


def test_a_perfect_circle_gives_equal_strengths():
    """0 beats 1, 1 beats 2, 2 beats 0, by 3 wins to 1 tie each: by symmetry theta = 0, odds of a tie nu / (2 + nu) = 1/4."""
    counts = np.array([[3, 1, 0], [0, 1, 3], [3, 1, 0]])
    found = fit_davidson(counts, round_robin(3), 3)
    assert found.strengths.tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert found.tie_parameter == pytest.approx(2 / 3)


def test_evalicas_newman_finds_the_same_strengths_and_half_the_tie_parameter():
    counts, pairs = simulated()
    found = fit_davidson(counts, pairs, 5)
    theirs = evalica.newman(**games(counts, pairs))
    assert found.strengths == pytest.approx(centred_logs(theirs.scores.sort_index()), abs=1e-6)
    assert found.tie_parameter / 2 == pytest.approx(theirs.v, rel=1e-6)


def test_ties_as_half_wins_are_evalicas_bradley_terry_and_have_smaller_strengths():
    counts, pairs = simulated(nu=1.5)
    halves = counts + np.outer(counts[:, 1], [0.5, -1, 0.5])
    found = fit_davidson(halves, pairs, 5)
    theirs = evalica.bradley_terry(**games(counts, pairs), win_weight=1.0, tie_weight=0.5)
    assert found.tie_parameter == 0
    assert found.strengths == pytest.approx(centred_logs(theirs.scores.sort_index()), abs=1e-6)
    davidson = fit_davidson(counts, pairs, 5).strengths
    assert davidson.argsort().tolist() == found.strengths.argsort().tolist()
    assert np.ptp(found.strengths) < 0.8 * np.ptp(davidson)


def test_without_ties_choix_finds_the_same_strengths():
    counts, pairs = simulated(nu=0.0)
    table = np.zeros((5, 5))
    table[pairs[:, 0], pairs[:, 1]], table[pairs[:, 1], pairs[:, 0]] = counts[:, 0], counts[:, 2]
    theirs = choix.ilsr_pairwise_dense(table, tol=1e-12)
    assert fit_davidson(counts, pairs, 5).strengths == pytest.approx(theirs - theirs.mean(), abs=1e-6)


def test_a_general_minimiser_finds_no_higher_likelihood():
    """The likelihood written out from Davidson's odds pi_i : nu sqrt(pi_i pi_j) : pi_j, minimised without our gradient."""
    counts, pairs = simulated(n=4, games=40, seed=3)

    def loss(x):
        strengths, nu = np.exp(np.append(0.0, x[:3])), np.exp(x[3])
        total = 0.0
        for (i, j), row in zip(pairs, counts, strict=True):
            odds = np.array([strengths[i], nu * np.sqrt(strengths[i] * strengths[j]), strengths[j]])
            total -= row @ np.log(odds / odds.sum())
        return total

    theirs = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-6})
    ours = fit_davidson(counts, pairs, 4)
    logs = np.append(0.0, theirs.x[:3])
    assert ours.strengths == pytest.approx(logs - logs.mean(), abs=1e-4)
    assert ours.tie_parameter == pytest.approx(np.exp(theirs.x[3]), rel=1e-4)


def rises_for_ever(counts, pairs):
    """Linear programming: is there a direction in which no observed outcome loses likelihood and one gains?

    An outcome's statistics are (score of i, score of j, tie): along direction x it loses nothing if no other outcome of
    its pair has a larger x . statistics. Without ties, nu is 0 and ties are no outcome.
    """
    n, ties = int(pairs.max()) + 1, bool(counts[:, 1].any())
    gains = []
    for (i, j), row in zip(pairs, counts, strict=True):
        kinds = np.zeros((3, n + 1))
        kinds[0, i], kinds[2, j], kinds[1, [i, j]], kinds[1, n] = 1, 1, 0.5, 1
        possible = (0, 1, 2) if ties else (0, 2)
        gains += [kinds[k] - kinds[o] for k in possible if row[k] for o in possible if o != k]
    gains = np.array(gains)
    found = optimize.linprog(-gains.sum(axis=0), A_ub=-gains, b_ub=np.zeros(len(gains)), bounds=(-1, 1))
    return -found.fun > 1e-7


@settings(max_examples=60)
@given(outcomes())
def test_there_is_an_estimate_exactly_where_no_direction_raises_the_likelihood_for_ever(data):
    counts, pairs = data
    assert bool(has_estimate(counts, pairs, int(pairs.max()) + 1)) != rises_for_ever(counts, pairs)


@settings(max_examples=60)
@given(outcomes(most=1000))
def test_fitted_scores_and_ties_are_the_observed_ones(data):
    """The likelihood equations of a multinomial logit, for every count for which there is an estimate."""
    counts, pairs = data
    n = int(pairs.max()) + 1
    if not has_estimate(counts, pairs, n):
        with pytest.raises(ValueError, match="no finite Davidson estimate"):
            fit_davidson(counts, pairs, n)
        return
    found = fit_davidson(counts, pairs, n)
    expected = outcome_odds(found.strengths, found.tie_parameter, pairs) * counts.sum(axis=1, keepdims=True)
    for rows in (counts, expected):
        assert rows.shape == (len(pairs), 3)
    for k in range(n):
        first, second = pairs[:, 0] == k, pairs[:, 1] == k
        observed, fitted = (
            rows[first, 0].sum() + rows[second, 2].sum() + rows[first | second, 1].sum() / 2
            for rows in (counts, expected)
        )
        assert fitted == pytest.approx(observed, rel=1e-6, abs=1e-6)
    assert expected[:, 1].sum() == pytest.approx(counts[:, 1].sum(), rel=1e-6, abs=1e-6)
    assert found.strengths.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[5, 0, 5], [5, 0, 5], [5, 0, 5]], True),
        ([[5, 1, 0], [5, 0, 0], [5, 1, 0]], False),
        ([[5, 0, 5], [5, 0, 0], [5, 0, 0]], False),
        ([[5, 1, 0], [0, 1, 5], [5, 1, 0]], True),
        ([[5, 0, 0], [0, 5, 0], [5, 0, 0]], True),
        ([[0, 5, 0], [0, 5, 0], [0, 5, 0]], False),
    ],
    ids=[
        "all win and lose",
        "ties, but wins one way",
        "two lose to nobody but each other",
        "circle of wins",
        "0 > 1 > 2 = 0",
        "ties alone",
    ],
)
def test_cases_with_and_without_an_estimate(counts, expected):
    """Pairs 0-1, 0-2, 1-2. "0 > 1 > 2 = 0" closes with two wins and one tie."""
    assert bool(has_estimate(np.array(counts), round_robin(3), 3)) is expected


def test_many_tables_at_once_are_each_solved_as_alone():
    tables = np.stack([simulated(seed=seed, nu=nu)[0] for seed, nu in ((0, 0.6), (1, 0.0), (2, 3.0))])
    together = fit_davidson(tables, round_robin(5), 5)
    for k, table in enumerate(tables):
        alone = fit_davidson(table, round_robin(5), 5)
        assert together.strengths[k] == pytest.approx(alone.strengths, abs=1e-9)
        assert together.tie_parameter[k] == pytest.approx(alone.tie_parameter, abs=1e-9)


def test_neither_the_start_nor_the_scale_of_the_counts_matters():
    counts, pairs = simulated()
    plain = fit_davidson(counts, pairs, 5)
    far = fit_davidson(counts / 7, pairs, 5, start=plain._replace(strengths=plain.strengths[::-1] * 3))
    assert far.strengths == pytest.approx(plain.strengths, abs=1e-8)
