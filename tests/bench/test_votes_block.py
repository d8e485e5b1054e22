"""The other ways to count the votes, each held against the run in which it would have been the vote."""

import json

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.electorate.accuracies import Accuracies
from prefbench.bench.electorate.rules import VotingRules
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.importers.imagereward_benchmark import read_results
from prefbench.bench.paired_samples import ballots_of
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]


def table_of(signs, checkpoints=("base", "dpo")):
    """One prompt a column: scorer k gives base 0 and dpo `signs[k]`."""
    rows = [
        (c, f"p{p}", f"text {p}", 0, k, value * i)
        for i, c in enumerate(checkpoints)
        for k, values in signs.items()
        for p, value in enumerate(values)
    ]
    return check_scores(pd.DataFrame(rows, columns=COLUMNS))


def noisy(lean, prompts=80, checkpoints=("base", "dpo", "sft")):
    """Scorer k prefers the later checkpoint by `lean[k]` each step, plus noise."""
    rng = np.random.default_rng(5)
    rows = [
        (c, f"p{p:02}", f"text {p}", 0, k, i * mean + rng.normal(), "AB"[p % 2])
        for p in range(prompts)
        for i, c in enumerate(checkpoints)
        for k, mean in lean.items()
    ]
    return check_scores(pd.DataFrame(rows, columns=[*COLUMNS, "category"]))


LEAN = {"w": 0.1, "x": 1.2, "y": 0.3, "z": -0.2, "truth": 0.2}


@pytest.fixture(scope="module")
def table():
    return noisy(LEAN)


def judge(table, voters, held_out=(), **rules):
    return summarise(
        table,
        electorate={"voters": list(voters), "held_out": list(held_out)},
        checkpoints=list(dict.fromkeys(table["checkpoint"])),
        rules=VotingRules(**rules),
        resamples=1000,
    )


def entry(results, a="dpo", b="base", scorer="majority", slice_="all"):
    wanted = (a, b, scorer, slice_)
    return next(
        (e for e in results["comparisons"] if (e["a"], e["b"], e["scorer"], e["slice"]) == wanted), None
    )


def variant(results, rule, a="dpo", b="base"):
    found = [v for v in results["votes"]["variants"] if (v["rule"], v["a"], v["b"]) == (rule, a, b)]
    assert len(found) <= 1
    return found[0] if found else None


NUMBERS = ("pairs", "wins", "ties", "losses", "win_rate", "ci95", "ci_method")


def numbers(row):
    return {key: row[key] for key in NUMBERS}


def test_every_variant_by_hand():
    """Five prompts; weights log 9, log 3, log 1.5.

    prompt        0    1    2    3    4
    x (90 %)      +    +    -    +    0
    y (75 %)      +    -    +    0    0
    z (60 %)      +    -    +    -    -
    majority      +    -    +    0    -     2 wins 2 losses
    unanimous     +    0    0    0    -     1 win 1 loss
    weighted      +    +    -    +    -     log 9 = 2.20 beats 1.10 + 0.41
    without x     +    -    +    -    -
    without y     +    0    0    0    -
    without z     +    0    0    +    0
    """
    signs = {"x": (1, 1, -1, 1, 0), "y": (1, -1, 1, 0, 0), "z": (1, -1, 1, -1, -1)}
    people = Accuracies({"x": 0.9, "y": 0.75, "z": 0.6}, "people.toml")
    found = judge(table_of(signs), "xyz", accuracies=people)
    counts = {v["rule"]: (v["wins"], v["ties"], v["losses"]) for v in found["votes"]["variants"]}
    assert counts == {
        "majority": (2, 1, 2),
        "unanimous": (1, 3, 1),
        "weighted": (3, 0, 2),
        "without x": (2, 0, 3),
        "without y": (1, 3, 1),
        "without z": (2, 3, 0),
    }
    assert variant(found, "weighted")["win_rate"] == 0.6
    assert [variant(found, f"without {k}")["voters"] for k in "xyz"] == [["y", "z"], ["x", "z"], ["x", "y"]]
    assert found["votes"]["weights"] == pytest.approx({"x": np.log(9), "y": np.log(3), "z": np.log(1.5)})
    assert found["votes"]["weights_source"] == "people.toml"
    assert {v["abstained"] for v in found["votes"]["variants"]} == {0}


