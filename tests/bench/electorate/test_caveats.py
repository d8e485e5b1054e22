"""Warnings on votes: reward hacking in each of its forms, and scorers that a checkpoint was trained against."""

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.electorate.rules import VotingRules
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]
PROMPTS = 120


def made(quality):
    """Checkpoint -> scorer -> mean score; noise of 1 is added."""
    rng = np.random.default_rng(2)
    rows = [
        (c, f"p{p}", f"text {p}", 0, k, mean + rng.normal())
        for p in range(PROMPTS)
        for c, scorers in quality.items()
        for k, mean in scorers.items()
    ]
    return check_scores(pd.DataFrame(rows, columns=COLUMNS))


def judge(quality, voters, held_out=(), checkpoints=None, **rules):
    return summarise(
        made(quality),
        electorate={"voters": list(voters), "held_out": list(held_out)},
        checkpoints=checkpoints or list(quality),
        rules=VotingRules(**rules),
        resamples=1000,
    )


def warnings_of(results, kind):
    return [w for w in results["warnings"] if w["kind"] == kind]


def voters(value):
    return dict.fromkeys("xyz", value)


@pytest.mark.parametrize("turned", [False, True])
def test_a_vote_that_rises_while_the_known_truth_falls_stands_in_the_verdict(turned):
    quality = {
        "base": voters(0) | {"mini:truth": 0},
        "hacked": voters(1.5) | {"mini:truth": -1.5},
    }
    order = dict(reversed(quality.items())) if turned else quality
    found = judge(order, "xyz", ["mini:truth"])
    (warning,) = warnings_of(found, "reward_hacking")
    assert warning["checkpoints"] == ["hacked", "base"]
    assert warning["text"].startswith("hacked wins the vote against base (")
    assert "but loses by the known truth mini:truth (" in warning["text"]
    assert found["verdicts"][0]["caveats"] == [warning["text"]]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("others", "truth", "falls"),
    [
        (0.0, -1.5, ["the known truth mini:truth"]),
        (-1.5, 0.0, ["the vote of the others"]),
        (-1.5, -1.5, ["the vote of the others", "the known truth mini:truth"]),
        (0.0, 0.0, []),
        (0.0, 1.5, []),
    ],
)
def test_a_reward_that_rises_while_the_truth_or_the_vote_falls_stands_in_the_verdict(
    turned, others, truth, falls
):
    quality = {
        "base": voters(0) | {"mini:truth": 0},
        "refl": voters(others) | {"x": 2.0, "mini:truth": truth},
    }
    order = dict(reversed(quality.items())) if turned else quality
    found = judge(order, "xyz", ["mini:truth"], trained_against={"refl": ["x"]})
    texts = [w["text"] for w in warnings_of(found, "reward_hacking")]
    assert found["verdicts"][0]["caveats"] == texts
    assert len(texts) == bool(falls)
    if falls:
        assert texts[0].startswith("refl wins against base by x (9")
        assert ", which it was trained against, but loses by " in texts[0]
        assert [name for name in ("the vote of the others", "the known truth") if name in texts[0]] == [
            name.removesuffix(" mini:truth") for name in falls
        ]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_who_wins_more_often_but_loses_by_more_is_told_without_a_contradiction_of_the_vote(direction, turned):
    """By t dpo is 0.01 ahead on 160 of 200 prompts and 5 behind on 40: 80 % of wins, and a mean of (1.6 - 200) / 200 = -0.99."""
    sign = 1 if direction == "higher" else -1
    rows = [("base", f"p{k}", f"text {k}", 0, name, 0.0) for k in range(200) for name in "xt"]
    rows += [("dpo", f"p{k}", f"text {k}", 0, "x", 1.0 if k < 160 else -1.0) for k in range(200)]
    rows += [("dpo", f"p{k}", f"text {k}", 0, "t", sign * (0.01 if k < 160 else -5.0)) for k in range(200)]
    found = summarise(
        check_scores(pd.DataFrame(rows, columns=COLUMNS)),
        electorate={"voters": ["x"], "held_out": ["t"]},
        checkpoints=["dpo", "base"] if turned else ["base", "dpo"],
        scorers={"t": {"direction": direction}},
        resamples=1000,
    )
    (warning,) = warnings_of(found, "mean_against_wins")
    assert warning["checkpoints"] == ["dpo", "base"]
    start = "dpo wins more often than base but loses by more, by t (wins 80.0 % ["
    assert warning["text"].startswith(start), "and x, whose mean rises with its wins, is not among them"
    assert f"mean difference {'-' if sign > 0 else '+'}0.99 [" in warning["text"]
    assert ("lower is better" in warning["text"]) == (sign < 0)
    assert warnings_of(found, "reward_hacking") == []
    assert found["verdicts"][0]["caveats"] == []


