"""Verdicts and warnings on tables made so that exactly the thing in question is wrong."""

import re

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.gate.claims import Claim
from prefbench.bench.gate.wording import estimate_text
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores
from prefbench.bench.verdict import difference_text, interval_text, outcome

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]


def from_quality(quality, *, prompts=120, seeds=1, noise=1.0, seed=0):
    """A table in which scorer k gives checkpoint c its `quality[c][k]` plus noise."""
    rng = np.random.default_rng(seed)
    rows = [
        (c, f"p{p}", f"text {p}", s, k, mean + noise * rng.normal())
        for p in range(prompts)
        for s in range(seeds)
        for c, scorers in quality.items()
        for k, mean in scorers.items()
    ]
    return check_scores(pd.DataFrame(rows, columns=COLUMNS))


def judge(table, voters="xyz", held_out=(), checkpoints=None, **more):
    return summarise(
        table,
        electorate={"voters": list(voters), "held_out": list(held_out)},
        checkpoints=checkpoints or list(dict.fromkeys(table["checkpoint"])),
        resamples=1000,
        **more,
    )


def kinds(results):
    return [warning["kind"] for warning in results["warnings"]]


def same(value, scorers="xyz"):
    return dict.fromkeys(scorers, value)


@pytest.mark.parametrize(
    ("ci95", "expected"),
    [
        ([0.51, 0.6], "better"),
        ([0.4, 0.49], "worse"),
        ([0.49, 0.51], "open"),
        ([0.5, 0.6], "open"),
        ([0.4, 0.5], "open"),
        (None, "open"),
    ],
)
def test_outcome_needs_an_interval_that_leaves_out_50_percent(ci95, expected):
    assert outcome(ci95) == expected


def test_sentences_say_who_wins_how_often_of_how_many_with_the_interval():
    found = judge(from_quality({"base": same(0), "dpo": same(2), "bad": same(-2), "same": same(0)}))
    sentences = {(v["a"], v["b"]): (v["outcome"], v["sentence"]) for v in found["verdicts"]}
    vote = next(
        e for e in found["comparisons"] if (e["a"], e["b"], e["scorer"]) == ("dpo", "base", "majority")
    )
    low, high = (100 * x for x in vote["ci95"])
    assert sentences["dpo", "base"] == (
        "better",
        f"dpo beats base: {100 * vote['win_rate']:.1f} % of 120 prompts [{low:.1f}, {high:.1f}], by the "
        "vote of 3 scorers.",
    )
    assert sentences["bad", "base"][0] == "worse"
    assert sentences["bad", "base"][1].startswith("bad loses to base: it wins ")
    assert sentences["same", "base"][0] == "open"
    assert sentences["same", "base"][1].endswith("the interval includes 50 %.")


def test_an_end_of_an_interval_shows_on_which_side_of_50_percent_it_lies():
    assert interval_text([0.5003, 0.61]) == "[50.03, 61.0]"
    assert interval_text([0.39, 0.499999]) == "[39.0, 49.9999]"
    assert interval_text([0.5, 0.61]) == "[50.0, 61.0]", "this one includes it"
    asked = Claim(0, "not_worse", "win rate", 0.47, True)
    assert estimate_text(asked, 0.53, (0.47004, 0.6)) == "53.0 % [47.004, 60.0]", (
        "a gate asks for another share"
    )


def test_sentences_tell_pairs_from_prompts_and_name_ties_and_a_lone_voter():
    found = judge(from_quality({"base": same(0, "x"), "dpo": same(0, "x")}, seeds=3, noise=0), voters="x")
    assert "50.0 % of 360 pairs over 120 prompts" in found["verdicts"][0]["sentence"]
    assert "ties (100.0 %) counted half, by x alone" in found["verdicts"][0]["sentence"]