def test_the_block_is_plain_json_of_the_schema(table):
    found = judge(table, "wxyz", ["truth"], accuracies=Accuracies(dict.fromkeys("wxyz", 0.7), "p"))["votes"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == ["tie_rule", "weights", "weights_source", "effective_voters", "variants"]
    for row in found["variants"]:
        assert row["pairs"] == row["wins"] + row["ties"] + row["losses"]
        assert row["win_rate"] == pytest.approx((row["wins"] + row["ties"] / 2) / row["pairs"])


def test_the_majority_s_numbers_are_those_of_the_comparison(table):
    found = judge(table, "xyz", ["w", "truth"])
    for a, b in (("dpo", "base"), ("sft", "base"), ("sft", "dpo")):
        assert numbers(variant(found, "majority", a, b)) == numbers(entry(found, a, b))
        assert entry(found, a, b)["voters"] == ["x", "y", "z"]
        assert "voters" not in entry(found, a, b, "x")


@pytest.mark.parametrize("rule", ["tie", "abstain", "first"])
def test_leaving_a_voter_out_is_the_vote_of_an_electorate_without_it(table, rule):
    """The same draws: intervals are equal, not alike."""
    table = table[table["checkpoint"] != "sft"]
    found = judge(table, "wxyz", ["truth"], tie_rule=rule)
    for k in "wxyz":
        rest = [name for name in "wxyz" if name != k]
        other = judge(table, rest, ["truth", k], tie_rule=rule)
        assert numbers(variant(found, f"without {k}")) == numbers(entry(other))


def test_equal_accuracies_weigh_as_the_plain_majority(table):
    people = Accuracies(dict.fromkeys("wxyz", 0.7), "people")
    found = judge(table, "wxyz", ["truth"], accuracies=people)
    assert numbers(variant(found, "weighted")) == numbers(entry(found))
    assert judge(table, "wxyz", ["truth"])["votes"]["weights"] is None
    assert variant(judge(table, "wxyz", ["truth"]), "weighted") is None


def test_a_voter_no_better_than_a_coin_has_no_weight_and_a_warning(table):
    people = Accuracies({"x": 0.7, "y": 0.7, "z": 0.5}, "people.toml")
    found = judge(table, "xyz", ["truth", "w"], accuracies=people)
    assert found["votes"]["weights"]["z"] == 0
    assert variant(found, "weighted")["voters"] == ["x", "y"]
    texts = [w["text"] for w in found["warnings"] if w["kind"] == "weightless_voter"]
    assert len(texts) == 1
    assert texts[0].startswith("z agrees with people no more often than a coin does (people.toml)")


def test_a_scorer_has_no_vote_on_what_was_trained_against_it_and_is_reported(table):
    plain = judge(table, "wxyz", ["truth"])
    found = judge(table, "wxyz", ["truth"], trained_against={"dpo": ["x"]})
    without = judge(table, "wyz", ["truth", "x"])
    for a, b in (("dpo", "base"), ("sft", "dpo")):
        assert entry(found, a, b)["voters"] == ["w", "y", "z"]
        assert numbers(entry(found, a, b)) == numbers(entry(without, a, b))
        assert numbers(variant(found, "with trained-against", a, b)) == numbers(entry(plain, a, b))
        assert variant(found, "without x", a, b) is None
    assert numbers(entry(found, "sft", "base")) == numbers(entry(plain, "sft", "base"))
    assert entry(found, "sft", "base")["voters"] == ["w", "x", "y", "z"]
    assert variant(found, "with trained-against", "sft", "base") is None
    assert numbers(entry(found, scorer="x")) == numbers(entry(plain, scorer="x"))
    assert {name: info["trained_against"] for name, info in found["checkpoints"].items()} == {
        "base": [],
        "dpo": ["x"],
        "sft": [],
    }
    standings = {line["checkpoint"]: line["win_rate"] for line in found["ranking"]["standings"]}
    by_hand = (1 - entry(found)["win_rate"] + 1 - entry(found, "sft", "base")["win_rate"]) / 2
    assert standings["base"] == pytest.approx(by_hand), "the ranking is of these votes"


def test_where_a_voter_is_barred_the_words_are_about_those_that_are_left(table):
    """dpo has three voters of four, worth what they are as an electorate of their own; sft over base has all."""
    found = judge(table, "wxyz", ["truth"], trained_against={"dpo": ["x"]})
    two = table[table["checkpoint"] != "sft"]
    worth = judge(two, "wyz", ["truth", "x"])["agreement"]["effective_voters"]
    assert variant(found, "majority")["effective_voters"] == pytest.approx(worth)
    others = judge(table[table["checkpoint"] != "dpo"], "wxyz", ["truth"])["votes"]["effective_voters"]
    assert variant(found, "majority", "sft")["effective_voters"] == pytest.approx(others)
    told = {w["kind"]: w["text"] for w in found["warnings"]}
    assert told["even_electorate"].startswith("4 voters are an even number in sft over base: ")
    assert " 3 voters are left, worth about 2." in told["trained_against"]
    alone = judge(two, "wxyz", ["truth"], trained_against={"dpo": ["x"]})
    assert "even_electorate" not in [w["kind"] for w in alone["warnings"]], "nobody is judged by all four"


def test_of_two_trained_checkpoints_either_s_scorer_is_kept_out(table):
    found = judge(table, "wxyz", ["truth"], trained_against={"dpo": ["x"], "sft": ["y", "truth"]})
    assert entry(found, "sft", "dpo")["voters"] == ["w", "z"]
    assert entry(found, "sft", "base")["voters"] == ["w", "x", "z"]
    assert "by the vote of 2 scorers" in next(
        v["sentence"] for v in found["verdicts"] if (v["a"], v["b"]) == ("sft", "dpo")
    )


def test_where_every_voter_was_trained_against_nobody_judges(table):
    with pytest.raises(UsageError, match="dpo was trained against every voter"):
        judge(table, "xy", ["truth", "w", "z"], trained_against={"dpo": ["x", "y"]})


def test_the_training_record_tells_where_the_user_does_not(table):
    record = {"composition": {"labels": {"electorate": ["x"]}}}
    checkpoints = {"base": {}, "dpo": {"training": record}, "sft": {}}
    electorate = {"voters": list("wxyz"), "held_out": ["truth"]}
    found = summarise(table, electorate=electorate, checkpoints=checkpoints, resamples=1000)
    assert found["checkpoints"]["dpo"]["trained_against"] == ["x"]
    assert entry(found)["voters"] == ["w", "y", "z"]
    told = VotingRules(trained_against={"dpo": []})
    asked = summarise(table, electorate=electorate, checkpoints=checkpoints, rules=told, resamples=1000)
    assert entry(asked)["voters"] == ["w", "x", "y", "z"]
    texts = [w["text"] for w in asked["warnings"] if w["kind"] == "trained_against"]
    assert texts == [
        "The training record of dpo says that x made its labels; as asked, it votes on it all the same."
    ]


def test_a_tolerance_ties_a_scorer_s_near_equals_and_is_stated(table):
    """Ties of x are the pairs within 0.5, counted here from the table; the others of the electorate are untouched."""
    found = judge(table, "xyz", ["w", "truth"], tie_tolerance={"x": 0.5})
    plain = judge(table, "xyz", ["w", "truth"])
    scores = table[table["scorer"] == "x"].pivot(index="prompt_id", columns="checkpoint", values="score")
    near = int(((scores["dpo"] - scores["base"]).abs() <= 0.5).sum())
    assert near > 5
    assert entry(found, scorer="x")["ties"] == near
    assert numbers(entry(found, scorer="y")) == numbers(entry(plain, scorer="y"))
    assert found["suite"]["electorate"]["tie_tolerance"] == {"x": 0.5}
    assert plain["suite"]["electorate"]["tie_tolerance"] == {}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"tie_tolerance": {"pikscore": 1}}, "scorer in the tie tolerances 'pikscore'"),
        ({"tie_tolerance": {"x": -1}}, "tie tolerance of x is -1"),
        ({"tie_tolerance": {"x": float("nan")}}, "tie tolerance of x is nan"),
        ({"tie_rule": "coin"}, "tie rule 'coin'"),
        ({"trained_against": {"dpo": ["q"]}}, "'dpo' was trained against 'q'"),
        ({"accuracies": Accuracies({"x": 0.7}, "p.toml")}, "p.toml has no accuracy of y, z"),
    ],
)
def test_rules_that_do_not_fit_are_refused(table, rules, said):
    with pytest.raises(UsageError, match=said):
        judge(table, "xyz", ["w", "truth"], **rules)


