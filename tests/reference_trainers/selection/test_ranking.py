"""Q, importance, z-scores, ranks and the top K, by hand and by property."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.dpo_qsd import pair_quality, psi
from prefbench.reference_trainers.fifa import importance
from prefbench.reference_trainers.selection.image_scores import ImageScores
from prefbench.reference_trainers.selection.ranking import keep_best, keep_random, z_scores

UNIT = st.floats(0.01, 0.99)


def scores(values, scale=None, logit_scale=None, name="some", higher=True) -> ImageScores:
    return ImageScores(name, np.asarray(values, dtype=np.float64), scale, logit_scale, "f", higher)


def test_quality_by_hand():
    """0.27 (1 - 0.26) = 0.1998; 0.35 (1 - 0.20) = 0.28."""
    np.testing.assert_allclose(
        pair_quality(np.array([0.27, 0.35]), np.array([0.26, 0.2])), [0.1998, 0.28], rtol=1e-12
    )


@given(UNIT, UNIT, UNIT)
def test_quality_rises_with_the_winner_and_falls_with_the_loser(psi_w: float, psi_l: float, more: float):
    higher = psi_w + more
    assert pair_quality(np.array([higher]), np.array([psi_l])) > pair_quality(
        np.array([psi_w]), np.array([psi_l])
    )
    assert pair_quality(np.array([psi_w]), np.array([psi_l + more])) < pair_quality(
        np.array([psi_w]), np.array([psi_l])
    )


def test_pickscore_is_divided_by_its_own_logit_scale():
    """A logit of 21.5 with scale 100 is the cosine 0.215, not 0.215 of another scale."""
    found = psi(scores([[21.5, 20.0]], "logit-scaled cosine, about 18-24", 100.0), "cosine")
    np.testing.assert_allclose(found, [[0.215, 0.2]], rtol=1e-12)


def test_raw_cosines_are_taken_as_they_are_and_hundredths_are_divided():
    assert psi(scores([[0.27, 0.26]], "raw cosine"), "cosine").tolist() == [[0.27, 0.26]]
    np.testing.assert_allclose(psi(scores([[27.0, 26.0]]), "hundredth"), [[0.27, 0.26]], rtol=1e-12)


@pytest.mark.parametrize(
    ("found", "scale", "message"),
    [
        (
            scores([[0.3, 0.1]], "standardised reward, about -2 to 2", name="imagereward"),
            "cosine",
            "is no cosine",
        ),
        (scores([[0.3, 0.1]], name="imagereward"), "cosine", "is no cosine"),
        (scores([[0.3, 0.1]], name="mini:aesthetic"), "cosine", "is no cosine"),
        (scores([[21.5, 20.0]]), "cosine", r"scores an image 21\.5, outside \[-1, 1\]"),
        (scores([[0.3, 0.1]], "raw cosine"), "hundredth", "is no cosine on psi_scale = hundredth"),
        (scores([[0.8, 0.7]], "2.5 x max(cosine, 0), about 0.5-1.0"), "cosine", "is no cosine"),
        (scores([[0.3, 0.1]], "raw cosine", higher=False), "cosine", "lower score is better"),
        (scores([[2.0, 2.0]]), "minmax", "gives every image the score 2"),
    ],
)
def test_scales_on_which_quality_means_nothing_are_refused(found: ImageScores, scale: str, message: str):
    with pytest.raises(UsageError, match=message):
        psi(found, scale)


def test_normalisation_is_over_all_images_and_must_be_named():
    """Scores -2, 0, 2, 2: minmax 0, 1/2, 1, 1; ranks 1, 2, 3.5, 3.5 of 4: 0, 1/3, 5/6, 5/6."""
    found = scores([[-2.0, 0.0], [2.0, 2.0]], "standardised reward", name="imagereward")
    assert psi(found, "minmax").tolist() == [[0.0, 0.5], [1.0, 1.0]]
    np.testing.assert_allclose(psi(found, "quantile"), [[0, 1 / 3], [5 / 6, 5 / 6]], rtol=1e-12)


def test_importance_by_hand_and_a_pair_without_a_rating_has_no_score():
    """Margins 1, 3 and (left out) 100: z -1, 1. Ratings 0, 10: z -1, 1. Diversity equal: 0. Score z_m + z_q / 2."""
    score, terms = importance(
        np.array([1.0, 3.0, 100.0]),
        np.array([0.0, 10.0, np.nan]),
        np.array([-0.5, -0.5, 7.0]),
        quality_weight=0.5,
        diversity_weight=2.0,
    )
    np.testing.assert_allclose(score[:2], [-1.5, 1.5], rtol=1e-12)
    assert np.isnan(score[2])
    assert terms["margin_z"][:2].tolist() == [-1.0, 1.0]
    assert terms["text_diversity_z"][:2].tolist() == [0.0, 0.0]


@given(hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e6, 1e6)))
def test_z_scores_have_mean_0_and_deviation_1_or_are_all_0(values: np.ndarray):
    z = z_scores(values)
    assert abs(z.mean()) < 1e-6
    assert z.std() == pytest.approx(1, abs=1e-6) or not z.any()


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1, 1)), st.data())
def test_the_kept_pairs_are_the_best_and_equal_scores_go_to_the_earlier_pair(
    values: np.ndarray, data: st.DataObject
):
    count = data.draw(st.integers(1, len(values)))
    found = keep_best(values, count, what="test")
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert np.flatnonzero(found.kept).tolist() == sorted(expected[:count])
    assert np.argsort(found.rank).tolist() == expected


def test_more_to_keep_than_there_are_is_an_error():
    with pytest.raises(DataError, match=r"to keep 3 pairs, and there are 2 \(1 of 3 have no score\)"):
        keep_best(np.array([1.0, 2.0, np.nan]), 3, what="select = fifa")
    with pytest.raises(DataError, match="keeps none of 3 pairs"):
        keep_best(np.zeros(3), 0, what="select = qsd")
    with pytest.raises(DataError, match="to keep 4 pairs, and there are 3"):
        keep_random(3, 4, seed=0, what="control")


def test_a_random_selection_is_of_the_asked_size_and_its_seed_decides_it():
    first, again, other = (keep_random(1000, 50, seed=s, what="random").kept for s in (1, 1, 2))
    assert first.sum() == other.sum() == 50
    assert (first == again).all()
    assert (first != other).any()
