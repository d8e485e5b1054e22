"""The sequence by hand and against a slow oracle; its promises by simulation.

The full simulation, whose figures stand in docs/statistics.md:
    PREFBENCH_SLOW=1 pytest tests/bench/tally/test_confidence_sequence.py -k releases -s
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefbench.bench.tally.confidence_sequence import ConfidenceSequence, bets

PROMPTS = 1632
OUTCOMES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=40)


def limits_after_each(outcomes, *, alpha=0.05, step=0.01):
    sequence = ConfidenceSequence(alpha=alpha, step=step)
    return np.array([sequence.add([x]) for x in outcomes])


def capital_by_hand(outcomes, m, alpha):
    """Both gamblers' capital against the mean m, one prompt at a time, straight from the formulas."""
    higher = lower = 1.0
    total, squares = 0.5, 0.25
    for t, x in enumerate(outcomes, start=1):
        stake = math.sqrt(2 * math.log(2 / alpha) / (squares / t * t * math.log(t + 1)))
        higher *= 1 + min(stake, 0.5 / m) * (x - m)
        lower *= 1 - min(stake, 0.5 / (1 - m)) * (x - m)
        total += x
        squares += (x - total / (t + 1)) ** 2
    return higher, lower


def streams(rng, win_rate, ties, count, prompts=PROMPTS):
    """Outcomes of `count` benchmarks with one seed a prompt."""
    u = rng.random((count, prompts))
    return np.where(u < ties, 0.5, np.where(u < win_rate + ties / 2, 1.0, 0.0))


def decided(outcomes, threshold, *, alpha=0.05, block=PROMPTS, step=0.01):
    """(decision, prompts drawn) of one gate that looks after every `block` prompts and stops when it can."""
    sequence = ConfidenceSequence(alpha=alpha, step=step)
    for start in range(0, len(outcomes), block):
        sequence.add(outcomes[start : start + block])
        if (found := sequence.decide(threshold)) != "open":
            return found, sequence.prompts
    return "open", len(outcomes)


def test_unbroken_wins_by_hand():
    """n wins: K+(m) = (1 + 1 / (2m) * (1 - m))^n = (1/2 + 1 / (2m))^n, for the bets exceed the cut 1 / (2m).

    m is out where that is 2 / .05 = 40 or more: m <= 1/2 / (40^(1/n) - 1/2). For n = 9 that is .4967, for n = 10 .5285.
    """
    limits = limits_after_each([1.0] * 10, step=0.001)
    for n in (9, 10):
        bound = 0.5 / (40 ** (1 / n) - 0.5)
        assert limits[n - 1].tolist() == [math.floor(1000 * bound) / 1000, 1.0]


def test_decides_against_one_half_after_ten_wins_or_ten_losses_and_not_after_nine():
    for outcome, answer in ((1.0, "above"), (0.0, "below")):
        sequence = ConfidenceSequence(alpha=0.05)
        sequence.add([outcome] * 9)
        assert sequence.decide(0.5) == "open"
        sequence.add([outcome])
        assert sequence.decide(0.5) == answer


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_what_is_thrown_out_is_what_the_formulas_throw_out(alpha):
    """Oracle: both capitals prompt by prompt in plain arithmetic, for candidates on and between the limits."""
    outcomes = np.random.default_rng(1).choice([0, 0.25, 0.5, 1], p=[0.1, 0.1, 0.2, 0.6], size=60)
    low, high = limits_after_each(outcomes, alpha=alpha)[-1]
    candidates = np.arange(1, 100) / 100
    capital = np.array([
        [capital_by_hand(outcomes[:n], m, alpha) for m in candidates] for n in range(1, 61)
    ])  # fmt: skip
    out = (capital >= 2 / alpha).any(axis=0)
    assert low == candidates[out[:, 0]].max()
    assert high == candidates[out[:, 1]].min()


@given(OUTCOMES)
def test_a_bet_depends_on_earlier_outcomes_only(outcomes):
    placed = bets(outcomes, alpha=0.05)
    other = [*outcomes[:-1], 1 - outcomes[-1]]
    assert np.array_equal(bets(other, alpha=0.05), placed)
    assert (placed > 0).all()


@settings(max_examples=40)
@given(OUTCOMES, st.data())
def test_blocks_do_not_matter_limits_only_close_and_losses_mirror_wins(outcomes, data):
    outcomes = [1.0] * 8 + outcomes  # so that the limits have moved
    cut = data.draw(st.integers(0, len(outcomes)))
    step_by_step = limits_after_each(outcomes)
    blocks, mirrored = ConfidenceSequence(alpha=0.05, step=0.01), ConfidenceSequence(alpha=0.05, step=0.01)
    blocks.add(outcomes[:cut])
    assert blocks.add(outcomes[cut:]) == tuple(step_by_step[-1])
    assert blocks.prompts == len(outcomes)
    assert (np.diff(step_by_step[:, 0]) >= 0).all()
    assert (np.diff(step_by_step[:, 1]) <= 0).all()
    low, high = mirrored.add([1 - x for x in outcomes])
    assert (1 - high, 1 - low) == pytest.approx(tuple(step_by_step[-1]), abs=1e-12)


def test_a_long_block_is_cut_into_pieces_without_a_trace():
    outcomes = streams(np.random.default_rng(5), 0.55, 0.1, 1, 700)[0]
    whole = ConfidenceSequence(alpha=0.05, step=0.01)
    assert whole.add(outcomes) == tuple(limits_after_each(outcomes)[-1])


