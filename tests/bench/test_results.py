import json
import time

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores
from prefbench.bench.tally.win_rate import mean_difference, win_rate

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]


def made_table(
    prompts=30, seeds=2, checkpoints=("base", "sft", "dpo"), scorers=("x", "y", "z", "truth"), lean=0.4
):
    """Scores with a common part per sample, so that voters correlate; later checkpoints are better."""
    rng = np.random.default_rng(3)
    rows = []
    for p in range(prompts):
        for s in range(seeds):
            for i, c in enumerate(checkpoints):
                common = lean * i + rng.normal()
                slices = ("AB"[p % 2], ["", "hard"][p % 3 == 0])
                rows += [(c, f"p{p:03}", f"text {p}", s, k, common + rng.normal(), *slices) for k in scorers]
    return check_scores(pd.DataFrame(rows, columns=[*COLUMNS, "category", "challenge"]))


ELECTORATE = {"voters": ["x", "y", "z"], "held_out": ["truth"]}


@pytest.fixture(scope="module")
def table():
    return made_table()


@pytest.fixture(scope="module")
def results(table):
    return summarise(table, electorate=ELECTORATE, checkpoints=["base", "sft", "dpo"], resamples=1000)


def entry(results, a, b, scorer="majority", slice="all"):
    wanted = (a, b, scorer, slice)
    found = [e for e in results["comparisons"] if (e["a"], e["b"], e["scorer"], e["slice"]) == wanted]
    assert len(found) == 1
    return found[0]


def scores_of(table, checkpoint, scorer):
    mine = table[(table["checkpoint"] == checkpoint) & (table["scorer"] == scorer)]
    return mine.sort_values(["prompt_id", "seed"])


def test_by_hand():
    """Two prompts, one seed, three voters. Votes for a on p: + + -, a win; on q: - - 0, a loss: 50 %."""
    scores = {("p", "a"): (2, 2, 1), ("p", "b"): (1, 1, 2), ("q", "a"): (1, 1, 5), ("q", "b"): (2, 2, 5)}
    rows = [
        (c, p, p, 0, k, v) for (p, c), values in scores.items() for k, v in zip("xyz", values, strict=True)
    ]
    table = check_scores(pd.DataFrame(rows, columns=COLUMNS))
    found = summarise(table, electorate={"voters": list("xyz")}, checkpoints=["b", "a"])
    vote = entry(found, "a", "b")
    assert (vote["wins"], vote["ties"], vote["losses"]) == (1, 0, 1)
    assert (vote["win_rate"], vote["p_value"]) == (0.5, 1.0)
    assert (vote["mean_difference"], vote["mean_difference_ci95"]) == (None, None)
    z = entry(found, "a", "b", "z")
    assert (z["wins"], z["ties"], z["losses"], z["win_rate"], z["mean_difference"]) == (0, 1, 1, 0.25, -0.5)
    assert found["means"] == {"b": {"x": 1.5, "y": 1.5, "z": 3.5}, "a": {"x": 1.5, "y": 1.5, "z": 3.0}}
    assert found["agreement"]["same_winner"] == [[1.0, 1.0, 0.25], [1.0, 1.0, 0.25], [0.25, 0.25, 1.0]]


def test_it_is_json_with_the_blocks_of_the_schema(results):
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert list(results) == [
        "schema",
        "prefbench",
        "created",
        "suite",
        "checkpoints",
        "scorers",
        "means",
        "comparisons",
        "agreement",
        "intervals",
        "votes",
        "methods",
        "ranking",
        "definitions",
        "warnings",
        "verdicts",
    ]
    assert results["schema"] == 1
    tie_rule = "an even split of the voters is a tie, and a tie counts half"
    assert results["suite"]["electorate"]["tie_rule"] == tie_rule
    assert results["scorers"]["truth"]["role"] == "held out"
    assert results["intervals"]["resamples"] == 1000
    assert results["suite"]["seeds"] == [0, 1]


def test_each_two_checkpoints_stand_once_later_over_earlier_in_every_slice(results):
    pairs = {(e["a"], e["b"]) for e in results["comparisons"]}
    assert pairs == {("sft", "base"), ("dpo", "base"), ("dpo", "sft")}
    slices = {e["slice"] for e in results["comparisons"]}
    assert slices == {"all", "category=A", "category=B", "challenge=hard"}, "an empty challenge is no slice"
    assert len(results["comparisons"]) == 3 * 5 * 4


def test_a_scorer_s_numbers_are_those_of_tally_on_its_scores(table, results):
    a, b = scores_of(table, "dpo", "y"), scores_of(table, "base", "y")
    alone = win_rate(a["score"], b["score"], a["prompt"], rng=np.random.default_rng(0), resamples=1000)
    gap = mean_difference(a["score"], b["score"], a["prompt"], rng=np.random.default_rng(0), resamples=1000)
    found = entry(results, "dpo", "base", "y")
    assert (found["wins"], found["losses"], found["p_value"]) == (alone.wins, alone.losses, alone.p_value)
    assert found["ci95"] == [pytest.approx(x, abs=0.02) for x in alone.ci95]
    assert found["mean_difference"] == pytest.approx(gap.mean)
    assert found["mean_difference_ci95"] == [pytest.approx(x, abs=0.05) for x in gap.ci95]