def test_an_even_electorate_under_each_rule_in_the_results():
    """x and y agree on prompts 0 to 5 (four for dpo), split on 6 and 7 (x for dpo) and 8 (x against), tie on 9."""
    x, y = (1, 1, 1, 1, -1, -1, 1, 1, -1, 0), (1, 1, 1, 1, -1, -1, -1, -1, 1, 0)
    table = table_of({"x": x, "y": y})
    found = {rule: judge(table, "xy", tie_rule=rule) for rule in ("tie", "abstain", "first")}
    counts = {
        rule: tuple(entry(r)[key] for key in ("pairs", "wins", "ties", "losses", "abstained", "win_rate"))
        for rule, r in found.items()
    }
    assert counts == {
        "tie": (10, 4, 4, 2, 0, 0.6),
        "abstain": (6, 4, 0, 2, 4, pytest.approx(4 / 6)),
        "first": (10, 6, 1, 3, 0, 0.65),
    }
    for rule, results in found.items():
        assert results["votes"]["tie_rule"] == rule
        stated = results["suite"]["electorate"]["tie_rule"]
        even = next(w["text"] for w in results["warnings"] if w["kind"] == "even_electorate")
        assert stated in even
    assert "4 pairs left out as even splits" in found["abstain"]["verdicts"][0]["sentence"]
    assert found["abstain"]["votes"]["variants"][0]["abstained"] == 4


