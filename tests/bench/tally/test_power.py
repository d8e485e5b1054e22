"""Prompts, power and detectable win rates: by hand, as properties, and against benchmarks that are simulated."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.tally.power import Design, half_width, power_at, required_prompts, smallest_win_rate
from prefbench.bench.tally.seed_correlation import seed_correlation
from prefbench.bench.tally.win_rate import tally

PLAIN = Design(tie_rate=0, seeds=1, seed_correlation=0, alpha=0.05)

DESIGNS = st.builds(
    Design,
    tie_rate=st.floats(0, 0.6),
    seeds=st.integers(1, 10),
    seed_correlation=st.floats(0, 1),
    alpha=st.sampled_from([0.01, 0.05, 0.1]),
)
POWERS = st.floats(0.5, 0.99)


@pytest.mark.parametrize(
    ("prompts", "half", "detectable"),
    [
        (100, 9.8, 64.0),
        (200, 6.9, 59.9),
        (400, 4.9, 57.0),
        (500, 4.4, 56.3),
        (800, 3.5, 55.0),
        (1000, 3.1, 54.4),
        (1632, 2.4, 53.5),
        (3200, 1.7, 52.5),
    ],
)
def test_half_width_and_smallest_detectable_win_rate_without_ties(prompts, half, detectable):
    """One pair a prompt: .5 + (1.9600 + .8416) * .5 / sqrt(N); for N = 100 that is .5 + .1401 = 64.0 %."""
    assert round(100 * half_width(prompts, PLAIN), 1) == half
    assert round(100 * smallest_win_rate(prompts, PLAIN, power=0.8), 1) == detectable


def test_prompts_for_55_percent_by_hand():
    """V = .25: .25 (2.8016 / .05)^2 = 784.9, so 785. Ties of 10 % make V .225: 706.4, so 707."""
    assert required_prompts(0.55, PLAIN, power=0.8) == 785
    assert required_prompts(0.55, dataclasses.replace(PLAIN, tie_rate=0.1), power=0.8) == 707


def test_seeds_by_hand():
    """Four seeds, rho = .5: V = .25 (1 + 3 / 2) / 4 = .15625, 62.5 % of the prompts: 490.6, so 491.

    Uncorrelated seeds are as good as prompts: 785 / 4 = 196.2. Seeds that always agree are worth one. Endless seeds at
    rho = .5 leave V = .125: half of 784.9, so 393.
    """
    four = dataclasses.replace(PLAIN, seeds=4)
    for rho, prompts in ((0.5, 491), (0.0, 197), (1.0, 785)):
        assert required_prompts(0.55, dataclasses.replace(four, seed_correlation=rho), power=0.8) == prompts
    endless = Design(tie_rate=0, seeds=math.inf, seed_correlation=0.5, alpha=0.05)
    assert required_prompts(0.55, endless, power=0.8) == 393


def test_passing_a_margin_by_hand():
    """An equal checkpoint, margin 3 points: .25 (2.8016 / .03)^2 = 2180.2, so 2,181 prompts for 80 %.

    With 1,632 the power is Phi(.03 sqrt(1632) / .5 - 1.96) = Phi(.4639) = .6786; one at 47 % passes with alpha / 2.
    """
    gate = dataclasses.replace(PLAIN, margin=0.03)
    assert required_prompts(0.5, gate, power=0.8) == 2181
    assert power_at(0.5, 1632, gate) == pytest.approx(0.6786, abs=5e-4)
    assert power_at(0.47, 1632, gate) == pytest.approx(0.025, abs=1e-9)
    assert smallest_win_rate(2181, gate, power=0.8) == pytest.approx(0.5, abs=1e-4)
    # As far below the margin as the first one is above it: proven worse with the same prompts.
    assert required_prompts(0.44, gate, power=0.8) == 2181


@given(DESIGNS, POWERS, st.floats(0.005, 0.19))
def test_a_win_rate_and_its_mirror_need_the_same_prompts(design, power, distance):
    assert required_prompts(0.5 + distance, design, power=power) == pytest.approx(
        required_prompts(0.5 - distance, design, power=power), abs=1
    )


@given(DESIGNS, POWERS, st.floats(0.005, 0.19))
def test_more_seeds_more_ties_or_a_larger_difference_never_need_more_prompts_and_more_power_never_fewer(
    design, power, distance
):
    needed = required_prompts(0.5 + distance, design, power=power)

    def with_(**changes):
        return required_prompts(0.5 + distance, dataclasses.replace(design, **changes), power=power)

    assert with_(seeds=design.seeds + 1) <= needed
    assert with_(tie_rate=min(0.6, design.tie_rate + 0.05)) <= needed
    assert with_(seed_correlation=min(1.0, design.seed_correlation + 0.1)) >= needed
    assert with_(alpha=design.alpha / 2) >= needed
    assert required_prompts(0.5 + distance * 1.01, design, power=power) <= needed
    assert required_prompts(0.5 + distance, design, power=(1 + power) / 2) >= needed


@given(DESIGNS, POWERS, st.floats(0.005, 0.19))
def test_the_three_questions_have_one_answer(design, power, distance):
    """N prompts for w have the power that was asked for, one prompt fewer has not, and w is what they detect."""
    rate = 0.5 + distance
    prompts = required_prompts(rate, design, power=power)
    assert power_at(rate, prompts, design) >= power - 1e-6
    if prompts > 2:
        assert power_at(rate, prompts - 1, design) <= power + 1e-6
    assert smallest_win_rate(prompts, design, power=power) <= rate + 1e-6


def test_ties_leave_no_room_for_a_rate_that_few_prompts_would_need():
    """Ten prompts, no ties: .5 + 1.4008 / 3.162 = .943. Ties of 60 % allow at most 70 %; needed: .5 + .6325 * .443 = .78."""
    assert smallest_win_rate(10, PLAIN, power=0.8) == pytest.approx(0.943, abs=1e-3)
    assert smallest_win_rate(10, dataclasses.replace(PLAIN, tie_rate=0.6), power=0.8) is None


@pytest.mark.parametrize(
    "change",
    [
        {"tie_rate": 1.0},
        {"tie_rate": -0.1},
        {"seeds": 0},
        {"seed_correlation": 1.1},
        {"alpha": 0.0},
        {"alpha": 0.6},
        {"margin": 0.5},
        {"margin": math.nan},
    ],
)
def test_a_design_out_of_range_is_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(PLAIN, **change)


@pytest.mark.parametrize(
    ("rate", "power", "message"),
    [
        (0.5, 0.8, "threshold"),
        (0.6, 0.4, "power"),
        (0.6, 1.0, "power"),
        (1.2, 0.8, "lies in"),
        (0.97, 0.8, "lies in"),
    ],
)
def test_questions_without_an_answer_are_refused(rate, power, message):
    with pytest.raises(ValueError, match=message):
        required_prompts(rate, dataclasses.replace(PLAIN, tie_rate=0.1), power=power)
    with pytest.raises(ValueError, match="at least 2"):
        power_at(0.6, 1, PLAIN)


def draw_votes(rng, win_rate, ties, rho, shape):
    """Votes of shape (repetitions, prompts, seeds). A seed repeats its prompt's vote with probability sqrt(rho).

    Two seeds of a prompt then share a vote with probability rho and are independent otherwise: correlation rho.
    """

    def vote(size):
        u = rng.random(size)
        return np.where(u < ties, 0, np.where(u < win_rate + ties / 2, 1, -1))

    repeated = rng.random(shape) < math.sqrt(rho)
    return np.where(repeated, vote((*shape[:2], 1)), vote(shape))


@pytest.mark.parametrize(
    ("win_rate", "ties", "seeds", "rho", "margin"),
    [
        (0.6, 0.1, 1, 0.3, 0.0),
        (0.57, 0.2, 4, 0.3, 0.0),
        (0.42, 0.0, 2, 0.6, 0.0),
        (0.5, 0.1, 2, 0.3, 0.07),
    ],
)
def test_simulated_benchmarks_of_the_planned_size_are_settled_as_often_as_planned(
    win_rate, ties, seeds, rho, margin
):
    """2,000 benchmarks settled by the tally's own interval; the standard error of a share of .8 is .009.

    The plan takes the variance at 1/2, so that away from it a little more than .8 is expected, never less.
    """
    design = Design(tie_rate=ties, seeds=seeds, seed_correlation=rho, alpha=0.05, margin=margin)
    prompts = required_prompts(win_rate, design, power=0.8)
    rng = np.random.default_rng(20260102)
    votes = draw_votes(rng, win_rate, ties, rho, (2000, prompts, seeds))
    labels = np.repeat(np.arange(prompts), seeds)
    found, _ = tally(votes.reshape(2000, -1).T, None, labels, resamples=1000, rng=rng)
    if win_rate > design.threshold:
        settled = [rate.ci95[0] > design.threshold for rate in found]
    else:
        settled = [rate.ci95[1] < design.threshold for rate in found]
    assert 0.8 - 3 * 0.009 <= np.mean(settled) <= 0.82 + 3 * 0.009


def test_seed_correlation_by_hand():
    """Prompts p: 1 1, q: 1 0, r: 0 0. Mean squares: between 2 (1/4 + 0 + 1/4) / 2 = 1/2, within (1/2) / 3 = 1/6.

    rho = (1/2 - 1/6) / (1/2 + 1/6) = 1/2.
    """
    found = seed_correlation([1, 1, 1, 0, 0, 0], list("ppqqrr"))
    assert (found.value, found.clipped) == (pytest.approx(0.5), False)


def test_seed_correlation_with_unequal_seeds_by_hand():
    """p: 1 1 1, q: 0 1, and mean 4/5. SSB = 3 (1/5)^2 + 2 (3/10)^2 = .3, MSB .3 / 1; SSW = 1/2, MSW 1/6.

    n0 = 5 - (9 + 4) / 5 = 2.4. rho = (.3 - 1/6) / (.3 + 1.4 / 6) = .1333 / .5333 = 1/4.
    """
    assert seed_correlation([1, 1, 1, 0, 1], list("pppqq")).value == pytest.approx(0.25)


def test_seeds_that_repel_one_another_are_clipped_to_0_and_said_to_be():
    """Every prompt wins once and loses once: MSB = 0, MSW = 1/2, rho = -1."""
    found = seed_correlation([1, 0] * 4, np.repeat(np.arange(4), 2))
    assert (found.value, found.estimate, found.clipped) == (0.0, pytest.approx(-1), True)


def test_seeds_that_always_agree_have_correlation_1():
    assert seed_correlation([1, 1, 0, 0, 0.5, 0.5], list("ppqqrr")).value == pytest.approx(1)


@pytest.mark.parametrize(
    ("outcomes", "prompts"), [([1, 0, 1], "pqr"), ([1, 1, 1, 1], "ppqq"), ([1, 0, 1], "ppp")]
)
def test_one_seed_a_prompt_or_one_outcome_or_one_prompt_tell_no_correlation(outcomes, prompts):
    assert seed_correlation(outcomes, list(prompts)) is None


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_a_known_seed_correlation_is_found_again(rho):
    """1,000 prompts x 4 seeds: the standard error is about .02."""
    votes = draw_votes(np.random.default_rng(4), 0.58, 0.15, rho, (1, 1000, 4))
    found = seed_correlation((1 + votes.ravel()) / 2, np.repeat(np.arange(1000), 4))
    assert found.value == pytest.approx(rho, abs=0.06)


def test_what_is_no_outcome_is_refused():
    with pytest.raises(ValueError, match="Outcomes"):
        seed_correlation([1, 2], ["p", "p"])
