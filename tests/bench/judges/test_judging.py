"""The whole judgement: by hand, what must not move it, and data on the edge."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.judges.choices import HumanChoices
from prefbench.bench.judges.credit import LOGIT_GRID, best_threshold, points
from prefbench.bench.judges.judging import judge
from prefbench.bench.judges.opening import open_choices
from prefbench.bench.judges.printing import markdown
from prefbench.bench.judges.scoring import JudgedScores, recorded_scores
from prefbench.bench.judges.sheets import headline, statements

RESAMPLES = 200


def pairs_of(labels: list[float], prompts: list[str]) -> HumanChoices:
    """One annotator; labels 1, 0.5, 0 of the first image."""
    n, first = len(labels), np.array(labels)
    return HumanChoices(
        "here",
        "pairs",
        [text for text in prompts for _ in (0, 1)],
        np.repeat(np.arange(n), 2),
        np.stack([first, 1 - first], axis=1).reshape(1, -1),
        np.arange(2 * n).reshape(n, 2),
        "majority",
        comparable=False,
        names=[str(k) for k in range(2 * n)],
    )


def scored(name: str, gaps: list[float], logits: bool = False) -> JudgedScores:
    """A scorer with these differences between first and second image."""
    values = np.stack([np.array(gaps), np.zeros(len(gaps))], axis=1).ravel()
    return JudgedScores(name, values, {"name": name, "recorded_in": "here", "direction": "higher"}, logits)


def accuracy(results: dict[str, Any], scorer: str, ties: str) -> dict[str, Any]:
    return next(e for e in results["accuracy"] if (e["scorer"], e["ties"]) == (scorer, ties))


def test_three_rules_on_four_prompts_by_hand() -> None:
    """People: first, second, tie, first. The scorer: right, wrong, right-sided, equal scores.

    Left out: 1 + 0 + 1/2 of 3. Half: 1 + 0 + 1/2 + 1/2 of 4. Who always says tie gets (1 + 3/2) / 4 by PickScore's rule.
    """
    choices = pairs_of([1, 0, 0.5, 1], ["a", "b", "c", "d"])
    results = judge(choices, [scored("s", [2, 1, 3, 0])], resamples=RESAMPLES)
    left_out, half = accuracy(results, "s", "left_out"), accuracy(results, "s", "half")
    assert (left_out["accuracy"], left_out["pairs"], left_out["prompts"]) == (0.5, 3, 3)
    assert (left_out["right"], left_out["half"], left_out["wrong"]) == (1, 1, 1)
    assert (half["accuracy"], half["pairs"]) == (0.5, 4)
    assert accuracy(results, "s", "pickscore")["no_opinion"] == 0.625
    assert results["agreement"]["ties"] == [0.25]


def test_validation_data_give_one_threshold_and_it_is_pickscores_for_logits() -> None:
    rng = np.random.default_rng(0)
    labels, gaps = rng.choice([0, 0.5, 1], 60).tolist(), rng.normal(size=60).tolist()
    choices = pairs_of([0.5, 1, 0], ["a", "b", "c"])
    others = pairs_of(labels, [f"v{k}" for k in range(60)])
    for logits, grid in ((True, LOGIT_GRID), (False, None)):
        judged = [scored("s", [0.1, 2, -2], logits)]
        results = judge(
            choices, judged, validation=(others, [scored("s", gaps, logits)]), resamples=RESAMPLES
        )
        best = best_threshold(others.people(), gaps, grid)
        stated = results["tie_thresholds"]["scorers"]["s"]
        assert stated["differences"] == [best if np.isfinite(best) else None]
        assert (stated["probabilities"] is None) == (not logits)
        expected = (1 + points(choices.people(), [0.1, 2, -2], best).mean()) / 2
        assert accuracy(results, "s", "pickscore")["accuracy"] == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1))
def test_neither_order_of_rows_nor_a_monotone_scale_moves_a_number(seed: int) -> None:
    """Differences are doubled, so a threshold doubles too; the order of annotators' sheets means nothing."""
    rng = np.random.default_rng(seed)
    labels, gaps = rng.choice([0, 0.5, 1], 24), rng.integers(-3, 4, 24).astype(float)
    prompts = np.array([f"p{k % 6}" for k in range(24)])
    order = rng.permutation(24)
    whole = judge(pairs_of(labels.tolist(), prompts.tolist()), [scored("s", gaps.tolist())], resamples=5)
    other = judge(
        pairs_of(labels[order].tolist(), prompts[order].tolist()),
        [scored("s", (2 * gaps[order]).tolist())],
        resamples=5,
    )
    for one, two in zip(whole["accuracy"], other["accuracy"], strict=True):
        assert (one["right"], one["half"], one["wrong"]) == (two["right"], two["half"], two["wrong"])