def test_where_vote_and_reward_both_rise_one_sentence_is_enough():
    quality = {"base": voters(0) | {"t": 0}, "refl": voters(2.0) | {"t": -2.0}}
    found = judge(quality, "xyz", ["t"], trained_against={"refl": ["x"]})
    assert len(warnings_of(found, "reward_hacking")) == 1


def test_a_held_out_scorer_that_was_trained_against_is_no_witness_of_its_own_fall():
    """The reward, held out, rises; the other reward, held out too, falls: nobody else says that refl got worse."""
    quality = {"base": voters(0) | {"r": 0, "s": 0}, "refl": voters(0) | {"r": 2, "s": -2}}
    found = judge(quality, "xyz", ["r", "s"], trained_against={"refl": ["r", "s"]})
    assert warnings_of(found, "reward_hacking") == []
    (warning,) = warnings_of(found, "trained_against")
    assert warning["text"] == "refl was trained against r and s, held out: no independent judge of it."
    assert (
        len(warnings_of(judge(quality, "xyz", ["r", "s"], trained_against={"refl": ["r"]}), "reward_hacking"))
        == 1
    )


def test_the_warning_says_what_the_vote_would_have_been_with_the_scorer():
    """Without x, y and z are left, whose vote does not decide; with it they are outvoted."""
    quality = {"base": voters(0), "refl": {"x": 3.0, "y": 0.4, "z": -0.1}}
    found = judge(quality, "xyz", trained_against={"refl": ["x"]})
    (warning,) = warnings_of(found, "trained_against")
    assert warning["checkpoints"] == ["refl"]
    both = {v["rule"]: v for v in found["votes"]["variants"]}

    def shown(row):
        low, high = (100 * x for x in row["ci95"])
        return f"{100 * row['win_rate']:.1f} % [{low:.1f}, {high:.1f}]"

    assert found["verdicts"][0]["outcome"] == "open"
    assert warning["text"] == (
        "refl was trained against x: its vote does not count where refl takes part. 2 voters are left, worth about "
        f"{both['majority']['effective_voters']:.1f} independent ones, an even number: "
        "an even split of the voters is a tie, and a tie counts half. With it: refl over base "
        f"{shown(both['with trained-against'])} instead of {shown(both['majority'])}, better and not open."
    )


def test_a_voter_that_is_left_alone_is_named_and_comparisons_that_end_alike_are_counted():
    quality = {name: voters(mean) for name, mean in (("base", 0), ("refl", 1), ("b", 2), ("c", 3))}
    found = judge(quality, "xyz", trained_against={"refl": ["x", "y"]})
    (warning,) = warnings_of(found, "trained_against")
    assert "refl was trained against x and y: their votes do not count" in warning["text"]
    assert "refl over base z votes alone" in warning["text"]
    assert "With them: refl over base" in warning["text"]
    assert warning["text"].endswith("; 2 more comparisons would end alike.")
    sentence = next(v["sentence"] for v in found["verdicts"] if v["a"] == "refl")
    assert "by z alone" in sentence


def test_without_trained_checkpoints_there_is_no_such_warning():
    found = judge({"base": voters(0), "dpo": voters(1)}, "xyz")
    assert warnings_of(found, "trained_against") == []
    assert warnings_of(found, "weightless_voter") == []
