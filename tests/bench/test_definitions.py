"""The shares of papers in results.json and in the terminal; on real scores they differ by points."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from prefbench.bench.definitions_block import of_the_vote
from prefbench.bench.electorate.rules import VotingRules
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores
from prefbench.bench.tally.published import DEFINITIONS, OF_VOTES
from prefbench.bench.terminal import print_results

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]


def table_of(scores):
    """{(checkpoint, prompt): {scorer: [a score a seed]}} as a table."""
    rows = [
        (c, p, f"text {p}", seed, scorer, value)
        for (c, p), by_scorer in scores.items()
        for scorer, values in by_scorer.items()
        for seed, value in enumerate(values)
    ]
    return check_scores(pd.DataFrame(rows, columns=COLUMNS))


HAND = table_of({
    ("a", "p"): {"x": [1, 2, 9], "y": [1, 1, 1]}, ("b", "p"): {"x": [2, 3, 3], "y": [0, 2, 1]},
    ("a", "q"): {"x": [5, 5, 5], "y": [3, 3, 3]}, ("b", "q"): {"x": [5, 4, 7], "y": [2, 4, 3]},
})  # fmt: skip


def values(found, scorer):
    return {e["definition"]: e["value"] for e in found["definitions"] if e["scorer"] == scorer}


def judged(table, **options):
    options = {"electorate": {"voters": ["x", "y"]}, "checkpoints": ["b", "a"], "definitions": True} | options
    return summarise(table, resamples=1000, **options)


def test_by_hand():
    """x as in the tally's tests. The vote of x and y on seed 0: p is split, q is x tied and y won, so 1/2 + 1 of 2."""
    found = judged(HAND)
    assert values(found, "x") == {
        "single_seed": 0.25,
        "single_seed_strict": 0.0,
        "same_seed_share": pytest.approx(2 / 6),
        "median_of_seeds": 0.25,
        "mean_over_seeds": 0.5,
        "best_of_n": 0.5,
    }
    vote = values(found, "majority")
    assert set(vote) == set(OF_VOTES), "no image is every voter's median or best"
    assert (vote["single_seed"], vote["single_seed_strict"]) == (0.75, 0.5)


def test_each_names_its_source_its_prompts_and_what_it_ignores():
    found = judged(HAND)["definitions"]
    assert {e["definition"] for e in found} == set(DEFINITIONS)
    for entry in found:
        assert (entry["a"], entry["b"], entry["prompts"], entry["images"]) == ("a", "b", 2, [3, 3])
        assert entry["source"]
        assert entry["ignores"]
    first = next(e for e in found if e["definition"] == "single_seed")
    assert first["ignores"] == "4 pairs of images of later seeds"


def test_lower_is_better_turns_them_round():
    """The best of n is the lowest: 1 against 2 won, 5 against 4 lost."""
    found = judged(HAND, scorers={"x": {"direction": "lower", "prompt_blind": False}})
    assert values(found, "x")["best_of_n"] == 0.5
    assert values(found, "x")["single_seed"] == 0.75


def test_a_tie_tolerance_holds_for_scorers_as_for_the_vote_where_single_images_are_compared():
    """With one voter and a tolerance of 1 point: on seed 0, 1 : 2 and 5 : 5 tie. Means and medians are compared as they are."""
    rules = VotingRules(tie_tolerance={"x": 1.0})
    found = judged(HAND, rules=rules, electorate={"voters": ["x"], "held_out": ["y"]})
    exact = judged(HAND, electorate={"voters": ["x"], "held_out": ["y"]})
    assert {name: values(found, "majority")[name] for name in OF_VOTES} == {
        name: values(found, "x")[name] for name in OF_VOTES
    }
    assert values(found, "x")["single_seed"] == 0.5
    for name in set(DEFINITIONS) - set(OF_VOTES):
        assert values(found, "x")[name] == values(exact, "x")[name]
    assert values(found, "y") == values(exact, "y")


def test_they_are_made_on_request_only():
    assert judged(HAND, definitions=False)["definitions"] is None


