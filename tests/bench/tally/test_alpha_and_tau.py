"""Krippendorff's alpha against evalica, Kendall's tau-b against scipy, and both by hand."""

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import kendalltau

from prefbench.bench.tally.agreement import kendall_tau, krippendorff_alpha, krippendorff_interval

BALLOTS = hnp.arrays(np.int8, st.tuples(st.integers(2, 5), st.integers(2, 20)), elements=st.integers(-1, 1))
DIFFERENCES = hnp.arrays(np.float64, st.tuples(st.just(3), st.integers(2, 40)), elements=st.integers(-4, 4))


def test_alpha_by_hand():
    """Votes (1,1,-1,-1) and (1,1,-1,1).

    Observed: one pair of four differs, by 2, squared 4: mean 1. Expected: five 1 and three -1 are 28 pairs of votes, of which
    15 differ: 15 x 4 / 28 = 15/7. Alpha = 1 - 7/15.
    """
    assert krippendorff_alpha([[1, 1, -1, -1], [1, 1, -1, 1]]) == pytest.approx(8 / 15)


def test_a_tie_is_half_as_far_from_a_win_as_a_loss_is():
    """(1,-1,1) against (1,-1,0), and against (1,-1,-1): observed 1/3 and 4/3.

    Expected, over 15 pairs of votes. First: three 1, one 0, two -1 give 6 pairs of 4 and 3 + 2 of 1, in all 29. Second: three
    of each give 9 pairs of 4, in all 36.
    """
    assert krippendorff_alpha([[1, -1, 1], [1, -1, 0]]) == pytest.approx(1 - (1 / 3) / (29 / 15))
    assert krippendorff_alpha([[1, -1, 1], [1, -1, -1]]) == pytest.approx(1 - (4 / 3) / (36 / 15))


@given(BALLOTS)
def test_alpha_of_one_comparison_is_evalicas_with_the_interval_metric(ballots):
    assume(len(np.unique(ballots)) > 1)
    theirs = evalica.alpha(pd.DataFrame(ballots), distance="interval").alpha
    assert krippendorff_alpha(ballots) == pytest.approx(theirs, abs=1e-12)


@given(BALLOTS, st.data())
def test_which_checkpoint_is_called_a_does_not_change_alpha(ballots, data):
    """Turning all votes of one comparison round leaves its spread, within pairs and in all, as it was."""
    comparison = data.draw(hnp.arrays(np.int8, ballots.shape[1], elements=st.integers(0, 2)))
    turned = np.where(comparison == 1, -ballots, ballots)
    before, after = krippendorff_alpha(ballots, comparison), krippendorff_alpha(turned, comparison)
    assert before == after or before == pytest.approx(after)


def test_two_comparisons_by_hand():
    """Votes (1,1 | 1,-1) and (1,-1 | 1,-1).

    Observed: 0, 4, 0, 0: mean 1. Expected within: 1,1,1,-1: 3 of 6 pairs differ, 2; and 1,1,-1,-1: 4 of 6, 8/3. Mean 7/3.
    """
    alpha = krippendorff_alpha([[1, 1, 1, -1], [1, -1, 1, -1]], [0, 0, 1, 1])
    assert alpha == pytest.approx(1 - 3 / 7)


def test_independent_voters_have_alpha_0_however_plain_the_winner():
    rng = np.random.default_rng(0)
    comparison = np.repeat([0, 1], 20_000)
    ballots = np.where(rng.random((3, 40_000)) < np.where(comparison, 0.9, 0.2), 1, -1)
    assert krippendorff_alpha(ballots, comparison) == pytest.approx(0, abs=0.02)
    assert krippendorff_alpha(ballots) > 0.4, "thrown together, two comparisons look like agreement"


def test_alpha_is_1_for_copies_and_unknown_for_one_voter_or_where_nothing_differs():
    assert krippendorff_alpha([[1, 0, -1]] * 3) == 1
    assert krippendorff_alpha([[1, 0, -1]]) is None
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None
    assert krippendorff_alpha([[1, 1, -1, -1]] * 2, [0, 0, 1, 1]) is None, "within each comparison all alike"


