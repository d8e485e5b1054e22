"""The agreement block on tables made by hand, and what is said of voters with one backbone."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from prefbench.bench import agreement_block as block
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores


def table(scores, checkpoints=("base", "new")):
    """Scores, scorer -> (checkpoints, prompts)."""
    rows = [
        (checkpoint, f"p{k:03d}", f"text {k}", 0, scorer, value)
        for scorer, values in scores.items()
        for checkpoint, row in zip(checkpoints, values, strict=True)
        for k, value in enumerate(row)
    ]
    return check_scores(
        pd.DataFrame(rows, columns=["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"])
    )


def judge(scores, held_out=(), checkpoints=("base", "new"), **more):
    return summarise(
        table(scores, checkpoints),
        electorate={"voters": [name for name in scores if name not in held_out], "held_out": list(held_out)},
        checkpoints=list(checkpoints),
        resamples=1000,
        **more,
    )


def random_scores(names, checkpoints=2, prompts=60, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(checkpoints, prompts)) for name in names}


def family_warnings(results):
    return [warning["text"] for warning in results["warnings"] if warning["kind"] == "same_backbone"]


def test_tau_is_that_of_the_paired_differences_averaged_over_the_comparisons():
    scores = random_scores("xyz", checkpoints=3)
    found = judge(scores, held_out="z", checkpoints=("a", "b", "c"))["agreement"]
    pairs = [(1, 0), (2, 0), (2, 1)]
    expected = np.mean(
        [
            [
                [
                    kendalltau(scores[x][i] - scores[x][j], scores[y][i] - scores[y][j]).statistic
                    for y in "xyz"
                ]
                for x in "xyz"
            ]
            for i, j in pairs
        ],
        axis=0,
    )
    assert np.array(found["kendall_tau"]) == pytest.approx(expected)
    assert found["kendall_pairs"] == 60


def test_a_scorer_whose_lower_value_is_better_is_turned_round():
    scores = random_scores("x")
    scores["y"] = -scores["x"]
    found = judge(scores, scorers={"y": {"direction": "lower"}})["agreement"]
    assert found["kendall_tau"][0][1] == pytest.approx(1)
    assert found["krippendorff_alpha"] == 1


def test_tau_is_null_where_a_scorer_sees_no_difference_and_skips_a_comparison_of_copies():
    scores = random_scores("xy", checkpoints=3)
    for values in scores.values():
        values[2] = values[1]
    scores["z"] = np.zeros((3, 60))
    found = judge(scores, checkpoints=("a", "b", "copy of b"))["agreement"]["kendall_tau"]
    assert found[2] == [None, None, None]
    both = kendalltau(*(scores[name][1] - scores[name][0] for name in "xy")).statistic
    assert found[0][1] == pytest.approx(both), "two equal comparisons count, the third has no order"


def test_beyond_the_limit_tau_looks_at_pairs_evenly_spread_and_says_how_many(monkeypatch):
    monkeypatch.setattr(block, "KENDALL_PAIRS", 10)
    scores = random_scores("xy", prompts=91)
    found = judge(scores)["agreement"]
    gaps = [scores[name][1] - scores[name][0] for name in "xy"]
    assert found["kendall_pairs"] == 10
    assert found["kendall_tau"][0][1] == pytest.approx(kendalltau(*(gap[::10] for gap in gaps)).statistic)


def test_alpha_is_of_the_voters_alone():
    scores = random_scores("xy")
    scores["truth"] = scores["x"]
    with_it, without = judge(scores, held_out=["truth"]), judge({name: scores[name] for name in "xy"})
    assert with_it["agreement"]["krippendorff_alpha"] == without["agreement"]["krippendorff_alpha"]
    assert with_it["agreement"]["krippendorff_ci95"] == without["agreement"]["krippendorff_ci95"]
    low, high = without["agreement"]["krippendorff_ci95"]
    assert low < without["agreement"]["krippendorff_alpha"] < high
    alone = judge({"x": scores["x"]})["agreement"]
    assert (alone["krippendorff_alpha"], alone["krippendorff_ci95"]) == (None, None)


def test_registered_names_of_a_bare_table_are_recognised_and_told():
    """PickScore and HPSv2 were made from one CLIP; copies of one another agree on all pairs."""
    scores = random_scores(["pickscore", "hpsv2.1@fp16", "mine"])
    scores["hpsv2.1@fp16"] = scores["pickscore"]
    scores["aesthetic.v2"] = -scores["mine"]
    found = judge(scores)
    assert found["agreement"]["families"] == {"CLIP ViT-H/14 (LAION-2B)": ["pickscore", "hpsv2.1@fp16"]}
    assert found["agreement"]["prompt_blind"] == ["aesthetic.v2"]
    (text,) = family_warnings(found)
    assert text.startswith("pickscore and hpsv2.1@fp16 were made from one network, CLIP ViT-H/14 (LAION-2B)")
    share = found["agreement"]["same_winner"]
    others = np.mean([share[i][j] for i, j in ((0, 2), (0, 3), (1, 2), (1, 3), (2, 3))])
    assert f"on 100 % of pairs of samples, the other pairs of voters on {100 * others:.0f} %" in text
    assert "prompt_blind_voter" in [warning["kind"] for warning in found["warnings"]]


def test_a_family_of_three_is_told_pair_by_pair():
    found = judge(random_scores(["pickscore", "hpsv2.0", "mps"]))
    (text,) = family_warnings(found)
    share = found["agreement"]["same_winner"]
    assert "counts them as 3" in text
    for i, j, who in (
        (0, 1, "pickscore, hpsv2.0"),
        (0, 2, "pickscore, mps"),
        (1, 2, "hpsv2.0, mps"),
    ):
        assert f"{100 * share[i][j]:.0f} % ({who})" in text


def test_a_held_out_scorer_of_the_family_is_listed_and_no_warning():
    found = judge(random_scores(["pickscore", "mine", "mps"]), held_out=["mps"])
    assert list(found["agreement"]["families"].values()) == [["pickscore", "mps"]]
    assert not family_warnings(found)


def test_what_a_scorer_says_of_itself_goes_before_its_name():
    loaded = {"fingerprint": "0" * 64, "prompt_blind": False}
    told = {
        "pickscore": loaded | {"backbone": None},  # of other sizes: not the published network
        "mps": loaded | {"backbone": "my tower"},
        "acme": loaded | {"backbone": "my tower", "prompt_blind": True},
    }
    found = judge(random_scores(told), scorers=told)["agreement"]
    assert found["families"] == {"my tower": ["mps", "acme"]}
    assert found["prompt_blind"] == ["acme"]
