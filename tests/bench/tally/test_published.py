"""Shares as papers define them, by hand; one table whose shares all differ shows that they are different quantities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.tally.published import DEFINITIONS, published_share

# Two prompts, three seeds (given out of order).     p              q
SEEDS = [2, 0, 1, 0, 1, 2]
PROMPTS = ["p", "p", "p", "q", "q", "q"]
A = [9.0, 1.0, 2.0, 5.0, 5.0, 5.0]
B = [3.0, 2.0, 3.0, 5.0, 4.0, 7.0]


@pytest.mark.parametrize(
    ("definition", "value", "ties", "why"),
    [
        ("single_seed", 0.25, 1, "seed 0: 1 against 2 lost, 5 against 5 half"),
        ("single_seed_strict", 0.0, 1, "the tie is not won"),
        ("same_seed_share", 2 / 6, 1, "won: 9 against 3, 5 against 4"),
        ("median_of_seeds", 0.25, 1, "2 against 3 lost, 5 against 5 half"),
        ("mean_over_seeds", 0.5, 0, "4 against 8/3 won, 5 against 16/3 lost"),
        ("best_of_n", 0.5, 0, "9 against 3 won, 5 against 7 lost"),
    ],
)
def test_by_hand(definition, value, ties, why):
    found = published_share(definition, A, B, PROMPTS, SEEDS)
    assert found.value == pytest.approx(value), why
    assert (found.prompts, found.ties) == (2, ties)
    assert found.decided == (6 if definition == "same_seed_share" else 2)
    assert found.unused == (4 if definition.startswith("single") else 0)


def test_every_definition_has_its_value_by_hand():
    assert len(DEFINITIONS) == 6


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8))
def test_with_one_image_a_prompt_they_are_all_one_but_for_ties(scores):
    a, b = np.array(scores, float).T
    shares = {name: published_share(name, a, b, np.arange(len(a)), np.zeros(len(a))) for name in DEFINITIONS}
    half = {"single_seed", "median_of_seeds", "mean_over_seeds", "best_of_n"}
    assert len({shares[name].value for name in half}) == 1
    assert len({shares[name].value for name in set(DEFINITIONS) - half}) == 1
    assert shares["single_seed"].value == pytest.approx(np.mean(np.where(a == b, 0.5, a > b)))


def test_an_even_number_of_images_has_the_mean_of_the_two_middle_scores_as_its_median():
    """1, 2, 3, 9 has 2.5; against 2.4 four times it is won."""
    assert published_share("median_of_seeds", [9, 1, 3, 2], [2.4] * 4, ["p"] * 4, range(4)).value == 1.0


def test_prompts_with_unequal_images_count_alike_and_each_by_its_own():
    """p has three images (median 5 against 4), q one (lost): 1/2, where the share of pairs would be 3/4."""
    found = published_share("median_of_seeds", [5, 5, 5, 0], [4, 4, 4, 1], list("pppq"), [0, 1, 2, 0])
    assert found.value == 0.5
    assert (
        published_share("same_seed_share", [5, 5, 5, 0], [4, 4, 4, 1], list("pppq"), [0, 1, 2, 0]).value
        == 0.75
    )


def test_the_same_scores_in_another_order_of_seeds_tie_by_their_mean():
    """Floats added in another order differ in the last bit; that must not be a win."""
    scores = np.random.default_rng(0).normal(size=50)
    found = published_share("mean_over_seeds", scores, scores[::-1], ["p"] * 50, range(50))
    assert (found.value, found.ties) == (0.5, 1)


@pytest.mark.parametrize("name", ["mean_over_seeds", "median_of_seeds"])
def test_means_that_differ_by_rounding_alone_tie(name):
    """(.1 + .2) / 2 and (.0 + .3) / 2 are .15; in floats the first is one step above."""
    found = published_share(name, [0.1, 0.2, 5], [0.0, 0.3, 4], list("ppq"), [0, 1, 0])
    assert (found.value, found.ties) == (0.75, 1)


def test_order_of_rows_does_not_matter():
    order = np.random.default_rng(1).permutation(6)
    for name in DEFINITIONS:
        rows = [np.array(column)[order] for column in (A, B, PROMPTS, SEEDS)]
        assert published_share(name, *rows) == published_share(name, A, B, PROMPTS, SEEDS)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_one_prompt_and_constant_scores(name):
    assert published_share(name, [2.0, 2.0], [1.0, 1.0], ["p", "p"], [0, 1]).value == 1.0
    tied = published_share(name, np.ones(6), np.ones(6), PROMPTS, SEEDS)
    assert tied.value == (0.0 if name in ("single_seed_strict", "same_seed_share") else 0.5)
    assert tied.ties == tied.decided


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no_such", [1.0], [1.0], ["p"], [0]), "single_seed"),
        (("best_of_n", [np.nan], [1.0], ["p"], [0]), "not finite"),
        (("best_of_n", [], [], [], []), "one shape"),
        (("best_of_n", [1.0], [1.0, 2.0], ["p"], [0]), "one shape"),
    ],
)
def test_what_has_no_share_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        published_share(*arguments)
