import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prefbench.bench.tally.agreement import effective_voters, same_winner, vote_correlation

BALLOTS = hnp.arrays(np.int8, st.tuples(st.integers(2, 5), st.integers(2, 20)), elements=st.integers(-1, 1))


def test_same_winner_by_hand():
    """Four pairs: alike 1, contradiction 0, both tie 1, one ties 1/2: 2.5 of 4."""
    assert same_winner([[1, 1, 0, 0], [1, -1, 0, -1]])[0, 1] == 0.625


@given(BALLOTS)
def test_same_winner_is_symmetric_with_ones_on_the_diagonal_and_the_same_seen_from_b(ballots):
    matrix = same_winner(ballots)
    assert (matrix == matrix.T).all()
    assert (np.diag(matrix) == 1).all()
    assert ((matrix >= 0) & (matrix <= 1)).all()
    assert (same_winner(-ballots) == matrix).all()


def test_coin_flips_and_a_scorer_that_always_ties_agree_to_one_half():
    flips = np.random.default_rng(0).choice([-1, 1], size=(2, 50_000))
    matrix = same_winner(np.vstack([flips, np.zeros((1, 50_000), int)]))
    assert matrix[0, 1] == pytest.approx(0.5, abs=0.01)
    assert matrix[0, 2] == 0.5


def test_correlation_by_hand_and_as_numpy_has_it():
    """Votes (1,1,-1,-1), (1,-1,1,-1), (1,1,-1,-1): correlations 0, 1, 0; mean 1/3."""
    ballots = [[1, 1, -1, -1], [1, -1, 1, -1], [1, 1, -1, -1]]
    assert vote_correlation(ballots) == pytest.approx(1 / 3)
    random = np.random.default_rng(4).integers(-1, 2, size=(4, 300))
    assert vote_correlation(random) == pytest.approx(np.corrcoef(random)[np.triu_indices(4, 1)].mean())


def test_a_plainly_better_checkpoint_does_not_make_voters_look_dependent():
    """Two independent voters, 90 % for a in one comparison, 10 % in the other: pooled .64, within 0."""
    rng = np.random.default_rng(5)
    comparison = np.repeat([0, 1], 20_000)
    chance = np.where(comparison == 0, 0.9, 0.1)
    ballots = np.where(rng.random((2, 40_000)) < chance, 1, -1)
    assert vote_correlation(ballots, comparison) == pytest.approx(0, abs=0.02)
    assert vote_correlation(ballots) == pytest.approx(0.64, abs=0.02)


def test_correlation_is_unknown_where_voters_never_differ_from_themselves():
    assert vote_correlation([[1, 1, 1], [1, -1, 1]]) is None
    assert vote_correlation([[1, -1, 1]]) is None
    two_of_three = vote_correlation([[1, 1, -1], [1, 1, -1], [1, 1, 1]])
    assert two_of_three is None, "a mean over the pair that is left would not speak of three voters"


@pytest.mark.parametrize(("rho", "worth"), [(0.2, 2.8), (0.4, 1.9), (0.6, 1.5), (0.8, 1.2)])
def test_five_correlated_voters_are_worth_what_the_formula_says(rho, worth):
    assert round(effective_voters(5, rho), 1) == worth


def test_limits_of_the_effective_number():
    assert effective_voters(5, 0.0) == 5
    assert effective_voters(5, 1.0) == 1
    assert effective_voters(5, -0.2) == 5, "clipped: never more than the voters there are"
    assert effective_voters(1, None) == 1
    assert effective_voters(3, None) is None


def test_effective_voters_predict_the_variance_of_the_mean_vote():
    """Voters who copy a common coin with chance sqrt(rho) correlate to rho; var of the mean = 1 / K_eff."""
    rng = np.random.default_rng(6)
    common = rng.choice([-1, 1], size=100_000)
    own = rng.choice([-1, 1], size=(4, 100_000))
    ballots = np.where(rng.random((4, 100_000)) < np.sqrt(0.3), common, own)
    rho = vote_correlation(ballots)
    assert rho == pytest.approx(0.3, abs=0.01)
    assert ballots.mean(axis=0).var() == pytest.approx(1 / effective_voters(4, rho), rel=0.02)


@pytest.mark.parametrize("bad", [[1, 0], [[2, 0]], np.empty((2, 0))])
def test_what_are_not_votes_is_refused(bad):
    with pytest.raises(ValueError, match="Votes"):
        same_winner(bad)
    with pytest.raises(ValueError, match="at least one voter"):
        effective_voters(0, 0.1)
    with pytest.raises(ValueError, match="comparisons"):
        vote_correlation([[1, 0]], [0])
