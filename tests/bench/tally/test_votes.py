from itertools import product
from math import log, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prefbench.bench.tally.votes import TIE_RULES, accuracy_weights, decide, majority, unanimous, votes

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


@pytest.mark.parametrize(
    ("rule", "signs", "counted"),
    [
        ("tie", [1, 0, 0, 0, -1], [True, True, True, True, True]),
        ("abstain", [1, 0, 0, 0, -1], [True, False, False, False, True]),
        ("first", [1, 1, -1, 0, -1], [True, True, True, True, True]),
    ],
)
def test_an_even_electorate_under_each_tie_rule(rule, signs, counted):
    """Pairs: 3 to 1; 2 to 2 and the first voter for a; 1 to 1 and the first that speaks against a; silence; 0 to 1."""
    ballots = [[1, 1, 0, 0, 0], [1, -1, -1, 0, 0], [1, 1, 1, 0, -1], [-1, -1, 0, 0, 0]]
    found = decide(ballots, tie_rule=rule)
    assert found.signs.tolist() == signs
    assert found.counted.tolist() == counted


@pytest.mark.parametrize("rule", TIE_RULES)
def test_voters_that_all_tie_decide_nothing_under_any_rule(rule):
    found = decide(np.zeros((4, 3), dtype=np.int8), tie_rule=rule)
    assert found.signs.tolist() == [0, 0, 0]
    assert found.counted.all() == (rule != "abstain")


@given(BALLOTS, st.sampled_from(sorted(TIE_RULES)))
def test_rules_differ_on_even_splits_alone_and_turn_with_the_votes(ballots, rule):
    found, plain = decide(ballots, tie_rule=rule), majority(ballots)
    assert (found.signs[plain != 0] == plain[plain != 0]).all()
    assert found.counted[plain != 0].all()
    assert (decide(-ballots, tie_rule=rule).signs == -found.signs).all()
    if rule == "first":
        assert ((found.signs == 0) == (ballots == 0).all(axis=0)).all()


def test_an_unknown_tie_rule_is_refused():
    with pytest.raises(ValueError, match="tie rule"):
        decide([[1]], tie_rule="coin")


def test_unanimous_by_hand():
    """Columns: all for; one abstains; one against; all abstain; all against."""
    assert unanimous([[1, 1, 1, 0, -1], [1, 0, 1, 0, -1], [1, 1, -1, 0, -1]]).tolist() == [1, 1, 0, 0, -1]


@given(BALLOTS)
def test_what_is_unanimous_is_the_majority_s_too(ballots):
    agreed = unanimous(ballots)
    assert (agreed[agreed != 0] == majority(ballots)[agreed != 0]).all()
    assert (unanimous(-ballots) == -agreed).all()


def test_weights_are_log_odds_and_none_below_one_half():
    found = accuracy_weights([0.75, 0.9, 0.5, 0.2, 0.0])
    assert found.tolist() == pytest.approx([log(3), log(9), 0, 0, 0])


@pytest.mark.parametrize("bad", [1.0, -0.1, np.nan, 1.5])
def test_an_accuracy_outside_of_0_to_1_is_refused(bad):
    with pytest.raises(ValueError, match="accuracy"):
        accuracy_weights([0.7, bad])


def test_one_voter_of_90_percent_is_worth_two_of_75():
    """log 9 = 2 log 3: an even split, though the floats differ; at 91 % the one wins, at 89 % the two."""
    one_against_two = [[1], [-1], [-1]]
    for p, expected in ((0.89, -1), (0.9, 0), (0.91, 1)):
        weights = accuracy_weights([p, 0.75, 0.75])
        assert decide(one_against_two, weights=weights).signs.tolist() == [expected]
    even = accuracy_weights([0.9, 0.75, 0.75])
    assert decide(one_against_two, weights=even, tie_rule="abstain").counted.tolist() == [False]
    assert decide(one_against_two, weights=even, tie_rule="first").signs.tolist() == [1]


def test_the_weighted_vote_takes_the_likelier_side_of_independent_voters():
    """Over all 32 answers of five voters: the side under which that answer is more probable, by the products alone."""
    accuracies = (0.9, 0.62, 0.6, 0.71, 0.55)
    right = {"weighted": 0.0, "plain": 0.0}
    for answer in product((1, -1), repeat=5):
        if_better = prod(p if vote == 1 else 1 - p for p, vote in zip(accuracies, answer, strict=True))
        if_worse = prod(1 - p if vote == 1 else p for p, vote in zip(accuracies, answer, strict=True))
        ballots = np.array(answer)[:, None]
        weighted = decide(ballots, weights=accuracy_weights(accuracies)).signs[0]
        assert weighted == (1 if if_better > if_worse else -1)
        right["weighted"] += if_better * (weighted == 1)
        right["plain"] += if_better * (majority(ballots)[0] == 1)
    assert right["weighted"] >= max(right["plain"], 0.9), "no worse than the best voter alone"


@given(BALLOTS, st.floats(0.1, 10))
def test_equal_weights_are_the_plain_majority(ballots, weight):
    weights = np.full(len(ballots), weight)
    assert (decide(ballots, weights=weights).signs == majority(ballots)).all()


def test_a_voter_without_weight_is_not_asked_for_a_tie_break():
    assert decide([[-1], [1], [-1]], weights=[0, 1, 1], tie_rule="first").signs.tolist() == [1]


@pytest.mark.parametrize("bad", [[0, 0], [1], [-1, 1], [np.inf, 1]])
def test_weights_that_do_not_fit_are_refused(bad):
    with pytest.raises(ValueError, match=r"[Ww]eight"):
        decide([[1], [1]], weights=bad)


def test_a_tolerance_makes_ties_of_differences_up_to_it():
    """Differences 0.25, 0.5, 0.75 and -0.5 in floats that hold them exactly."""
    a, b = [1.25, 1.5, 1.75, 1.0], [1.0, 1.0, 1.0, 1.5]
    assert votes(a, b).tolist() == [1, 1, 1, -1]
    assert votes(a, b, tolerance=0.5).tolist() == [0, 0, 1, 0]
    assert votes(a, b, tolerance=0.5, higher_is_better=False).tolist() == [0, 0, -1, 0]
    by_scorer = votes([a, a], [b, b], tolerance=[[0.0], [0.5]])
    assert by_scorer.tolist() == [[1, 1, 1, -1], [0, 0, 1, 0]]


def test_at_the_edge_of_a_tolerance_rounding_does_not_decide():
    """.3 - .2 is just below .1 in floats and .8 - .7 just above: both are .1 apart. Without a tolerance nothing is forgiven."""
    assert 0.3 - 0.2 < 0.1 < 0.8 - 0.7
    assert votes([0.3, 0.8, 0.7, 0.80001], [0.2, 0.7, 0.8, 0.7], tolerance=0.1).tolist() == [0, 0, 0, 1]
    assert votes([0.1 + 0.2], [0.3], tolerance=[0.0]).tolist() == [1]


@given(SCORES, SCORES, st.floats(0, 1e6))
def test_a_tolerance_only_ever_makes_ties(a, b, tolerance):
    exact, loose = votes(a, b), votes(a, b, tolerance=tolerance)
    assert ((loose == exact) | (loose == 0)).all()
    assert (votes(a, b, tolerance=0.0) == exact).all()


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf])
def test_a_tolerance_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="tolerance"):
        votes([1.0], [2.0], tolerance=bad)
