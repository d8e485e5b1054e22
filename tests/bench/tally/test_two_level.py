"""Win rates over trainings and prompts: by hand, as properties, and their coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_scores import true_rate

from prefbench.bench.tally.two_level import method_win_rates
from prefbench.bench.tally.win_rate import tally


def over(votes, prompts=None, seed=0, **options):
    """`method_win_rates` of votes (n_a, n_b, pairs) by one scorer."""
    votes = np.asarray(votes, dtype=np.int8)[..., None]
    labels = np.arange(votes.shape[2]) if prompts is None else prompts
    rng = np.random.default_rng(seed)
    return method_win_rates(votes, labels, resamples=500, rng=rng, **options)[0]


def won(count, of=100):
    """Votes with so many wins, the rest losses."""
    return np.where(np.arange(of) < count, 1, -1)


def test_three_trainings_by_hand():
    """Won 60, 62 and 64 of 100: V = (2^2 + 0 + 2^2) / 2 = 4 points^2, t(2)^2 V / n = 4.3027^2 * 4 / 3 = 24.684 points^2.

    The limits over prompts are those of the tally on all 300 pairs, clustered by prompt.
    """
    votes = np.stack([[won(60)], [won(62)], [won(64)]])
    found = over(votes)
    prompts = tally(
        votes.reshape(-1, 1), None, np.tile(np.arange(100), 3), resamples=500, rng=np.random.default_rng(0)
    )[0][0]
    assert (found.win_rate, found.prompts, found.ci_method) == (pytest.approx(0.62), 100, "bootstrap+t")
    assert found.per_training.tolist() == [[0.6], [0.62], [0.64]]
    assert found.seed_spread == pytest.approx(0.02)
    low, high = prompts.ci95
    assert found.ci95[0] == pytest.approx(0.62 - np.sqrt((0.62 - low) ** 2 + 24.684e-4), abs=1e-6)
    assert found.ci95[1] == pytest.approx(0.62 + np.sqrt((high - 0.62) ** 2 + 24.684e-4), abs=1e-6)


def test_two_sides_by_hand():
    """Rates of a's trainings over b's, rows a: .5 .7 / .6 .8. Means of a .6 .7, of b .55 .75: V_a .005, V_b .02.

    Spread sqrt(.005 + .02) = .158. t(1) = 12.706: added squares 161.4 (.005 + .02) / 2 = 2.02, so beyond [0, 1].
    """
    found = over([[won(50), won(70)], [won(60), won(80)]])
    assert found.per_training == pytest.approx(np.array([[0.5, 0.7], [0.6, 0.8]]))
    assert found.seed_spread == pytest.approx(np.sqrt(0.025))
    assert found.ci95 == (0.0, 1.0)


def test_one_training_on_each_side_gives_the_interval_over_prompts():
    votes = won(60)
    plain = tally(votes[:, None], None, np.arange(100), resamples=500, rng=np.random.default_rng(0))[0][0]
    found = over(votes[None, None])
    assert (found.ci95, found.ci_method, found.seed_spread) == (plain.ci95, "bootstrap", None)


def test_trainings_that_agree_on_every_pair_add_nothing_and_are_not_more_prompts():
    once, thrice = over(won(60)[None, None]), over(np.stack([[won(60)]] * 3))
    assert thrice.ci95 == pytest.approx(once.ci95)
    assert thrice.seed_spread == pytest.approx(0, abs=1e-12)


def test_few_prompts_off_the_commonest_outcome_keep_the_exact_bound():
    found = over(np.ones((3, 1, 200)))
    assert (found.ci_method, found.ci95) == ("exact+t", (pytest.approx(0.025 ** (1 / 200)), 1.0))


def test_one_prompt_has_no_interval_but_a_spread():
    found = over([[[1, 1]], [[1, -1]]], prompts=["only", "only"])
    assert (found.ci95, found.ci_method) == (None, "none")
    assert found.seed_spread == pytest.approx(np.sqrt(0.125))  # of 1 and 1/2


def test_pairs_that_do_not_count_are_in_no_rate():
    """Won 60 of 100, of which the last 20 (lost) are left out: 60 of 80; the other 70 of 100."""
    counted = np.ones((2, 1, 100), dtype=bool)
    counted[0, 0, 80:] = False
    found = over(np.stack([[won(60)], [won(70)]]), counted=counted)
    assert found.per_training.ravel().tolist() == [0.75, 0.7]
    assert found.win_rate == pytest.approx(130 / 180)


def test_an_interval_over_prompts_by_bca_stays_one():
    votes = np.stack([[won(90)], [won(93)], [won(95)]])
    assert over(votes, interval="bca").ci_method == "bca+t"
    assert over(votes, interval="bca").ci95 != over(votes).ci95


@st.composite
def trainings(draw):
    """1 to 3 trainings a side, 2 to 6 prompts with 1 or 2 pairs each."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    prompts = np.repeat(np.arange(6), draw(st.lists(st.integers(0, 2), min_size=6, max_size=6)))
    if len(np.unique(prompts)) < 2:
        prompts = np.arange(3)
    size = (*shape, len(prompts))
    votes = draw(st.lists(st.integers(-1, 1), min_size=int(np.prod(size)), max_size=int(np.prod(size))))
    return np.array(votes).reshape(size), prompts