def test_a_prompt_that_is_listed_twice_counts_twice_as_it_does_in_papers():
    same_text = HAND.assign(prompt="one text")
    found = judged(same_text)
    assert {e["prompts"] for e in found["definitions"]} == {2}
    assert {e["prompts"] for e in found["comparisons"]} == {1}


def test_the_vote_is_over_the_pairs_that_its_tie_rule_counts():
    """x and y split on p's seed 0, which "abstain" leaves out: then p's first counted seed stands for it."""
    found = judged(HAND, rules=VotingRules(tie_rule="abstain"))
    vote = next(
        e for e in found["definitions"] if (e["definition"], e["scorer"]) == ("same_seed_share", "majority")
    )
    entry = next(e for e in found["comparisons"] if e["scorer"] == "majority")
    assert vote["decided"] == entry["pairs"] < 6
    assert vote["value"] == pytest.approx(entry["wins"] / entry["pairs"])


def test_what_is_said_of_a_definition_says_what_the_vote_counts_where_that_is_not_the_same():
    """x and y split on p's seed 0 and on q's seed 1; elsewhere they agree, or one of them ties: 4 pairs of 6 are counted."""
    found = judged(HAND, rules=VotingRules(tie_rule="abstain"))["definitions"]
    vote = next(e for e in found if (e["definition"], e["scorer"]) == ("same_seed_share", "majority"))
    prompts, pairs = vote["prompts"], vote["decided"]
    assert (prompts, pairs) == (2, 4)
    assert of_the_vote("same_seed_share", found).endswith(
        f"tie rule counts: {prompts} prompts, {pairs} pairs."
    )
    assert of_the_vote("single_seed", found).startswith(
        "The vote's is of each prompt's lowest seed that its tie rule"
    )
    assert of_the_vote("best_of_n", found) == "", "which no vote has"
    assert not any(of_the_vote(name, judged(HAND)["definitions"]) for name in DEFINITIONS)
    console = Console(file=io.StringIO(), width=80)
    print_results(console, judged(HAND, rules=VotingRules(tie_rule="abstain")))
    flat = " ".join(console.file.getvalue().split())
    assert of_the_vote("same_seed_share", found) in flat
    assert "2 prompts, 6 pairs" in flat, "of a scorer"


def test_the_terminal_prints_each_with_its_source_within_80_columns():
    rng = np.random.default_rng(0)
    long = "a_scorer_with_a_long_name@variant"
    scores = {
        (c, f"p{p}"): {k: list(rng.normal(size=5)) for k in ("x", "y", long)}
        for c in ("base_checkpoint", "diffusion_dpo_lora")
        for p in range(12)
    }
    found = summarise(
        table_of(scores),
        electorate={"voters": ["x", "y", long]},
        checkpoints=["base_checkpoint", "diffusion_dpo_lora"],
        definitions=True,
        resamples=1000,
    )
    console = Console(file=io.StringIO(), width=80)
    print_results(console, found)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for entry in found["definitions"]:
        assert f"{100 * entry['value']:.1f}" in flat
        assert f"({entry['definition']}): {entry['source']}. 12 prompts" in flat


def test_on_real_scores_the_median_of_ten_and_the_best_of_ten_are_not_the_share_of_pairs(reference_data):
    """ImageReward's own six models, ten images a prompt: averaging images first makes a lead look larger."""
    from prefbench.bench.importers.imagereward_benchmark import read_results

    table = read_results(reference_data / "real_scores_imagereward_benchmark")
    found = summarise(
        table,
        electorate={"voters": ["ImageReward-v1.0"], "held_out": ["CLIP"]},
        checkpoints=["cogview2", "versatile-diffusion", "sd1-4", "dalle2", "sd2-1", "openjourney"],
        pairs=[("sd2-1", "versatile-diffusion")],
        definitions=True,
        resamples=1000,
    )
    shares = values(found, "ImageReward-v1.0")
    rate = next(e["win_rate"] for e in found["comparisons"] if e["scorer"] == "ImageReward-v1.0")
    assert shares["same_seed_share"] == pytest.approx(rate), "no ties in these scores"
    assert shares["mean_over_seeds"] > rate + 0.05
    assert shares["median_of_seeds"] > rate + 0.05
