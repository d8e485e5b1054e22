import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores
from prefbench.bench.terminal import print_results

SCORERS = ["mini:pickscore", "mini:hpsv2.1", "mini:imagereward", "mini:clip", "[bold]odd", "truth"]


def results_of(checkpoints, prompts=40, scale=1.0):
    rng = np.random.default_rng(0)
    rows = [
        (c, f"p{p}", f"t{p}", 0, k, scale * (i + rng.normal()), "one")
        for i, c in enumerate(checkpoints)
        for p in range(prompts)
        for k in SCORERS
    ]
    columns = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score", "category"]
    return summarise(
        check_scores(pd.DataFrame(rows, columns=columns)),
        electorate={"voters": SCORERS[:-1], "held_out": ["truth"]},
        checkpoints=list(checkpoints),
        resamples=1000,
    )


def printed(results, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_results(console, results)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_every_win_rate_of_every_comparison_stands_whole_on_a_line(width):
    results = results_of(["base", "sft", "diffusion_dpo", "diffusion_dpo_lora"])
    text = printed(results, width)
    assert max(map(len, text.splitlines())) <= width
    for entry in results["comparisons"]:
        if entry["slice"] == "all":
            low, high = (100 * x for x in entry["ci95"])
            assert f"{100 * entry['win_rate']:.1f} [{low:.1f}, {high:.1f}]" in text


def test_comparisons_with_the_baseline_come_before_those_head_to_head():
    lines = [line.split("  ")[0] for line in printed(results_of(["base", "sft", "dpo"])).splitlines()]
    start = lines.index("majority vote")
    wanted = ["sft over base", "dpo over base", "head to head", "dpo over sft"]
    assert [line.strip() for line in lines[start + 1 : start + 5]] == wanted


def test_names_are_printed_as_they_are_and_not_as_markup():
    assert "[bold]odd" in printed(results_of(["base", "dpo"]))


def test_a_mark_and_not_colour_alone_tells_a_decided_interval():
    results = results_of(["base", "dpo", "dpo2"])
    text = printed(results)
    for entry in results["comparisons"]:
        if entry["slice"] == "all":
            mark = "+" if entry["ci95"][0] > 0.5 else "-" if entry["ci95"][1] < 0.5 else " "
            assert f"{mark} {100 * entry['win_rate']:.1f} [" in text


def test_every_exact_bound_is_marked_and_the_mark_explained():
    """12 prompts: some scorers have fewer than 5 off the commonest outcome, others not."""
    results = results_of(["base", "dpo"], prompts=12)
    text = printed(results)
    methods = set()
    for entry in results["comparisons"]:
        if entry["slice"] == "all":
            low, high = (100 * x for x in entry["ci95"])
            mark = "†" if entry["ci_method"] == "exact" else " "
            assert f"{100 * entry['win_rate']:.1f} [{low:.1f}, {high:.1f}]{mark}" in text
            methods.add(entry["ci_method"])
    assert methods == {"exact", "bootstrap"}
    assert "†: an exact bound and no bootstrap" in text
    assert "†" not in printed(results_of(["base", "dpo"], prompts=200))


def test_one_comparison_has_its_permutation_test_and_effect_sizes_below_the_table():
    results = results_of(["base", "dpo"])
    whole = [e for e in results["comparisons"] if e["slice"] == "all"]
    flat = " ".join(printed(results).split())
    p = whole[0]["permutation_p_value"]
    assert f"Permutation test of the vote: p {'<0.001' if p < 0.001 else f'{p:.3f}'}." in flat
    for entry in whole[1:]:
        assert f"{entry['scorer']} {entry['effect_size']:+.2f}" in flat
    assert "Effect sizes" not in printed(results_of(["base", "dpo"], prompts=1)), "one prompt has no spread"


def test_one_prompt_says_that_there_is_no_interval():
    assert "[n/a: 1 prompt]" in printed(results_of(["base", "dpo"], prompts=1))


@pytest.mark.parametrize(
    ("difference", "ci95", "shown"),
    [
        (-0.003678, [-0.00715, -0.00047], "-0.0037 [-0.0072, -0.0005]"),
        (0.12712, [0.0252, 0.2232], "+0.127 [+0.025, +0.223]"),
        (1234.5, [1100.0, 1400.0], "+1234 [+1100, +1400]"),
        (0.0, [0.0, 0.0], "+0.000 [+0.000, +0.000]"),
        (0.5, None, "+0.50 [n/a: 1 prompt]"),
    ],
)
def test_differences_are_shown_to_two_figures_of_their_uncertainty(difference, ci95, shown):
    results = results_of(["base", "dpo"])
    entry = next(e for e in results["comparisons"] if e["scorer"] == "truth" and e["slice"] == "all")
    entry |= {"mean_difference": difference, "mean_difference_ci95": ci95}
    assert shown in printed(results)