def test_the_vote_is_the_sign_of_the_voters_sum_and_ignores_the_held_out(table, results):
    total = sum(
        np.sign(np.subtract(*(scores_of(table, c, k)["score"].to_numpy() for c in ("dpo", "sft"))))
        for k in "xyz"
    )
    vote = entry(results, "dpo", "sft")
    assert (vote["wins"], vote["losses"]) == (int((total > 0).sum()), int((total < 0).sum()))
    turned = table.assign(score=table["score"].where(table["scorer"] != "truth", -table["score"]))
    other = summarise(turned, electorate=ELECTORATE, checkpoints=["base", "sft", "dpo"], resamples=1000)
    assert entry(other, "dpo", "sft") == vote


def test_slices_count_their_own_prompts_and_add_up(results):
    whole, a, b = (entry(results, "dpo", "base", "x", s) for s in ("all", "category=A", "category=B"))
    assert (whole["prompts"], a["prompts"], b["prompts"]) == (30, 15, 15)
    for key in ("pairs", "wins", "ties", "losses"):
        assert whole[key] == a[key] + b[key]


def test_row_order_and_other_checkpoints_in_the_table_change_nothing(table, results):
    stranger = table[table["checkpoint"] == "base"].assign(checkpoint="stranger", score=9.0)
    mixed = pd.concat([table, stranger]).sample(frac=1, random_state=1).reset_index(drop=True)
    again = summarise(mixed, electorate=ELECTORATE, checkpoints=["base", "sft", "dpo"], resamples=1000)
    assert again | {"created": ""} == results | {"created": ""}


def test_a_slice_s_interval_does_not_depend_on_the_other_slices(table, results):
    fewer = table.drop(columns="category")
    less = summarise(fewer, electorate=ELECTORATE, checkpoints=["base", "sft", "dpo"], resamples=1000)
    adjusted = {"p_adjusted": None}  # by how many others there are, and nothing else is
    for slice in ("all", "challenge=hard"):
        found = entry(less, "dpo", "base", "x", slice) | adjusted
        assert found == entry(results, "dpo", "base", "x", slice) | adjusted


def test_turning_a_scorer_s_sign_and_direction_together_leaves_its_votes(table, results):
    turned = table.assign(score=table["score"].where(table["scorer"] != "y", -table["score"]))
    found = summarise(
        turned,
        electorate=ELECTORATE,
        checkpoints=["base", "sft", "dpo"],
        scorers={"y": {"direction": "lower", "prompt_blind": False}},
        resamples=1000,
    )
    assert entry(found, "dpo", "base") == entry(results, "dpo", "base")
    assert entry(found, "dpo", "base", "y")["win_rate"] == entry(results, "dpo", "base", "y")["win_rate"]
    assert found["means"]["dpo"]["y"] == pytest.approx(-results["means"]["dpo"]["y"])


def test_same_text_under_two_ids_is_one_prompt(table):
    twice = pd.concat([table, table.assign(prompt_id=table["prompt_id"] + " again")], ignore_index=True)
    once, both = (
        entry(summarise(t, electorate=ELECTORATE, checkpoints=["base", "dpo"], resamples=1000), "dpo", "base")
        for t in (table, twice)
    )
    assert both["prompts"] == once["prompts"] == 30
    assert both["pairs"] == 2 * once["pairs"]
    assert both["ci95"] == pytest.approx(once["ci95"])
    assert both["p_value"] == once["p_value"]


def test_one_prompt_gives_null_intervals_and_an_open_verdict(table):
    alone = table[table["prompt_id"] == "p000"]
    found = summarise(alone, electorate=ELECTORATE, checkpoints=["base", "dpo"], resamples=1000)
    one = entry(found, "dpo", "base", "x")
    assert (one["ci95"], one["ci_method"], one["mean_difference_ci95"]) == (None, "none", None)
    assert found["verdicts"][0]["outcome"] == "open"
    assert "one prompt can not be generalised" in found["verdicts"][0]["sentence"]
    json.dumps(found, allow_nan=False)


def test_chosen_pairs_only_and_in_the_given_direction(table):
    chosen = {"checkpoints": ["base", "sft", "dpo"], "pairs": [("sft", "dpo")]}
    found = summarise(table, electorate=ELECTORATE, resamples=1000, **chosen)
    assert {(e["a"], e["b"]) for e in found["comparisons"]} == {("sft", "dpo")}
    assert [(v["a"], v["b"]) for v in found["verdicts"]] == [("sft", "dpo")]


