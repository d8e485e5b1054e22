"""Who can be relied on: by hand, and among simulated annotators whose care is known."""

import numpy as np
import pandas as pd
import pytest
from simulated_annotators import MIXED, gappy_studies, judgements, study

from prefbench.bench.people.reliability import ALPHA, Annotator, weigh_annotators
from prefbench.bench.people.shown_pairs import arrange_votes
from prefbench.bench.people.votes_table import Judgements


def judged(rows: list[str], ordered: bool = True) -> Judgements:
    """Rows "prompt annotator first second choice"."""
    names = ["prompt_id", "annotator", "checkpoint_a", "checkpoint_b", "choice"]
    table = pd.DataFrame([row.split() for row in rows], columns=names).assign(seed=0, where="")
    return Judgements("here", "test", table.assign(prompt=table["prompt_id"]), True, ordered)


def weighed(given: Judgements, resamples: int = 50) -> dict[str, Annotator]:
    return {each.name: each for each in weigh_annotators(arrange_votes(given), resamples=resamples, seed=0)}


def test_agreement_with_the_others_by_hand() -> None:
    """Anna and ben prefer x for p, cleo y; for q anna x, ben ties.

    Anna meets a tie of ben and cleo on p (half), and ben's tie on q (half): 1/2. Ben meets a tie on p (half) and x on q
    (half). Cleo meets x: opposed, 0.
    """
    rows = ["p anna x y a", "p ben y x b", "p cleo x y b", "q anna x y a", "q ben x y tie"]
    found = weighed(judged(rows))
    assert [found[name].agreement.win_rate for name in ("anna", "ben", "cleo")] == [0.5, 0.5, 0.0]
    assert [(each.judgements, each.ties, each.met) for each in found.values()] == [
        (2, 0, 2),
        (2, 1, 2),
        (1, 0, 1),
    ]
    # Of the three judgements of p two are half right and one wrong; of the two of q both are half right.
    assert found["anna"].typical == pytest.approx(((0.5 + 0.5 + 0) / 3 + 0.5) / 2)
    assert all(each.verdict == "cannot tell" for each in found.values())


def test_the_side_is_counted_where_a_choice_was_made() -> None:
    """Anna saw x first twice and once second; her choices went to the first, the second, and a tie."""
    found = weighed(judged(["p anna x y a", "q anna y x b", "r anna x y tie"]))["anna"]
    assert (found.sided, found.first) == (2, 1)
    unknown = weighed(judged(["p anna x y a", "q anna y x b"], ordered=False))["anna"]
    assert (unknown.sided, unknown.first, unknown.p_side) == (0, 0, None)


def test_who_is_met_by_nobody_has_no_agreement() -> None:
    found = weighed(judged(["p anna x y a", "q ben x y b"]))["anna"]
    assert (found.met, found.agreement, found.typical, found.p_above, found.p_typical) == (
        0,
        None,
        None,
        None,
        None,
    )
    assert found.verdict == "cannot tell"


def test_of_two_who_contradict_each_other_neither_is_flagged_and_a_third_tells_which() -> None:
    """On 40 prompts anna and ben differ; either may have the sides mixed up. Cleo says what anna says.

    Then ben is opposed by both others, and each of those meets a tie: of three one is at -1 and two at 0, and 40 draws
    of -1 have the chance 3^-40.
    """
    rows = [f"p{k} anna x y a" for k in range(40)] + [f"p{k} ben x y b" for k in range(40)]
    two = weighed(judged(rows))
    assert [(each.verdict, each.p_typical) for each in two.values()] == [("cannot tell", None)] * 2
    assert two["anna"].p_below == pytest.approx(2**-40, abs=1e-14)
    third = weighed(judged([*rows, *(f"p{k} cleo x y a" for k in range(40))]))
    assert third["ben"].verdict == "contrary"
    assert not third["anna"].flagged, "with cleo and ben as the others she meets ties"


def test_seeds_of_one_prompt_are_one_unit() -> None:
    """Forty seeds of one prompt on which three agree: nothing is known of other prompts, so nothing is cleared."""
    rows = [f"p {name} x y a" for name in ("anna", "ben", "cleo") for _ in range(40)]
    table = judged(rows).table.assign(seed=list(range(40)) * 3)
    found = weighed(Judgements("here", "test", table, True, True))
    assert found["anna"].met == 40
    assert found["anna"].p_above == 0.5
    assert found["anna"].verdict == "cannot tell"


