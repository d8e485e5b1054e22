"""Votes and aggregations: values by hand for every rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.selection.composition import Composition
from prefbench.reference_trainers.selection.labels import aggregate, higher_wins, majority_vote

# Four scorers (rows), four pairs (columns): +1 is a vote for image 0. Sums 4, 0, -2, 0 (the last by abstention).
VOTES = np.array([[1, 1, -1, 0], [1, 1, -1, 0], [1, -1, -1, 1], [1, -1, 1, -1]])
SCORES = np.stack([VOTES * 0.5 + 3.0, np.full(VOTES.shape, 3.0)], axis=-1)
HUMAN = np.array([1, 1, 0, 0])


def test_drop_leaves_tied_pairs_out():
    outcome = majority_vote(SCORES, HUMAN, "drop")
    assert outcome.kept.tolist() == [True, False, True, False]
    assert outcome.winner_side[outcome.kept].tolist() == [0, 1]
    assert outcome.verdict.tolist() == [4, 0, -2, 0]
    assert outcome.tied.tolist() == [False, True, False, True]


def test_human_label_decides_tied_pairs_only():
    outcome = majority_vote(SCORES, HUMAN, "human")
    assert outcome.kept.all()
    assert outcome.winner_side.tolist() == [0, 1, 1, 0]


def test_the_human_as_a_voter_counts_on_every_pair():
    """Sums 4 - 1, 0 - 1, -2 + 1, 0 + 1: the human breaks the ties and turns no decided pair."""
    outcome = majority_vote(SCORES, HUMAN, "human_votes")
    assert outcome.verdict.tolist() == [3, -1, -1, 1]
    assert outcome.winner_side.tolist() == [0, 1, 1, 0]
    assert outcome.kept.all()


def test_a_pair_that_ties_with_the_humans_vote_is_left_out():
    """One scorer against the human and one abstention: 1 - 1 = 0."""
    scores = np.array([[[2.0, 1.0]], [[1.0, 1.0]]])
    assert not majority_vote(scores, np.array([1]), "human_votes").kept.any()


def test_an_abstention_in_an_odd_electorate_without_a_rule_is_an_error():
    with pytest.raises(DataError, match="1 of 1 pairs are tied votes"):
        majority_vote(np.array([[[1.0, 1.0]]]), np.array([0]), None)


def test_higher_score_wins_whatever_the_human_says_and_equal_scores_are_left_out():
    outcome = higher_wins(np.array([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]]), np.array([1, 1, 1]))
    assert outcome.winner_side[outcome.kept].tolist() == [0, 1]
    assert outcome.kept.tolist() == [True, True, False]


def test_vanilla_sums_raw_scores_and_normalised_sums_z_scores():
    """Scorer A: differences 10, 10 (large unit); B: -1, -1 and, elsewhere, nothing. Raw 9 -> image 0.

    A's standard deviation over (10, 0, 10, 0) is 5, B's over (0, 1, 0, 1) is 1/2: 10/5 - 1/(1/2) = 0; with B's gap
    1.1 on the first pair the sum is negative there: sd of (0, 1.1, 0, 1) is 0.5268, 2 - 1.1/0.5268 < 0.
    """
    scores = np.array([[[10.0, 0.0], [10.0, 0.0]], [[0.0, 1.1], [0.0, 1.0]]])
    human = np.zeros(2, dtype=int)
    assert aggregate("vanilla", scores, human, seed=0).winner_side.tolist() == [0, 0]
    spread = np.std([0.0, 1.1, 0.0, 1.0])
    expected = [10 / 5 - 1.1 / spread, 10 / 5 - 1.0 / spread]
    assert expected[0] < 0 < expected[1]
    outcome = aggregate("normalised", scores, human, seed=0)
    np.testing.assert_allclose(outcome.verdict, expected, rtol=1e-12)
    assert outcome.winner_side.tolist() == [1, 0]


def test_a_scorer_without_spread_cannot_be_normalised():
    with pytest.raises(DataError, match="Scorer 2 of the electorate gives every image the same score"):
        aggregate("normalised", np.array([[[1.0, 2.0]], [[3.0, 3.0]]]), np.array([0]), seed=0)


def test_random_takes_one_scorer_a_pair_and_the_seed_decides_which():
    """Scorer 0 always prefers image 0, scorer 1 image 1: the labels are the draw."""
    scores = np.stack([np.tile([1.0, 0.0], (400, 1)), np.tile([0.0, 1.0], (400, 1))])
    human = np.zeros(400, dtype=int)
    first, again, other = (aggregate("random", scores, human, seed=s).winner_side for s in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()
    assert 150 < first.sum() < 250


@given(hnp.arrays(np.float64, (3, 7, 2), elements=st.floats(-5, 5)), st.integers(0, 127))
def test_swapping_the_images_swaps_the_label(scores: np.ndarray, bits: int):
    human = np.array([bits >> i & 1 for i in range(7)])
    one = majority_vote(scores, human, "human")
    other = majority_vote(scores[:, :, ::-1], 1 - human, "human")
    assert (one.winner_side == 1 - other.winner_side).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "majority", "electorate": "mini:clip,mini:hpsv2"}, "2 scorers can tie, and there is no tie_rule"),
        ({"labels": "majority"}, "needs an electorate"),
        ({"labels": "majority", "electorate": "mini:clip,mini:clip"}, "names a scorer twice"),
        ({"labels": "majority", "electorate": "mini:clip", "tie_rule": "human_votes"}, "makes 2 voters of 1 scorers"),
        ({"labels": "scorer:pickscor"}, "Did you mean 'pickscore'"),
        ({"labels": "scorer:"}, "Unknown labels"),
        ({"labels": "majoriti"}, "Did you mean 'majority'"),
        ({"select": "qsd"}, "needs a value for keep"),
        ({"select": "fivfa"}, "Did you mean 'fifa'"),
        ({"control": "random"}, "is the control of a selection"),
        ({"select": "random", "keep": "0.05", "keep_of": "pairs"}, "neither a share nor a number"),
        ({"select": "random", "keep": "5%"}, "needs a value for keep_of"),
        ({"select": "random", "keep": "101%", "keep_of": "pairs"}, "neither a share nor a number"),
        (
            {
                "select": "fifa", "keep": 5, "select_scorer": "pickscore", "quality_weight": 1, "diversity_weight": 1,
                "neighbour": 1, "text_embedding": "x", "text_quality": "llm:m",
            },
            "needs llm_url",
        ),
    ],
)  # fmt: skip
def test_compositions_that_mean_nothing_are_refused(settings: dict, message: str):
    with pytest.raises(UsageError, match=message):
        Composition(**settings)


def test_a_share_is_exact_and_rounded_down():
    """851,293 x 0.5 % = 4256.465; 533 of 10,000 are 5.33 %, though 0.0533 is no binary number."""
    from prefbench.reference_trainers.selection.composition import parse_keep

    assert parse_keep("0.5%").of(851_293) == 4256
    assert parse_keep("5.33 %").of(10_000) == 533
    assert parse_keep("4000").of(3) == 4000