@given(st.integers(0, 2**32 - 1))
def test_a_scorer_turned_round_is_right_where_it_was_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, gaps = rng.choice([0, 0.5, 1], 20).tolist(), rng.integers(-2, 3, 20).astype(float)
    choices = pairs_of(labels, [f"p{k % 5}" for k in range(20)])
    results = judge(choices, [scored("up", gaps.tolist()), scored("down", (-gaps).tolist())], resamples=5)
    for rule in {entry["ties"] for entry in results["accuracy"]} - {"pickscore"}:
        up, down = accuracy(results, "up", rule), accuracy(results, "down", rule)
        assert up["accuracy"] + down["accuracy"] == pytest.approx(1)
        assert (up["right"], up["half"]) == (down["wrong"], down["half"])


def test_pairs_of_one_prompt_are_one_cluster() -> None:
    """20 prompts with one pair each, or each pair told five times over: the accuracy and its interval stay."""
    rng = np.random.default_rng(3)
    labels, gaps = rng.choice([0, 1], 20).tolist(), rng.normal(size=20).tolist()
    prompts = [f"p{k}" for k in range(20)]
    once = judge(pairs_of(labels, prompts), [scored("s", gaps)], resamples=RESAMPLES)
    often = judge(pairs_of(labels * 5, prompts * 5), [scored("s", gaps * 5)], resamples=RESAMPLES)
    one, five = accuracy(once, "s", "left_out"), accuracy(often, "s", "left_out")
    assert five["pairs"] == 5 * one["pairs"]
    assert (one["accuracy"], one["ci95"]) == (five["accuracy"], pytest.approx(five["ci95"]))


def test_data_without_ties_has_one_accuracy_and_no_threshold() -> None:
    results = judge(pairs_of([1, 0, 1], ["a", "b", "c"]), [scored("s", [1, 1, 1])], resamples=RESAMPLES)
    assert [entry["ties"] for entry in results["accuracy"]] == ["left_out"]
    assert results["tie_thresholds"] is None
    assert "| scorer | accuracy |" in markdown(results)


def test_one_prompt_has_no_interval_and_no_threshold_and_says_why() -> None:
    results = judge(pairs_of([1, 0.5], ["a", "a"]), [scored("s", [1, 1])], resamples=RESAMPLES)
    assert [(e["ties"], e["ci95"], e["ci_method"]) for e in results["accuracy"]] == [
        ("left_out", None, "none"),
        ("half", None, "none"),
    ]
    assert "other prompts" in results["tie_thresholds"]["reason"]
    assert any(text.startswith("One prompt") for text in results["warnings"])
    assert "n/a" in markdown(results)


def test_a_constant_scorer_is_said_to_have_no_opinion() -> None:
    choices = pairs_of([1, 0, 1, 0.5], ["a", "b", "c", "d"])
    results = judge(choices, [scored("flat", [0] * 4), scored("s", [1, -1, 1, 1])], resamples=RESAMPLES)
    assert accuracy(results, "flat", "left_out")["accuracy"] == 0.5
    assert any("no opinion: flat" in text for text in results["warnings"])
    assert results["leads"] == [{"a": "s", "b": "flat", "difference": 0.5, "ci95": [0.5, 0.5]}]


def test_people_who_tie_everything_leave_no_accuracy_with_ties_left_out() -> None:
    results = judge(pairs_of([0.5] * 3, ["a", "b", "c"]), [scored("s", [1, -1, 1])], resamples=RESAMPLES)
    assert {entry["ties"] for entry in results["accuracy"]} == {"half", "pickscore"}
    assert any("tied every pair" in text for text in results["warnings"])
    assert "Accuracy" in markdown(results)


def test_a_lead_is_the_difference_of_the_two_accuracies_with_its_own_interval() -> None:
    rng = np.random.default_rng(5)
    labels = rng.choice([0, 1], 200)
    truth = 2 * labels - 1
    good, poor = (truth * rng.choice([1, -1], 200, p=[share, 1 - share]) for share in (0.9, 0.6))
    choices = pairs_of(labels.tolist(), [f"p{k}" for k in range(200)])
    results = judge(
        choices, [scored("poor", poor.tolist()), scored("good", good.tolist())], resamples=RESAMPLES
    )
    (lead,) = results["leads"]
    rates = {name: accuracy(results, name, "left_out")["accuracy"] for name in ("good", "poor")}
    assert (lead["a"], lead["difference"]) == ("good", pytest.approx(rates["good"] - rates["poor"]))
    assert 0 < lead["ci95"][0] < lead["difference"] < lead["ci95"][1]