@settings(max_examples=60)
@given(trainings())
def test_trainings_only_widen_and_the_estimate_lies_inside(data):
    votes, prompts = data
    found = over(votes, prompts)
    flat = votes.reshape(-1, 1)
    labels = np.tile(prompts, len(flat) // len(prompts))
    plain = tally(flat, None, labels, resamples=500, rng=np.random.default_rng(0))[0][0]
    assert found.win_rate == plain.win_rate
    assert 0 <= found.ci95[0] <= plain.ci95[0] + 1e-12
    assert plain.ci95[1] - 1e-12 <= found.ci95[1] <= 1


@settings(max_examples=60)
@given(trainings())
def test_exchanging_the_sides_turns_the_interval_round(data):
    votes, prompts = data
    found, turned = over(votes, prompts), over(-votes.transpose(1, 0, 2), prompts)
    assert turned.win_rate == pytest.approx(1 - found.win_rate)
    assert turned.ci95 == (pytest.approx(1 - found.ci95[1]), pytest.approx(1 - found.ci95[0]))
    assert turned.seed_spread == pytest.approx(found.seed_spread, abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "prompts", "message"),
    [((2, 4), 4, "do not fit"), ((2, 1, 4), 3, "do not fit"), ((0, 1, 4), 4, "do not fit")],
)
def test_shapes_that_do_not_fit_are_refused(shape, prompts, message):
    with pytest.raises(ValueError, match=message):
        over(np.zeros(shape), np.arange(prompts))


def test_two_trainings_without_a_pair_that_counts_are_refused():
    counted = np.array([[[True, True]], [[False, False]]])
    with pytest.raises(ValueError, match="no pair that counts"):
        over(np.ones((2, 1, 2)), counted=counted)


# --- Coverage by simulation -------------------------------------------------------------------------------------------

CLOSE = 0.25
QUALITY = 0.3
OF_METHOD, OF_TRAINING = 0.3, 0.3
"""Shares of a score's variance: what a method's trainings have in common on a prompt, and what one training has by itself;
the rest is of the sample."""
PROMPTS, RESAMPLES, AT_ONCE = 200, 1000, 100


def train(rng, quality, ability, benchmarks):
    """Scores (trainings, prompts, benchmarks) of one method whose trainings have `ability`, shape (trainings, benchmarks)."""
    n = len(ability)
    common = np.sqrt(OF_METHOD) * rng.normal(size=(1, PROMPTS, benchmarks))
    own = np.sqrt(OF_TRAINING) * rng.normal(size=(n, PROMPTS, benchmarks))
    sample = np.sqrt(1 - OF_METHOD - OF_TRAINING) * rng.normal(size=(n, PROMPTS, benchmarks))
    return quality + ability[:, None] + common + own + sample