def test_a_threshold_off_the_grid_is_decided_no_earlier_than_the_next_candidate():
    sequence = ConfidenceSequence(alpha=0.05, step=0.01)
    sequence.add([1.0] * 10)
    assert (sequence.lower, sequence.upper) == (0.52, 1.0)
    assert [sequence.decide(c) for c in (0.515, 0.52, 0.5 - 0.03, 0.525)] == [
        "above",
        "above",
        "above",
        "open",
    ]


def test_outcomes_that_turn_round_contradict_and_the_limits_stay():
    """200 wins and then only losses are no sample in random order: every candidate goes, and the class says so."""
    sequence = ConfidenceSequence(alpha=0.05, step=0.01)
    sequence.add([1.0] * 200)
    assert not sequence.contradicted
    before = sequence.lower
    sequence.add([0.0] * 2000)
    assert sequence.contradicted
    assert before <= sequence.lower < sequence.upper
    kept = (sequence.lower, sequence.upper)
    assert sequence.add([0.0] * 50) == kept


@pytest.mark.parametrize("block", [[1.1], [-0.1], [np.nan], [[0.5]], 0.5])
def test_what_is_no_outcome_is_refused_and_changes_nothing(block):
    sequence = ConfidenceSequence(alpha=0.05, step=0.1)
    with pytest.raises(ValueError, match="Outcomes"):
        sequence.add(block)
    assert sequence.prompts == 0
    assert sequence.add([]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("alpha", "step"), [(0, 0.1), (1, 0.1), (np.nan, 0.1), (0.05, 0.3), (0.05, 0), (0.05, 2)]
)
def test_settings_that_make_no_sequence_are_refused(alpha, step):
    with pytest.raises(ValueError, match="alpha|step"):
        ConfidenceSequence(alpha=alpha, step=step)


@pytest.mark.parametrize(("win_rate", "ties"), [(0.5, 0.1), (0.9, 0.05)])
def test_the_truth_is_left_out_at_any_time_in_at_most_5_percent_of_200_benchmarks(win_rate, ties):
    """Up to 400 prompts, looked at after each; the candidate that equals the truth is on the grid."""
    errors = sum(
        decided(x, win_rate)[0] != "open" for x in streams(np.random.default_rng(2), win_rate, ties, 200, 400)
    )
    assert errors <= 0.05 * 200


def test_looking_again_and_again_with_a_fixed_interval_errs_in_far_more_than_5_percent():
    """What the sequence is for: a 95 % interval looked at after each of 30 to 400 prompts, truth 50 %."""
    x = streams(np.random.default_rng(2), 0.5, 0.1, 200, 400)
    n = np.arange(1, 401)
    mean = np.cumsum(x, axis=1) / n
    error = np.sqrt((np.cumsum(x**2, axis=1) / n - mean**2) / n)
    ever = (np.abs(mean - 0.5) > 1.96 * error)[:, 29:].any(axis=1)
    assert ever.mean() > 0.2


@pytest.mark.parametrize("threshold", [0.5, 0.47])
def test_at_a_true_win_rate_of_60_percent_half_of_the_prompts_are_saved(threshold):
    """100 releases, blocks of 64: at most half of 1,632 prompts on average, and nearly all decided, for the better."""
    found = [decided(x, threshold, block=64) for x in streams(np.random.default_rng(3), 0.6, 0.1, 100)]
    assert np.mean([prompts for _, prompts in found]) <= PROMPTS / 2
    assert [answer for answer, _ in found].count("above") >= 97


@pytest.mark.slow
def test_of_2000_null_releases_at_most_5_percent_are_ever_decided_and_better_ones_stop_early():
    """The whole gate, 1,632 prompts, ties 10 %, blocks of 64; the null is decided if either side is ever claimed."""
    rng = np.random.default_rng(20260101)
    print()
    used = {}
    for count, win_rate, threshold in (
        (2000, 0.5, 0.5),
        (2000, 0.47, 0.47),
        (2000, 0.5, 0.47),
        (1000, 0.55, 0.5),
        (1000, 0.55, 0.47),
        (1000, 0.6, 0.5),
        (1000, 0.6, 0.47),
        (1000, 0.65, 0.5),
        (1000, 0.4, 0.47),
    ):
        found = [decided(x, threshold, block=64) for x in streams(rng, win_rate, 0.1, count)]
        share = np.array([prompts for _, prompts in found]) / PROMPTS
        answers = [answer for answer, _ in found]
        above, below = (answers.count(side) / count for side in ("above", "below"))
        used[win_rate, threshold] = (above, below, float(np.median(share)), float(share.mean()))
        print(
            f"truth {win_rate:.2f}, threshold {threshold:.2f}, {count} releases: above {above:.4f}, below {below:.4f}, "
            f"share of prompts median {np.median(share):.3f}, mean {share.mean():.3f}"
        )
    for null in ((0.5, 0.5), (0.47, 0.47)):
        assert used[null][0] + used[null][1] <= 0.05
    assert used[0.5, 0.47][1] <= 0.05  # a release as good as its baseline called worse
    for better in ((0.6, 0.5), (0.6, 0.47), (0.65, 0.5)):
        assert used[better][0] >= 0.99
        assert used[better][3] <= 0.5