def test_a_prompt_counts_once_where_gaps_leave_no_two_alike() -> None:
    """As below, but of prompt k everybody judged k images: one image of each counts, 3^-4 and not 3^-10.

    Ten prompts with one image, and one with two, of which there are two sums of others: one image of each, 3^-11. Five
    prompts with two images are ten sums of others: they count whole, each -2, 0 and 0.
    """
    people = (("anna", "a"), ("ben", "a"), ("cleo", "b"))

    def told(images: list[int]) -> float | None:
        rows = [
            (f"p{k} {name} x y {c}", s) for k, n in enumerate(images) for s in range(n) for name, c in people
        ]
        given = judged([row for row, _ in rows])
        table = given.table.assign(seed=[seed for _, seed in rows])
        return weighed(Judgements("here", "test", table, True, True))["cleo"].p_typical

    assert told([1, 2, 3, 4]) == pytest.approx(3 / 81)
    assert told([1] * 10 + [2]) == pytest.approx(3 * 3.0**-11)
    assert told([2] * 5) == pytest.approx(3 * 3.0**-5)


def test_equally_good_annotators_are_not_flagged_for_hard_prompts_with_gaps() -> None:
    """15 annotators, 60 prompts with 16 images, half of them hard: counting each image alone flags in every third study."""
    assert gappy_studies(8, 15, 60, 16, sees=0.2, rng=np.random.default_rng(0)) == (0, 0)


def test_p_values_that_accuse_are_one_family() -> None:
    """Four prompts; cleo contradicts anna and ben: -1, and 0 for these. Four draws of -1 of (-1, 0, 0): 1/81, three tests.

    No side can be told: x is shown first every time.
    """
    people = (("anna", "a"), ("ben", "a"), ("cleo", "b"))
    found = weighed(judged([f"p{k} {name} x y {choice}" for k in range(4) for name, choice in people]))
    assert found["cleo"].p_typical == pytest.approx(3 / 81)
    assert found["cleo"].p_below == pytest.approx(1 / 16), "not adjusted, and too large for the name contrary"
    assert found["cleo"].verdict == "like chance"
    assert found["anna"].p_typical == 1
    assert found["anna"].p_side is None


def test_a_crowd_by_kind() -> None:
    """120 judgements each, 3 a pair: the careful ones agree, each other kind is told for what it is."""
    found = weighed(judgements(np.random.default_rng(5), MIXED, pairs=480, a_pair=3, right=0.95, ties=0.05))
    assert {each.verdict for name, each in found.items() if name.startswith("careful")} == {"agrees"}
    assert found["random 9"].verdict == "like chance"
    assert found["contrary 10"].verdict == "contrary"
    assert found["first 11"].verdict == "one side"


@pytest.mark.slow
@pytest.mark.parametrize("right", [0.9, 0.65])
@pytest.mark.parametrize("each", [15, 60])
def test_careful_annotators_are_flagged_in_one_study_of_twenty_at_most(right: float, each: int) -> None:
    """200 studies of 10 annotators equally careful; 5 % of 200 are 10, and 17 are their 99 % limit."""
    found = study(["careful"] * 10, 200, each=each, rng=np.random.default_rng(1), right=right)
    assert found.careful_flagged <= 17 / 200, f"at a level of {ALPHA}"


@pytest.mark.slow
def test_with_gaps_one_study_of_twenty_flags_somebody_at_most_and_who_answers_by_lot_is_found() -> None:
    """60 studies each; 5 % of 60 are 3, and 8 are their 99 % limit."""
    for annotators, prompts, images, sees in ((12, 40, 8, 0.3), (15, 60, 16, 0.2)):
        rng = np.random.default_rng(3)
        assert gappy_studies(60, annotators, prompts, images, sees=sees, rng=rng)[0] <= 8 / 60
    assert gappy_studies(20, 15, 60, 16, sees=0.5, by_lot=1, rng=np.random.default_rng(3))[1] >= 0.6


@pytest.mark.slow
def test_power_by_the_number_of_judgements() -> None:
    """30 studies each of nine careful, one random, one contrary and one who always takes the first image."""
    few, many = (study(MIXED, 30, each=each, rng=np.random.default_rng(2)) for each in (30, 120))
    assert many.flagged["contrary"] == many.flagged["first"] == 1
    assert many.flagged["random"] >= 0.4
    assert few.flagged["random"] < many.flagged["random"], "too few judgements, and that is what is said"
    assert many.careful_flagged == 0