def test_a_winner_whom_a_held_out_scorer_contradicts_is_marked_in_the_verdict():
    quality = {
        "base": same(0) | {"truth": 0},
        "hacked": same(2) | {"truth": -2},
        "good": same(2) | {"truth": 2},
    }
    found = judge(from_quality(quality), held_out=["truth"])
    hacking = [w for w in found["warnings"] if w["kind"] == "reward_hacking"]
    assert [w["checkpoints"] for w in hacking] == [["hacked", "base"]]
    assert "hacked wins the vote against base" in hacking[0]["text"]
    assert "held-out truth" in hacking[0]["text"]
    caveats = {(v["a"], v["b"]): v["caveats"] for v in found["verdicts"]}
    assert caveats["hacked", "base"] == [hacking[0]["text"]]
    assert caveats["good", "base"] == []


def test_contradiction_is_found_from_the_baseline_s_side_too_with_rates_turned_round():
    quality = {"hacked": same(2) | {"truth": -2}, "base": same(0) | {"truth": 0}}
    found = judge(from_quality(quality), held_out=["truth"])
    warning = next(w for w in found["warnings"] if w["kind"] == "reward_hacking")
    vote = next(e for e in found["comparisons"] if e["scorer"] == "majority")
    assert warning["checkpoints"] == ["hacked", "base"]
    assert f"hacked wins the vote against base ({100 * (1 - vote['win_rate']):.1f} %" in warning["text"]


def test_an_uncertain_held_out_scorer_is_no_contradiction():
    quality = {"base": same(0) | {"truth": 0}, "dpo": same(2) | {"truth": -0.02}}
    assert "reward_hacking" not in kinds(judge(from_quality(quality), held_out=["truth"]))


def test_more_wins_against_the_baseline_and_yet_beaten_head_to_head():
    """Of ten prompts, seven give base, sft, dpo the scores 1, 2, 3 and three give 2, 3, 1."""
    rows = []
    for p in range(200):
        values = (1.0, 2.0, 3.0) if p % 10 < 7 else (2.0, 3.0, 1.0)
        rows += [
            (c, f"p{p}", f"t{p}", 0, "x", v) for c, v in zip(("base", "sft", "dpo"), values, strict=True)
        ]
    found = judge(check_scores(pd.DataFrame(rows, columns=COLUMNS)), voters="x")
    warning = next(w for w in found["warnings"] if w["kind"] == "head_to_head")
    assert warning["checkpoints"] == ["dpo", "sft"]
    assert warning["text"].startswith("sft wins more often against base (100.0 %) than dpo does (70.0 %)")
    assert next(v for v in found["verdicts"] if (v["a"], v["b"]) == ("dpo", "sft"))["caveats"] == [
        warning["text"]
    ]


def test_one_training_seed_speaks_of_checkpoints_and_two_seeds_do_not():
    table = from_quality({"base": same(0), "dpo_0": same(1), "dpo_1": same(1), "sft": same(1)})
    training = {"base": None, "dpo_0": ("dpo", 0), "dpo_1": ("dpo", 1), "sft": ("sft", 0)}
    infos = {c: {"training": t and {"method": t[0], "seed": t[1]}} for c, t in training.items()}
    found = judge(table, checkpoints=infos)
    assert [w["checkpoints"] for w in found["warnings"] if w["kind"] == "one_training_seed"] == [["sft"]]
    assert "one_training_seed" not in kinds(judge(table))


def test_few_prompts_are_told_with_their_half_width():
    """1.96 sqrt(.25 / 25) = 19.6 points."""
    few = judge(from_quality({"a": same(0), "b": same(1)}, prompts=25, seeds=8))
    assert "±20 points" in next(w["text"] for w in few["warnings"] if w["kind"] == "few_prompts")
    for prompts, told in ((12, True), (40, False)):
        close = judge(from_quality({"a": same(0), "b": same(0.1)}, prompts=prompts, seeds=4))
        text = next(w["text"] for w in close["warnings"] if w["kind"] == "few_prompts")
        assert ("fewer than 30 prompts are too narrow" in text) is told
    assert "few_prompts" not in kinds(judge(from_quality({"a": same(0), "b": same(1)}, prompts=100)))


