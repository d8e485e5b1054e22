import numpy as np
import pytest

from prefbench.bench.tally import resampling
from prefbench.bench.tally.resampling import cluster_sums, resampled_means


def test_cluster_sums_by_hand():
    sums, sizes = cluster_sums(np.array([[1, 10], [2, 20], [4, 40], [8, 80]]), ["q", "p", "q", "q"])
    assert sums.tolist() == [[2.0, 20.0], [13.0, 130.0]]
    assert sizes.tolist() == [1, 3]


def test_eight_bit_votes_do_not_overflow_in_the_sums():
    sums, _ = cluster_sums(np.ones((1000, 1), dtype=np.int8), np.zeros(1000))
    assert sums.item() == 1000.0


def test_two_clusters_give_the_four_possible_means_in_their_proportions():
    """Two clusters with means 0 and 1: draws 00, 01, 10, 11 give 0 with 1/4, 1/2 with 1/2, 1 with 1/4."""
    means = resampled_means(
        np.array([[0.0], [2.0]]), np.array([2, 2]), resamples=20_000, rng=np.random.default_rng(0)
    )
    found = {value: float((means == value).mean()) for value in (0.0, 0.5, 1.0)}
    assert found == {
        0.0: pytest.approx(0.25, abs=0.015),
        0.5: pytest.approx(0.5, abs=0.015),
        1.0: pytest.approx(0.25, abs=0.015),
    }


def test_unequal_clusters_weigh_by_their_pairs():
    """Clusters of 1 pair (mean 1) and 3 pairs (mean 0): drawing both gives 1/4, never 1/2."""
    means = resampled_means(
        np.array([[1.0], [0.0]]), np.array([1, 3]), resamples=500, rng=np.random.default_rng(0)
    )
    assert set(np.unique(means)) == {0.0, 0.25, 1.0}


def test_result_does_not_depend_on_the_block_size(monkeypatch):
    sums, sizes = np.random.default_rng(1).integers(-3, 4, size=(37, 4)).astype(float), np.full(37, 3)
    whole = resampled_means(sums, sizes, resamples=101, rng=np.random.default_rng(9))
    monkeypatch.setattr(resampling, "BLOCK_DRAWS", 100)
    assert np.array_equal(resampled_means(sums, sizes, resamples=101, rng=np.random.default_rng(9)), whole)


def test_scorers_keep_their_dependence_because_they_see_the_same_draws():
    values = np.random.default_rng(2).normal(size=(50, 1))
    means = resampled_means(
        np.hstack([values, -values]), np.ones(50, int), resamples=200, rng=np.random.default_rng(0)
    )
    assert means[:, 0] == pytest.approx(-means[:, 1])


@pytest.mark.parametrize(
    ("values", "labels"), [(np.ones((0, 1)), []), (np.ones((3, 1)), [1, 2]), (np.ones(3), [1, 2, 3])]
)
def test_shapes_that_do_not_fit_are_refused(values, labels):
    with pytest.raises(ValueError, match="clusters"):
        cluster_sums(values, labels)