def test_what_was_run_is_kept(table):
    found = summarise(
        table,
        electorate=ELECTORATE,
        checkpoints={"base": {"spec": "models/base", "kind": "folder"}, "dpo": {"training": {"seed": 1}}},
        suite={"name": "smoke", "prompt_sets": [], "seeds": [0, 1], "sampling": {"steps": 4}},
        scorers={"x": {"fingerprint": "ab", "truncated": 3}},
        resamples=1000,
    )
    assert found["checkpoints"]["base"] == {
        "spec": "models/base", "kind": "folder", "identity": None, "training": None, "trained_against": [],
    }  # fmt: skip
    assert found["suite"]["sampling"] == {"steps": 4}
    assert found["suite"]["distinct_prompts"] == 30
    assert (found["scorers"]["x"]["fingerprint"], found["scorers"]["x"]["truncated"]) == ("ab", 3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"checkpoints": ["base", "dop"]}, UsageError, r"checkpoint 'dop'.*'dpo'"),
        ({"checkpoints": ["base"]}, UsageError, "two or more"),
        ({"checkpoints": ["base", "base"]}, UsageError, "two or more"),
        ({"electorate": {"voters": ["x", "y", "zz"], "held_out": ["truth"]}}, UsageError, "scorer 'zz'.*'z'"),
        ({"electorate": {"voters": ["x", "y", "z"]}}, UsageError, "truth are in the table but neither vote"),
        ({"electorate": {"voters": []}}, UsageError, "no voters"),
        ({"electorate": {"voters": ["x", "x"]}}, UsageError, "twice"),
        ({"electorate": {"voter": ["x"]}}, UsageError, "not voter"),
        ({"pairs": [("dpo", "dpo")]}, UsageError, "with itself"),
        ({"pairs": [("dpo", "base"), ("base", "dpo")]}, UsageError, "once"),
        ({"pairs": [("dpo", "bases")]}, UsageError, "'bases'.*'base'"),
        ({"resamples": 10}, UsageError, "at least 1000"),
        ({"seed": -1}, UsageError, "0 or more"),
        ({"scorers": {"x": {"direction": "up"}}}, UsageError, "'x' has direction 'up'"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(table, change, error, message):
    request = {"electorate": ELECTORATE, "checkpoints": ["base", "dpo"], "resamples": 1000} | change
    with pytest.raises(error, match=message):
        summarise(table, **request)


def test_a_hole_is_refused_only_where_it_is_compared(table):
    holed = table.drop(index=table.index[table["checkpoint"] == "sft"][0]).reset_index(drop=True)
    summarise(holed, electorate=ELECTORATE, checkpoints=["base", "dpo"], resamples=1000)
    with pytest.raises(DataError, match="1 of 720 scores are missing"):
        summarise(holed, electorate=ELECTORATE, checkpoints=["base", "sft", "dpo"], resamples=1000)


@pytest.mark.slow
def test_four_checkpoints_on_partiprompts_size_with_slices_take_seconds():
    """4 checkpoints x 1,632 prompts x 4 seeds x 6 scorers, 23 slices, 10,000 resamples: about 3 s."""
    table = made_table(1632, 4, ("a", "b", "c", "d"), tuple("uvwxyz"))
    number = table["prompt_id"].str[1:].astype(int)
    table = table.assign(category=(number % 12).astype(str), challenge=(number % 11).astype(str))
    start = time.perf_counter()
    found = summarise(table, electorate={"voters": list("uvwxyz")}, checkpoints=list("abcd"))
    assert len(found["comparisons"]) == 6 * 7 * 24
    assert time.perf_counter() - start < 20


def test_prompts_that_every_voter_reads_to_the_end_are_a_slice_of_their_own(table):
    """12 of 30 prompts: its numbers are those of a table that has only them."""
    whole = {f"text {p}" for p in range(12)}
    found = summarise(
        table, electorate=ELECTORATE, checkpoints=["base", "dpo"], untruncated=whole, resamples=1000
    )
    alone = summarise(
        table[table["prompt"].isin(whole)], electorate=ELECTORATE, checkpoints=["base", "dpo"], resamples=1000
    )
    one, other = entry(found, "dpo", "base", slice="prompts=untruncated"), entry(alone, "dpo", "base")
    assert one["prompts"] == 12
    assert (one["wins"], one["ties"], one["losses"]) == (other["wins"], other["ties"], other["losses"])


@pytest.mark.parametrize("untruncated", [None, (), "all"])
def test_where_all_or_no_prompts_are_read_to_the_end_there_is_no_such_slice(table, untruncated):
    given = set(table["prompt"]) if untruncated == "all" else untruncated
    found = summarise(
        table, electorate=ELECTORATE, checkpoints=["base", "dpo"], untruncated=given, resamples=1000
    )
    assert not any(row["slice"].startswith("prompts=") for row in found["comparisons"])