def test_tifas_recorded_scores_judged_as_the_documentation_says(reference_data: Path) -> None:
    names = ["clipscore_vitb32", "tifa_mplug-large", "bleu"]
    path = reference_data / "human_ratings" / "tifa_human_annotations_with_scores.json"
    choices = open_choices(str(path), scored=names, images=False)
    results = judge(choices, recorded_scores(choices, [(name, True) for name in names]), resamples=RESAMPLES)
    rates = {(e["scorer"], e["ties"]): round(100 * e["accuracy"], 1) for e in results["accuracy"]}
    assert rates["clipscore_vitb32", "left_out"] == 69.5
    assert rates["tifa_mplug-large", "left_out"] == 68.1
    assert rates["tifa_mplug-large", "pickscore"] == 72.2
    assert rates["bleu", "pickscore"] == 67.5
    assert (results["data"]["ties"], results["data"]["pairs"]) == (564, 1600)
    assert round(100 * results["people"]["one"]["who"]["a person"]["agreement"], 1) == 81.8


def test_a_recorded_score_of_which_lower_is_better_is_turned_round() -> None:
    choices = pairs_of([1, 0], ["a", "b"])
    with_fid = HumanChoices(**{**vars(choices), "recorded": {"fid": np.array([3.0, 9.0, 9.0, 3.0])}})
    results = judge(with_fid, recorded_scores(with_fid, [("fid", False)]), resamples=RESAMPLES)
    assert accuracy(results, "fid", "left_out")["accuracy"] == 1
    assert results["scorers"]["fid"]["direction"] == "lower"


def test_scorers_that_are_level_are_named_together_and_none_is_most() -> None:
    """Both are right on three of four prompts, on different ones; the third is right on two."""
    choices = pairs_of([1, 1, 1, 1], ["a", "b", "c", "d"])
    judged = [scored("x", [1, 1, 1, -1]), scored("y", [-1, 1, 1, 1]), scored("z", [-1, 1, 1, -1])]
    said = " ".join(statements(judge(choices, judged, resamples=RESAMPLES)))
    assert said.startswith("x and y agree with people equally often: on 75.0 % of 4 pairs")
    assert "most" not in said
    assert "x is not told apart from z." in said
    alone = " ".join(statements(judge(choices, judged[1:], resamples=RESAMPLES)))
    assert alone.startswith("y agrees with people most: on 75.0 [")


def test_pickscores_rule_names_another_scorer_only_where_it_is_ahead() -> None:
    """y is first with ties left out. By PickScore's rule x, named before it, is made level with it, then first."""
    choices = pairs_of([1, 0.5, 1], ["a", "b", "c"])
    results = judge(choices, [scored("x", [2, 1, -2]), scored("y", [3, 1, 3])], resamples=RESAMPLES)
    said = []
    for share in (0.8, 0.9):
        accuracy(results, "x", "pickscore")["accuracy"] = share
        accuracy(results, "y", "pickscore")["accuracy"] = 0.8
        said.append(" ".join(statements(results)))
    assert "With ties as PickScore" not in said[0]
    assert "With ties as PickScore counts them, x is first: 90.0" in said[1]


def test_no_zero_has_a_sign() -> None:
    """Scorers that always agree: their difference is 0 both ways round, and so are its limits."""
    choices = pairs_of([1, 0, 1], ["a", "b", "c"])
    results = judge(choices, [scored("x", [1, 1, -1]), scored("y", [2, 2, -2])], resamples=RESAMPLES)
    page = markdown(results)
    assert "| y | 0.0 [0.0, 0.0] |" in page
    assert "-0.0" not in page
    assert "-0.0" not in json.dumps(results)


def test_people_who_tie_every_pair_are_said_to() -> None:
    results = judge(pairs_of([0.5] * 3, ["a", "b", "c"]), [scored("s", [1, -1, 1])], resamples=RESAMPLES)
    assert statements(results)[0].startswith("People tied every pair")
    assert "\n\n\n" not in markdown(results)


def test_one_of_a_thing_is_not_several() -> None:
    choices = pairs_of([1, 0.5], ["a", "b"])
    choices.left_out["pairs of identical images"] = 1  # type: ignore[index]
    results = judge(choices, [scored("s", [1, -1])], resamples=RESAMPLES)
    text = " ".join(headline(results))
    assert "1 of 2 pairs (50.0 %) is a tie" in text
    assert "Left out: 1 pair of identical images." in text