@pytest.mark.parametrize("rule", ["tie", "first"])
def test_constant_scores_tie_everything_and_say_so(rule):
    found = judge(table_of({"x": (0,) * 12, "y": (0,) * 12}), "xy", tie_rule=rule)
    for row in [entry(found), *found["votes"]["variants"]]:
        assert (row["wins"], row["ties"], row["losses"], row["win_rate"]) == (0, 12, 0, 0.5)
    assert found["verdicts"][0]["outcome"] == "open"
    assert "many_ties" in [w["kind"] for w in found["warnings"]]


def test_a_rule_that_leaves_every_pair_out_is_refused():
    with pytest.raises(DataError, match="there is no vote"):
        judge(table_of({"x": (0,) * 5, "y": (0,) * 5}), "xy", tie_rule="abstain")


def test_a_slice_in_which_every_pair_is_left_out_has_no_vote_and_its_scorers(table):
    """Category B has an even split on every prompt."""
    signs = {"x": (1, 1, 1, 1), "y": (1, -1, 1, -1)}
    made = table_of(signs).assign(category=lambda t: t["prompt_id"].map(lambda p: "AB"[int(p[1:]) % 2]))
    found = judge(made, "xy", tie_rule="abstain")
    assert entry(found, slice_="category=A")["pairs"] == 2
    assert entry(found, slice_="category=B") is None
    assert entry(found, scorer="x", slice_="category=B")["wins"] == 2
    assert "planned_slice_without_pair" not in [w["kind"] for w in found["warnings"]]