def draw_benchmarks(rng, design, n, spread, benchmarks):
    """Votes (n_a, n_b, prompts, benchmarks) and the true win rate of the method.

    "checkpoint": n trainings against one checkpoint; "skewed": the same, and abilities are -Exp(1), so that some trainings
    fail badly; "paired": seed against seed, half of the variance of abilities in common; "crossed": each against each.
    """
    normal = rng.normal(size=(3, n, benchmarks)) * spread
    if design == "skewed":
        ability = (1 - rng.exponential(size=(n, benchmarks))) * spread
        drawn = (1 - np.random.default_rng(0).exponential(size=200_000)) * spread
        truth = true_rate(QUALITY + drawn, CLOSE).mean()
        a, b = train(rng, QUALITY, ability, benchmarks), train(rng, 0, 0 * ability[:1], benchmarks)
    elif design == "checkpoint":
        truth = true_rate(QUALITY, CLOSE, 2 + spread**2)
        a, b = train(rng, QUALITY, normal[0], benchmarks), train(rng, 0, 0 * normal[1, :1], benchmarks)
    elif design == "paired":
        truth = true_rate(QUALITY, CLOSE, 2 + spread**2)
        one, other, common = np.sqrt(0.5) * normal
        a, b = train(rng, QUALITY, one + common, benchmarks), train(rng, 0, other + common, benchmarks)
    else:
        truth = true_rate(QUALITY, CLOSE, 2 + 2 * spread**2)
        a, b = train(rng, QUALITY, normal[0], benchmarks), train(rng, 0, normal[1], benchmarks)
    gaps = (a - b)[:, None] if design == "paired" else a[:, None] - b[None]
    return np.where(np.abs(gaps) <= CLOSE, 0, np.sign(gaps)).astype(np.int8), truth


def two_level_bootstrap(votes, rng):
    """Percentiles of win rates when trainings of each side, and prompts, are drawn with replacement; and the same with the
    part of the trainings stretched by sqrt(n / (n - 1)). Each of shape (2, benchmarks)."""
    n_a, n_b, prompts, benchmarks = votes.shape
    outcomes = ((1 + votes) / 2).transpose(2, 0, 1, 3).reshape(prompts, -1)

    def weights(n):
        return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n

    means = (weights(prompts) @ outcomes).reshape(RESAMPLES, n_a, n_b, benchmarks)
    drawn = np.einsum("rabc,ra,rb->rc", means, weights(n_a), weights(n_b), optimize=True)
    centre = means.mean(axis=(1, 2))
    stretched = centre + np.sqrt(n_a / (n_a - 1)) * (drawn - centre)
    return [np.quantile(found, [0.025, 0.975], axis=0) for found in (drawn, stretched)]


def covered(design, n, spread, benchmarks, seed=0):
    """Coverage and mean width, in per cent, of: over prompts alone, two-level bootstrap, stretched, and what is shown."""
    rng = np.random.default_rng(seed)
    hits, widths = np.zeros((2, 4))
    for _ in range(benchmarks // AT_ONCE):
        votes, truth = draw_benchmarks(rng, design, n, spread, AT_ONCE)
        flat, labels = (
            votes.reshape(-1, AT_ONCE),
            np.tile(np.arange(PROMPTS), votes.shape[0] * votes.shape[1]),
        )
        alone, _ = tally(flat, None, labels, resamples=RESAMPLES, rng=rng)
        shown = method_win_rates(votes, np.arange(PROMPTS), resamples=RESAMPLES, rng=rng)
        limits = [
            np.array([rate.ci95 for rate in alone]).T,
            *two_level_bootstrap(votes, rng),
            np.array([rate.ci95 for rate in shown]).T,
        ]
        for i, (low, high) in enumerate(limits):
            hits[i] += ((low <= truth) & (truth <= high)).sum()
            widths[i] += (high - low).sum()
    return 100 * hits / benchmarks, 100 * widths / benchmarks


def test_three_trainings_that_differ_much_are_covered_and_by_the_two_level_bootstrap_they_are_not():
    """1,000 benchmarks: the standard error of 95 % is .7 points, of 80 % 1.3."""
    (prompts, plain, stretched, shown), _ = covered("checkpoint", 3, 0.47, 1000)
    assert prompts < 60
    assert plain < stretched < 90
    assert 93 < shown < 98.5


@pytest.mark.slow
@pytest.mark.parametrize("design", ["checkpoint", "skewed", "paired", "crossed"])
def test_trainings_are_covered_whatever_their_spread(design):
    """2,000 benchmarks a cell, standard error .5 points at 95 %. Run with -s for the tables of docs/statistics.md."""
    for spread in (0.0, 0.12, 0.235, 0.47):
        abilities = spread * np.random.default_rng(1).normal(size=200_000)
        points = 100 * true_rate(QUALITY + abilities, CLOSE).std()
        for n in (2, 3, 5, 10) if design != "crossed" else (2, 3, 5):
            hits, widths = covered(design, n, spread, 2000)
            cells = " | ".join(f"{h:.1f} % ({w:.0f})" for h, w in zip(hits, widths, strict=True))
            print(f"| {design} | {points:.1f} | {n} | {cells} |", flush=True)
            if design != "skewed":
                assert hits[3] > 95 - 3 * 0.5
