"""People against people: by hand, with ties, with annotators who did not see everything, and on HPD v2's ten."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.judges.choices import HumanChoices, Label, pairs_within, signs
from prefbench.bench.judges.opening import open_choices
from prefbench.bench.judges.people import PERSON, MetAlike, against_one, against_rest, meet

NAN = float("nan")


def choices_of(values: list[list[float]], label: Label = "majority", prompts: str = "") -> HumanChoices:
    """One group a distinct letter of `prompts` (one group if empty); values are (annotators, images)."""
    table = np.array(values)
    texts = list(prompts or "p" * table.shape[1])
    group = np.array([sorted(set(texts)).index(text) for text in texts])
    pairs, _ = pairs_within(group, table)
    names = [str(k) for k in range(len(texts))]
    return HumanChoices("here", "test", texts, group, table, pairs, label, comparable=False, names=names)


def met(choices: HumanChoices, opponents: str, **verdicts: list[int]) -> dict[str, MetAlike]:
    decisions = against_one(choices) if opponents == "one" else against_rest(choices)
    assert decisions is not None
    votes = {name: np.array(said, dtype=np.int8) for name, said in verdicts.items()}
    rng = np.random.default_rng(0)
    return meet(decisions, votes, choices.clusters, resamples=50, rng=rng)


def test_three_annotators_of_three_images_by_hand() -> None:
    """Orders abc, abc, bac (higher is better): pairs ab, ac, bc.

    Annotators 1 and 2 agree on 3 of 3; 1 and 3, and 2 and 3, on ac and bc: 2 of 3. Together 7 of 9.
    Against the others: 1 meets (2, 3), split on ab, so half, and wins the two others: 2.5; so does 2; 3 meets the
    unanimous ab the wrong way: 2. Together 7 of 9 again.
    """
    choices = choices_of([[3, 2, 1], [3, 2, 1], [2, 3, 1]])
    assert choices.people().tolist() == [1, 1, 1]
    one, rest = met(choices, "one", mine=[1, 1, -1]), met(choices, "rest", mine=[1, 1, -1])
    assert one[PERSON].rate.win_rate == pytest.approx(7 / 9)
    assert one[PERSON].rate.pairs == 18, "each annotator against each other one, both ways"
    assert rest[PERSON].rate.win_rate == pytest.approx(7 / 9)
    # The scorer meets each annotator's ab (1, 1, -1: 2 of 3), ac (3 of 3) and bc (0 of 3): 5 of 9.
    assert one["mine"].rate.win_rate == pytest.approx(5 / 9)
    # And the rest: ab is tied twice and once clear, 0.5 + 0.5 + 1; ac 3; bc 0.
    assert rest["mine"].rate.win_rate == pytest.approx(5 / 9)


def test_ties_of_annotators_count_half_or_whole_and_are_named() -> None:
    """Pairs ab, ac, bc: one says 0, 1, 1, the other 0, 0, 1. Both tie: 1; one ties: 1/2; both choose: 1."""
    found = met(choices_of([[2, 2, 1], [2, 2, 2]]), "one")[PERSON]
    assert (found.rate.wins, found.rate.ties, found.rate.losses) == (2, 4, 0)
    assert found.decided is None, "the second annotator ties everything"
    found = met(choices_of([[2, 2, 1], [3, 3, 1]]), "one")[PERSON]
    assert (found.rate.win_rate, found.decided) == (1.0, 1.0)


def test_an_annotator_who_did_not_see_an_image_decides_nothing_about_it() -> None:
    """The second saw two images only, so two annotators meet on one pair of three."""
    choices = choices_of([[3, 2, 1], [2, 1, NAN]])
    decisions = against_one(choices)
    assert decisions is not None
    assert decisions.pair.tolist() == [0, 0]
    assert against_rest(choices) is None, "no pair has three annotators"


def test_one_annotator_meets_nobody() -> None:
    choices = choices_of([[3, 2, 1]])
    assert against_one(choices) is None
    assert against_rest(choices) is None


def test_prompts_with_different_numbers_of_annotators_are_pooled_by_decision() -> None:
    """p has three annotators, all alike (6 decisions of its pair); q two, opposed (2 decisions): 6 of 8."""
    found = met(choices_of([[2, 1, 2, 1], [2, 1, 1, 2], [2, 1, NAN, NAN]], prompts="ppqq"), "one")
    assert found[PERSON].rate.win_rate == pytest.approx(6 / 8)


def test_heads_and_means_can_choose_differently() -> None:
    values = np.array([[5.0, 1.0], [2.0, 3.0], [2.0, 3.0]])
    assert choices_of(values.tolist(), "majority").people().tolist() == [-1]
    assert choices_of(values.tolist(), "mean").people().tolist() == [1]


def test_means_of_decimals_that_differ_by_rounding_only_are_a_tie() -> None:
    """0.1 + 0.2 is not 0.3 in binary; people who wrote these numbers see no difference."""
    assert signs(np.array([[0.1 - 0.3], [0.2 - 0.0]]), "mean").tolist() == [0.0]


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(2, 5))
def test_annotators_who_agree_wholly_are_met_wholly_and_reversed_ones_never(
    seed: int, people: int, images: int
) -> None:
    order = np.random.default_rng(seed).permutation(images).astype(float)
    alike = choices_of([order.tolist()] * people)
    assert met(alike, "one")[PERSON].rate.win_rate == 1
    opposed = choices_of([order.tolist(), (-order).tolist()])
    assert met(opposed, "one")[PERSON].rate.win_rate == 0
    assert (opposed.people() == 0).all()


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_annotators_and_images_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 4, size=(4, 5)).astype(float)
    shuffled = values[rng.permutation(4)][:, rng.permutation(5)]
    for opponents in ("one", "rest"):
        one, other = (met(choices_of(v.tolist()), opponents)[PERSON] for v in (values, shuffled))
        assert one.rate.win_rate == pytest.approx(other.rate.win_rate)


def test_two_annotators_of_hpdv2_order_a_pair_alike_in_79_6_per_cent(reference_data: Path) -> None:
    """The reference's number; 84.8 % against the mean rank of the other nine where that is no tie, its other one."""
    choices = open_choices(str(reference_data / "hpdv2_test"), images=False)
    assert (len(choices.pairs), len(set(choices.prompts)), len(choices.values)) == (1539, 40, 10)
    one, rest = met(choices, "one")[PERSON], met(choices, "rest")[PERSON]
    assert round(100 * one.rate.win_rate, 1) == 79.6
    assert one.rate.pairs == 2 * 45 * 1539
    assert round(100 * rest.rate.win_rate, 1) == 83.9
    assert int((choices.people() == 0).sum()) == 77
    by_mean = HumanChoices(**{**vars(choices), "label": "mean"})
    decided = met(by_mean, "rest")[PERSON]
    assert decided.rate.pairs - decided.rate.ties == 15_200
    assert decided.decided == pytest.approx(0.848, abs=5e-4)
