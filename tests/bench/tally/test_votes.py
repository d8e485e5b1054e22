import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prefbench.bench.tally.votes import majority, votes

SCORES = hnp.arrays(np.float64, 12, elements=st.floats(-1e6, 1e6))
BALLOTS = hnp.arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.integers(-1, 1))


def test_higher_score_wins_equal_ties_lower_loses():
    found = votes([0.3, 0.2, 0.1], [0.1, 0.2, 0.3])
    assert found.tolist() == [1, 0, -1]
    assert found.dtype == np.int8


def test_scores_one_float64_step_apart_are_no_tie():
    assert votes([np.nextafter(0.5, 1.0)], [0.5]).tolist() == [1]
    assert votes([0.1 + 0.2], [0.3]).tolist() == [1], "0.1 + 0.2 is one step above 0.3 in float64"


def test_lower_is_better_turns_the_vote_round():
    assert votes([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], higher_is_better=False).tolist() == [1, 0, -1]


@given(SCORES, SCORES)
def test_votes_are_antisymmetric(a, b):
    assert (votes(a, b) == -votes(b, a)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_has_no_winner(bad):
    with pytest.raises(ValueError, match="not finite"):
        votes([1.0, bad], [1.0, 1.0])


def test_unequal_shapes_are_refused_rather_than_broadcast():
    with pytest.raises(ValueError, match="shape"):
        votes([1.0, 2.0], [1.0])


def test_majority_by_hand():
    """Columns: 3:0, 2:1, 1:1 with an abstention, 0:1 with two abstentions, no opinion at all."""
    ballots = [[1, 1, 1, 0, 0], [1, 1, -1, 0, 0], [1, -1, 0, -1, 0]]
    assert majority(ballots).tolist() == [1, 1, 0, -1, 0]


def test_an_even_split_of_two_voters_is_a_tie():
    assert majority([[1, -1], [-1, 1]]).tolist() == [0, 0]


@given(BALLOTS, st.randoms(use_true_random=False))
def test_majority_does_not_depend_on_the_order_of_voters_and_turns_with_the_votes(ballots, random):
    order = list(range(len(ballots)))
    random.shuffle(order)
    assert (majority(ballots[order]) == majority(ballots)).all()
    assert (majority(-ballots) == -majority(ballots)).all()


def test_one_voter_is_its_own_majority():
    assert majority([[1, 0, -1]]).tolist() == [1, 0, -1]


def test_a_thousand_voters_do_not_overflow_the_sum():
    assert majority(np.ones((1000, 1), dtype=np.int8)).tolist() == [1]


@pytest.mark.parametrize("bad", [[1, 0, -1], np.empty((0, 3)), [[2, 0]], [[0.5, 0]]])
def test_majority_refuses_what_are_not_votes(bad):
    with pytest.raises(ValueError, match=r"[Vv]ote"):
        majority(bad)


def test_five_independent_judges_right_65_percent_are_right_76_5_percent_together():
    """P(at least 3 of 5) = 10 .65^3 .35^2 + 5 .65^4 .35 + .65^5 = .3364 + .3124 + .1160 = .7648."""
    rng = np.random.default_rng(3)
    ballots = np.where(rng.random((5, 200_000)) < 0.65, 1, -1)
    assert (majority(ballots) == 1).mean() == pytest.approx(0.7648, abs=0.004)