def test_electorates_of_one_and_of_even_number_and_prompt_blind_voters_are_marked():
    table = from_quality({"a": same(0, "wxyz"), "b": same(1, "wxyz")})
    assert "even_electorate" in kinds(judge(table, voters="wxyz"))
    assert "even_electorate" not in kinds(judge(table, voters="xyz", held_out="w"))
    assert "one_voter" in kinds(judge(table, voters="x", held_out="wyz"))
    blind = judge(
        table, voters="xyz", held_out="w", scorers={"x": {"prompt_blind": True}, "w": {"prompt_blind": True}}
    )
    texts = [w["text"] for w in blind["warnings"] if w["kind"] == "prompt_blind_voter"]
    assert len(texts) == 1, "a held-out scorer may be prompt-blind"
    assert texts[0].startswith("x votes without seeing the prompt")


def test_voters_that_repeat_one_another_are_told():
    table = from_quality({"a": same(0, "x"), "b": same(0, "x")})
    copies = pd.concat(
        [table.assign(scorer=k, score=table["score"] * i) for i, k in enumerate("xyz", start=1)]
    )
    found = judge(copies.reset_index(drop=True))
    assert found["agreement"]["effective_voters"] == pytest.approx(1.0)
    assert "3 voters are worth about 1.0 independent ones" in str(found["warnings"])
    assert "dependent_voters" not in kinds(judge(from_quality({"a": same(0), "b": same(0)})))


def test_many_ties_and_unequal_seeds_and_slices_are_told():
    coarse = from_quality({"a": same(0), "b": same(0)}, seeds=2)
    coarse = coarse.assign(score=coarse["score"].round(0) // 3)
    told = " ".join(w["text"] for w in judge(coarse)["warnings"] if w["kind"] == "many_ties")
    for who in ("The vote", "x", "y", "z"):
        assert re.search(rf"\b{who}\b[^.]* on \d+ % of pairs", told), who
    uneven = coarse[(coarse["seed"] == 0) | (coarse["prompt_id"] == "p1")].reset_index(drop=True)
    assert "unequal_seeds" in kinds(judge(uneven))
    assert "exploratory_slices" in kinds(judge(coarse.assign(category="one")))
    assert not {"unequal_seeds", "exploratory_slices"} & set(kinds(judge(coarse)))


def test_copies_of_a_checkpoint_tie_in_one_sentence_and_their_interval_is_explained():
    """120 prompts, none decided: u = 1 - 0.025^(1/120) = .0303, and the interval is 1/2 -+ u/2."""
    one = from_quality({"a": same(0)})
    found = judge(pd.concat([one, one.assign(checkpoint="b")]).reset_index(drop=True))
    ties = [w["text"] for w in found["warnings"] if w["kind"] == "many_ties"]
    assert len(ties) == 1
    assert ties[0].startswith("The vote, x, y, z tie on 100 % of pairs (b against a)")
    exact = [w["text"] for w in found["warnings"] if w["kind"] == "exact_interval"]
    assert len(exact) == 1
    assert "b over a [48.5, 51.5] is an exact bound over prompts" in exact[0]


def test_a_difference_that_decimals_would_show_as_zeros_has_an_exponent():
    assert difference_text(1.23e-9, [-1e-9, 3.4e-9]) == "+1.2e-09 [-1.0e-09, +3.4e-09]"
    assert difference_text(4e-4, [4e-4, 4e-4]) == "+4.0e-04 [+4.0e-04, +4.0e-04]", "constant"
    assert difference_text(0.0, [0.0, 0.0]) == "+0.000 [+0.000, +0.000]"
    assert difference_text(5.0, [5 - 1e-12, 5 + 1e-12]) == "+5.00000000 [+5.00000000, +5.00000000]"