def test_tau_by_hand():
    """Ranks (1,2,3,4) and (1,3,2,4): 5 concordant, 1 discordant of 6. With a tie, (1,1,2) and (1,2,3):
    the tied pair counts for nobody, 2 concordant, over sqrt(2 x 3)."""
    assert kendall_tau([[1, 2, 3, 4], [1, 3, 2, 4]])[0, 1] == pytest.approx(4 / 6)
    assert kendall_tau([[1, 1, 2], [1, 2, 3]])[0, 1] == pytest.approx(2 / np.sqrt(6))
    assert kendall_tau([[1, 2, 3], [-1, -2, -3]])[0, 1] == -1
    assert np.isnan(kendall_tau([[1], [2]])).all()


@given(DIFFERENCES)
def test_tau_is_scipys_with_ties_and_nan_where_a_scorer_sees_no_difference(differences):
    theirs = [[kendalltau(one, other).statistic for other in differences] for one in differences]
    assert kendall_tau(differences) == pytest.approx(np.array(theirs), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("pairs", [2, 3, 1000, 1024, 1025])
def test_tau_is_scipys_at_lengths_beside_a_power_of_two(pairs):
    rng = np.random.default_rng(pairs)
    one = rng.normal(size=pairs)
    differences = np.stack([one, one + rng.normal(size=pairs), rng.normal(size=pairs).round(1)])
    theirs = [[kendalltau(x, y).statistic for y in differences] for x in differences]
    assert kendall_tau(differences) == pytest.approx(np.array(theirs), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("bad", [[1.0, 2.0], [[1.0, np.inf]], np.empty((2, 0))])
def test_what_are_not_differences_is_refused(bad):
    with pytest.raises(ValueError, match="Differences must be finite"):
        kendall_tau(bad)


def test_the_interval_draws_whole_prompts_with_all_their_comparisons_and_missing_votes():
    """Against alpha itself, computed anew for each resample from the prompts that it drew."""
    rng = np.random.default_rng(4)
    samples = 40
    prompts = np.tile(np.repeat(np.arange(15), 3)[:samples], 2)
    comparison = np.repeat([0, 1], samples)
    leaning = np.array([0.2, 0.5, 0.3])
    truth = rng.choice([-1.0, 0.0, 1.0], size=2 * samples, p=leaning)
    ballots = np.where(
        rng.random((3, 2 * samples)) < 0.6, truth, rng.choice([-1.0, 0.0, 1.0], (3, 2 * samples))
    )
    ballots[rng.random(ballots.shape) < 0.1] = np.nan
    n = len(np.unique(prompts))
    found = krippendorff_interval(ballots, prompts, comparison, resamples=300, rng=np.random.default_rng(1))
    alphas = []
    for drawn in np.random.default_rng(1).integers(0, n, size=(300, n), dtype=np.int32):
        rows = np.concatenate([np.flatnonzero(prompts == prompt) for prompt in drawn])
        alphas.append(krippendorff_alpha(ballots[:, rows], comparison[rows]))
    assert found == pytest.approx(tuple(np.quantile(alphas, [0.025, 0.975])), abs=1e-9)
    assert found[0] < krippendorff_alpha(ballots, comparison) < found[1]


@pytest.mark.parametrize(
    "ballots",
    [[[1, 1, 1, 1]] * 2, [[1, 0, -1, 1]] * 3, [[1, 0, -1, 1]], [[1, 1, 1, 1], [1, 1, 1, -1]]],
    ids=["one outcome", "copies", "one voter", "most resamples undefined"],
)
def test_alpha_has_no_interval_where_resamples_tell_none(ballots):
    rng = np.random.default_rng(0)
    assert krippendorff_interval(ballots, list("pqrs"), resamples=200, rng=rng) is None
    assert krippendorff_interval(ballots, list("pppp"), resamples=200, rng=rng) is None, "one prompt"