def test_a_planned_slice_without_a_pair_is_told_and_counts_with_p_1():
    """Six prompts of category A are won, p = 2 / 2^6 on A and on all; B has no vote. Holm over three: 3 x 1/32 for both."""
    signs = {"x": (1,) * 12, "y": (1, -1) * 6}
    made = table_of(signs).assign(category=lambda t: t["prompt_id"].map(lambda p: "AB"[int(p[1:]) % 2]))
    found = summarise(
        made,
        electorate={"voters": ["x", "y"]},
        checkpoints=list(dict.fromkeys(made["checkpoint"])),
        rules=VotingRules(tie_rule="abstain"),
        planned_slices=["category=A", "category=B"],
        resamples=1000,
    )
    planned = {e["slice"]: (e["p_value"], e["p_adjusted"]) for e in found["comparisons"] if e["planned"]}
    assert planned == dict.fromkeys(("all", "category=A"), (pytest.approx(1 / 32), pytest.approx(3 / 32)))
    (text,) = [w["text"] for w in found["warnings"] if w["kind"] == "planned_slice_without_pair"]
    assert "slice category=B has no pair" in text
    assert "(dpo over base)" in text


def test_with_three_checkpoints_the_ranking_counts_what_is_left_out_half(table):
    found = judge(table, "wx", ["y", "z", "truth"], tie_rule="abstain")
    half = judge(table, "wx", ["y", "z", "truth"])
    assert found["ranking"]["standings"] == half["ranking"]["standings"]
    assert found["ranking"]["method"].startswith(half["ranking"]["method"])
    assert "leaves out of a vote counts half here" in found["ranking"]["method"]


@pytest.mark.parametrize("rule", ["tie", "abstain", "first"])
def test_the_votes_can_be_cast_again_from_results_and_scores(table, rule):
    rules = {"tie_rule": rule, "tie_tolerance": {"y": 0.3}, "trained_against": {"dpo": ["x"]}}
    found = judge(table, "wxyz", ["truth"], **rules)
    samples, ballots = ballots_of(json.loads(json.dumps(found)), table)
    assert samples.checkpoints == ["base", "dpo", "sft"]
    for (a, b), vote, counted in zip(ballots.pairs, ballots.vote, ballots.counted, strict=True):
        row = entry(found, a, b)
        assert ((vote > 0).sum(), (vote < 0).sum(), counted.sum()) == (
            row["wins"],
            row["losses"],
            row["pairs"],
        )
    _, two = ballots_of(found, table[table["checkpoint"] != "sft"], pairs=[("dpo", "base")])
    assert (two.vote[0] == ballots.vote[0]).all()


def test_two_scorers_that_contradict_each_other_on_real_scores(reference_data):
    """The table of docs/statistics.md: what becomes of the verdict hangs on the tie rule."""
    scores = read_results(reference_data / "real_scores_imagereward_benchmark")
    found = {}
    for rule in ("tie", "abstain", "first"):
        results = summarise(
            scores,
            electorate={"voters": ["CLIP", "ImageReward-v1.0"]},
            checkpoints=["sd1-4", "sd2-1"],
            rules=VotingRules(tie_rule=rule),
        )
        row = entry(results, "sd2-1", "sd1-4")
        found[rule] = (row["wins"], row["ties"], row["losses"], *(round(100 * x, 1) for x in row["ci95"]))
    assert found == {
        "tie": (292, 402, 306, 45.5, 53.2),
        "abstain": (292, 0, 306, 42.1, 55.4),
        "first": (438, 0, 562, 38.9, 48.9),
    }
    alone = variant(results, "without CLIP", "sd2-1", "sd1-4")
    assert (alone["wins"], round(alone["ci95"][0], 3), round(alone["ci95"][1], 3)) == (548, 0.502, 0.594)
