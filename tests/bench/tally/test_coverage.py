"""Whether 95 % intervals of a win rate hold the truth in 95 % of benchmarks, and what breaks when clusters are lost.

Scores are normal; half of their variance is shared by the seeds of a prompt, and differences up to .25 tie. Benchmarks are
independent of each other; `AT_ONCE` of them share the bootstrap's draws, which makes the simulation quick and changes no
interval.
"""

import numpy as np
import pandas as pd
import pytest
from latent_scores import cast, noisy, true_rate
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from prefbench.bench.prompts.prompt_set import load_prompt_set
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores
from prefbench.bench.tally.seed_correlation import seed_correlation
from prefbench.bench.tally.win_rate import tally

CLOSE, SHARED = 0.25, 0.5
RESAMPLES, AT_ONCE = 1000, 250


def draw_benchmarks(rng, quality, prompts, seeds, benchmarks=AT_ONCE):
    """Votes of the better checkpoint over the other, shape (prompts * seeds, benchmarks), a prompt's seeds together."""
    scores, _ = noisy([quality, 0.0], prompts * benchmarks, seeds, SHARED, rng)
    return cast(scores, CLOSE)[0].reshape(benchmarks, -1).T


def covered(quality, prompts, seeds, benchmarks, kinds, copies=1):
    """Per kind of interval the coverage and mean width in per cent, and the ends that missed: too high, too low.

    Kinds: "percentile" and "bca" with prompts as clusters; "pairs", the percentile interval over pairs.

    Args:
        copies: how often each prompt is listed, with the very same pictures.
    """
    rng, truth = np.random.default_rng(20260103), true_rate(quality, CLOSE)
    found = {kind: np.zeros(4) for kind in kinds}
    for _ in range(benchmarks // AT_ONCE):
        votes = np.tile(draw_benchmarks(rng, quality, prompts, seeds), (copies, 1))
        clusters = np.tile(np.repeat(np.arange(prompts), seeds), copies)
        for kind in kinds:
            labels = np.arange(len(votes)) if kind == "pairs" else clusters
            interval = "bca" if kind == "bca" else "percentile"
            rates, _ = tally(votes, None, labels, resamples=RESAMPLES, rng=rng, interval=interval)
            low, high = np.array([rate.ci95 for rate in rates]).T
            inside = (low <= truth) & (truth <= high)
            found[kind] += [inside.sum(), (high - low).sum(), (low > truth).sum(), (high < truth).sum()]
    return {kind: 100 * sums / benchmarks for kind, sums in found.items()}


def test_four_correlated_seeds_are_covered_over_prompts_and_not_over_pairs():
    """2,000 benchmarks of 100 prompts: standard error .5 points at 95 %."""
    found = covered(0.55, 100, 4, 2000, ["percentile", "bca", "pairs"])
    assert 93 < found["percentile"][0] < 96.5
    assert 93 < found["bca"][0] < 96.5
    assert found["pairs"][0] < 87


def test_a_prompt_listed_twice_is_covered_as_one_prompt_and_not_as_two():
    """Copies narrow an interval over pairs by sqrt(2): 2 (1 - Phi(1.96 / sqrt(2))) = 16.6 % miss. 2,000 benchmarks: .8 points."""
    found = covered(0.0, 100, 1, 2000, ["percentile", "pairs"], copies=2)
    assert 93 < found["percentile"][0] < 96.5
    assert found["pairs"][0] == pytest.approx(83.4, abs=3)


def test_the_simulated_seeds_are_as_alike_as_the_documentation_says():
    """Gaps of two seeds are normal with correlation .5. With c = .25 / sqrt(2), a tie has probability 2 Phi(c) - 1 = .140, and
    the votes' covariance is 2 (P(both > c) - P(one > c, other < -c)), over their variance 2 Phi(-c): .375."""
    c = CLOSE / np.sqrt(2)
    alike, apart = (multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([-c, -c]) for r in (SHARED, -SHARED))
    correlation = (alike - apart) / ndtr(-c)
    votes = draw_benchmarks(np.random.default_rng(0), 0.0, 20_000, 4, 1)[:, 0]
    found = seed_correlation((1 + votes) / 2, np.repeat(np.arange(20_000), 4))
    assert correlation == pytest.approx(0.375, abs=1e-3)
    assert found.value == pytest.approx(correlation, abs=0.02)
    assert (votes == 0).mean() == pytest.approx(0.140, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize("prompts", [100, 400, 1632])
@pytest.mark.parametrize("quality", [0.0, 0.55, 1.5])
def test_intervals_over_prompts_cover_what_they_say(quality, prompts, seeds):
    """4,000 benchmarks a cell: standard error .35 points at 95 %. Run with -s for the table of docs/statistics.md."""
    kinds = ["percentile", "bca", "pairs"]
    found = covered(quality, prompts, seeds, 4000, kinds)
    cells = " | ".join(
        f"{share:.1f} % ({high:.1f} + {low:.1f}) {width:.1f}"
        for share, width, high, low in (found[k] for k in kinds)
    )
    print(f"| {100 * true_rate(quality, CLOSE):.1f} % | {prompts:,} x {seeds} | {cells} |", flush=True)
    for kind in kinds[:2]:
        assert 94 - 3 * 0.35 < found[kind][0] < 96 + 3 * 0.35
    assert seeds == 1 or found["pairs"][0] < 90


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize("prompts", [6, 8, 10, 12, 20, 30, 50])
def test_with_few_prompts_more_than_5_percent_of_equals_are_called_better_or_worse(prompts, seeds):
    """10,000 benchmarks a cell: standard error .22 points at 5 %. Run with -s for the table of docs/statistics.md."""
    found = covered(0.0, prompts, seeds, 10_000, ["percentile", "bca"])
    wrong = {kind: 100 - cell[0] for kind, cell in found.items()}
    print(f"| {prompts} x {seeds} | {wrong['percentile']:.1f} % | {wrong['bca']:.1f} % |", flush=True)
    assert wrong["percentile"] < 8.5
    assert wrong["bca"] < 7
    if seeds == 4 and 8 <= prompts <= 20:
        assert wrong["percentile"] > 5.8, "as the warning few_prompts says"


def listed_twice(table, rename):
    """The table, and all of it again under other prompt ids."""
    again = table.assign(prompt_id=table["prompt_id"] + "/again", prompt=table["prompt"].map(rename))
    return check_scores(pd.concat([table, again], ignore_index=True))


def test_results_know_a_repeated_prompt_by_its_text_and_not_by_its_id():
    """All prompts under two ids: the same interval. Other texts with the same scores: narrower by sqrt(2)."""
    rng = np.random.default_rng(0)
    columns = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]
    rows = [(c, f"p{p}", f"text {p}", 0, "x", rng.normal()) for c in ("base", "dpo") for p in range(200)]
    table = check_scores(pd.DataFrame(rows, columns=columns))
    once, same, other = (
        summarise(t, electorate={"voters": ["x"]}, checkpoints=["base", "dpo"], resamples=4000)[
            "comparisons"
        ][0]
        for t in (table, listed_twice(table, str), listed_twice(table, lambda text: f"{text} again"))
    )
    assert [entry["prompts"] for entry in (once, same, other)] == [200, 200, 400]
    assert same["ci95"] == pytest.approx(once["ci95"])
    widths = [entry["ci95"][1] - entry["ci95"][0] for entry in (once, other)]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(2), rel=0.06)


