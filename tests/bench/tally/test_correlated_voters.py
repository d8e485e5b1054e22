"""The model of equal voters that repeat one another: published figures, limits, and a simulation of it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefbench.bench.tally.agreement import vote_correlation
from prefbench.bench.tally.correlated_voters import latent_correlation, majority_of, vote_correlation_of
from prefbench.bench.tally.votes import majority

RATES = st.floats(0.15, 0.85)
TIES = st.floats(0, 0.3)


@pytest.mark.parametrize(("latent", "right"), [(0.0, 76.5), (0.3, 70.8), (0.6, 67.4), (0.8, 66.1)])
def test_five_judges_each_right_65_percent(latent, right):
    """76.5 % is P(3 or more of 5); the others were simulated elsewhere, in the latent correlation, to about .2 points."""
    assert 100 * majority_of(0.65, 0, voters=5, correlation=latent)[0] == pytest.approx(right, abs=0.2)


@pytest.mark.parametrize("latent", [0.0, 0.25, 0.5, 0.9])
def test_votes_that_are_even_correlate_by_the_arcsine_law(latent):
    """Two normal numbers of correlation r have equal signs with probability 1/2 + arcsin(r) / pi."""
    assert vote_correlation_of(0.5, 0, latent) == pytest.approx(2 / math.pi * math.asin(latent), abs=1e-6)


def test_three_independent_voters_with_ties_by_hand():
    """Win .5, tie .2, loss .3 each. The vote ties where wins equal losses: all tie, or one each way and one tie:
    .2^3 + 6 * .5 * .3 * .2 = .188. It wins with 3, 2 (third anything) or 1 win and two ties:
    .5^3 + 3 * .5^2 * .5 + 3 * .5 * .2^2 = .125 + .375 + .06 = .56, so its win rate is .56 + .094 = .654.
    """
    assert majority_of(0.6, 0.2, voters=3, correlation=0) == (pytest.approx(0.654), pytest.approx(0.188))


@settings(max_examples=25)
@given(RATES, TIES, st.sampled_from([1, 2, 3, 5]), st.floats(0, 1))
def test_turning_every_vote_round_turns_the_majority_round(rate, ties, voters, latent):
    there, its_ties = majority_of(rate, ties, voters=voters, correlation=latent)
    back, same_ties = majority_of(1 - rate, ties, voters=voters, correlation=latent)
    assert (there + back, its_ties) == (pytest.approx(1), pytest.approx(same_ties))
    assert its_ties / 2 - 1e-9 <= there <= 1 - its_ties / 2 + 1e-9


@settings(max_examples=25)
@given(st.floats(0.55, 0.8), st.sampled_from([3, 5]), st.floats(0, 0.9))
def test_the_vote_is_worth_more_than_a_voter_and_less_the_more_they_repeat_one_another(rate, voters, latent):
    vote = majority_of(rate, 0, voters=voters, correlation=latent)[0]
    assert (
        rate - 1e-6 <= majority_of(rate, 0, voters=voters, correlation=min(1, latent + 0.1))[0] <= vote + 1e-6
    )


def test_voters_that_always_agree_and_a_single_voter_are_one_voter():
    assert majority_of(0.6, 0.1, voters=5, correlation=1.0) == (0.6, 0.1)
    assert majority_of(0.6, 0.1, voters=1, correlation=0.3) == (0.6, 0.1)


@settings(max_examples=15)
@given(RATES, TIES, st.floats(0.01, 0.95))
def test_the_latent_correlation_is_found_again_from_that_of_the_votes(rate, ties, latent):
    seen = vote_correlation_of(rate, ties, latent)
    assert latent_correlation(rate, ties, vote_correlation=seen) == pytest.approx(latent, abs=1e-6)


def test_ends_of_the_correlation():
    assert latent_correlation(0.6, 0.1, vote_correlation=0.0) == 0.0
    assert latent_correlation(0.6, 0.1, vote_correlation=1.0) == 1.0
    assert vote_correlation_of(0.6, 0.1, 1.0) == 1.0


def test_simulated_voters_give_the_model_s_vote_and_correlation():
    """200,000 pairs, 4 voters (even splits occur), latent .5: standard errors about .001 and .003."""
    rng = np.random.default_rng(6)
    u = math.sqrt(0.5) * rng.normal(size=200_000) + math.sqrt(0.5) * rng.normal(size=(4, 200_000))
    wins, losses = 0.55, 0.35
    high, low = np.quantile(u, [1 - wins, losses])
    ballots = (u > high).astype(int) - (u < low).astype(int)
    vote = majority(ballots)
    rate, ties = majority_of(0.6, 0.1, voters=4, correlation=0.5)
    assert ((1 + vote) / 2).mean() == pytest.approx(rate, abs=0.004)
    assert (vote == 0).mean() == pytest.approx(ties, abs=0.004)
    assert vote_correlation(ballots) == pytest.approx(vote_correlation_of(0.6, 0.1, 0.5), abs=0.01)


@pytest.mark.parametrize(
    ("rate", "ties", "voters", "latent"),
    [(0.98, 0.1, 3, 0.2), (0.6, 1.0, 3, 0.2), (0.6, 0.1, 0, 0.2), (0.6, 0.1, 3, 1.2), (1.2, 0, 3, 0.2)],
)
def test_rates_that_do_not_go_together_are_refused(rate, ties, voters, latent):
    with pytest.raises(ValueError, match=r"go together|voter|correlation"):
        majority_of(rate, ties, voters=voters, correlation=latent)


def test_a_voter_that_always_votes_the_same_has_no_correlation():
    with pytest.raises(ValueError, match="always votes the same"):
        vote_correlation_of(1.0, 0.0, 0.3)
    with pytest.raises(ValueError, match="must be in"):
        latent_correlation(0.6, 0.0, vote_correlation=-0.1)