def hpdv2_scores(prompts, rng):
    """Two checkpoints on the real prompts; the same text gives the same picture, so the same score."""
    texts = sorted({prompt.text for prompt in prompts})
    scores = {name: dict(zip(texts, rng.normal(size=len(texts)), strict=True)) for name in ("base", "dpo")}
    rows = [
        (name, prompt.id, prompt.text, 0, "x", scores[name][prompt.text])
        for name in scores
        for prompt in prompts
    ]
    columns = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]
    return check_scores(pd.DataFrame(rows, columns=columns))


def test_hpdv2_s_repeated_prompts_are_one_cluster_each(reference_data):
    """3,200 rows, 3,172 texts. Where each row were a cluster, the repeated ones would count as independent: by the sum of
    squared cluster sizes the standard error would be sqrt(3200 / sum) of what it is: 1.1 % less."""
    prompts = load_prompt_set("hpdv2", reference_data).prompts
    table = hpdv2_scores(prompts, np.random.default_rng(0))
    found = summarise(table, electorate={"voters": ["x"]}, checkpoints=["base", "dpo"], resamples=4000)
    entry = found["comparisons"][0]
    assert (len(prompts), entry["pairs"], entry["prompts"]) == (3200, 3200, 3172)
    assert (found["suite"]["prompts"], found["suite"]["distinct_prompts"]) == (3200, 3172)

    wide = table.pivot(index=["prompt_id", "prompt"], columns="checkpoint", values="score").reset_index()
    votes = np.sign(wide["dpo"] - wide["base"]).astype(int).to_numpy()[:, None]
    by_text, by_row = (
        tally(votes, None, labels, resamples=4000, rng=np.random.default_rng(1))[0][0].ci95
        for labels in (wide["prompt"].to_numpy(dtype=object), wide["prompt_id"].to_numpy(dtype=object))
    )
    sizes = wide.groupby("prompt").size()
    expected = np.sqrt(3200 / (sizes**2).sum())
    assert expected == pytest.approx(1 - 0.0108, abs=1e-4)
    ratio = (by_row[1] - by_row[0]) / (by_text[1] - by_text[0])
    assert ratio == pytest.approx(expected, abs=0.04)
