"""The ranking of results.json, the circles it warns of, and what the terminal prints of both."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from prefbench.bench.importers.imagereward_benchmark import read_results
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import check_scores
from prefbench.bench.terminal import print_results

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]
PEOPLE = ["openjourney", "sd2-1", "dalle2", "sd1-4", "versatile-diffusion", "cogview2"]
"""ImageReward's six models by human rankings (arXiv 2304.05977, Table 1)."""


def table(scores):
    """One scorer; {checkpoint: scores by prompt}."""
    rows = [(c, f"p{p}", f"text {p}", 0, "x", s) for c, row in scores.items() for p, s in enumerate(row)]
    return check_scores(pd.DataFrame(rows, columns=COLUMNS))


def summary(scores, **options):
    options = {"electorate": {"voters": ["x"]}, "checkpoints": list(scores), "resamples": 1000} | options
    return summarise(table(scores), **options)


def printed(results, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_results(console, results)
    return console.file.getvalue()


def circle(prompts=90):
    """Three in a circle: of each three prompts a wins against b, b against c and c against a on two. "low" loses all."""
    turns = np.arange(prompts) % 3
    scores = {name: ((turns + k) % 3).astype(float) for k, name in enumerate(("c", "b", "a"))}
    return scores | {"low": np.full(prompts, -5.0)}


@pytest.fixture(scope="module")
def plain():
    rng = np.random.default_rng(0)
    lift = {"base": 0.0, "dpo": 1.0, "sft": 0.4, "kto": 0.45}
    return summary({name: value + rng.normal(size=120) for name, value in lift.items()})


def test_standings_come_best_first_with_everything_a_reader_needs(plain):
    block = plain["ranking"]
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    standings = block["standings"]
    assert [line["rank"] for line in standings] == [1, 2, 3, 4]
    assert (standings[0]["checkpoint"], standings[-1]["checkpoint"]) == ("dpo", "base")
    assert sum(line["strength"] for line in standings) == pytest.approx(0, abs=1e-9)
    for line in standings:
        assert line["ci95"][0] < line["win_rate"] < line["ci95"][1]
        assert line["strength_ci95"][0] < line["strength"] < line["strength_ci95"][1]
        assert line["rank_ci95"][0] <= line["rank"] <= line["rank_ci95"][1]
    assert (block["prompts"], block["pairs"], block["resamples_without_strengths"]) == (120, 120, 0)


def test_matrices_and_rates_are_those_of_the_comparisons(plain):
    block = plain["ranking"]
    names = [line["checkpoint"] for line in block["standings"]]
    total = dict.fromkeys(names, 0.0)
    for entry in plain["comparisons"]:
        if entry["scorer"] == "majority":
            i, j = names.index(entry["a"]), names.index(entry["b"])
            assert (block["wins"][i][j], block["ties"][i][j], block["wins"][j][i]) == (
                entry["wins"],
                entry["ties"],
                entry["losses"],
            )
            total[entry["a"]] += entry["win_rate"] / 3
            total[entry["b"]] += (1 - entry["win_rate"]) / 3
    for line in block["standings"]:
        assert line["win_rate"] == pytest.approx(total[line["checkpoint"]])


def test_the_vote_of_all_voters_is_ranked_and_a_held_out_scorer_is_not():
    first = table({"a": [3, 3, 3], "b": [2, 2, 2], "c": [1, 1, 1]})
    frame = pd.concat([first, first.assign(scorer="y", score=-first["score"] * 7)], ignore_index=True)
    for voter, best in (("x", "a"), ("y", "c")):
        held_out = "y" if voter == "x" else "x"
        electorate = {"voters": [voter], "held_out": [held_out]}
        found = summarise(frame, electorate=electorate, checkpoints=["a", "b", "c"], resamples=1000)
        assert found["ranking"]["standings"][0]["checkpoint"] == best


@pytest.mark.parametrize(
    ("checkpoints", "pairs"),
    [(["base", "dpo"], None), (["base", "dpo", "sft"], [("dpo", "base"), ("sft", "base")])],
)
def test_two_checkpoints_or_a_comparison_left_out_give_no_ranking(checkpoints, pairs):
    scores = {name: np.arange(6) * (k + 1.0) for k, name in enumerate(checkpoints)}
    found = summary(scores, pairs=pairs)
    assert found["ranking"] is None
    assert "Ranking" not in printed(found)


def test_a_circle_of_proven_wins_is_reported_by_name_and_leaves_the_ranks_open():
    found = summary(circle())
    assert found["ranking"]["cycles"] == {"proven": [["c", "b", "a"]], "estimated": []} or found["ranking"][
        "cycles"
    ]["proven"] == [["c", "a", "b"]]
    warning = next(w for w in found["warnings"] if w["kind"] == "cycle")
    members = found["ranking"]["cycles"]["proven"][0]
    for winner, loser in zip(members, [*members[1:], members[0]], strict=True):
        assert f"{winner} beats {loser}" in warning["text"]
    assert {tuple(line["rank_ci95"]) for line in found["ranking"]["standings"][:3]} == {(1, 3)}
    assert found["ranking"]["standings"][3]["checkpoint"] == "low"
    assert [line["strength"] for line in found["ranking"]["standings"]] == [None] * 4, (
        "low lost every comparison"
    )


def test_a_circle_in_the_estimates_alone_is_no_warning():
    found = summary(circle(prompts=9))
    assert found["ranking"]["cycles"]["proven"] == []
    assert len(found["ranking"]["cycles"]["estimated"]) == 1
    assert "cycle" not in [w["kind"] for w in found["warnings"]]


def test_the_largest_misfit_of_a_circle_is_its_edge():
    """By symmetry the strengths are equal and say 1/2; each edge is 2/3."""
    scores = circle()
    del scores["low"]
    misfit = summary(scores)["ranking"]["largest_misfit"]
    assert (misfit["win_rate"], misfit["fitted"]) == (pytest.approx(2 / 3), pytest.approx(1 / 2))


def test_the_terminal_has_standings_and_win_matrix_within_80_columns(plain):
    text = printed(plain)
    assert max(map(len, text.splitlines())) <= 80
    lines = text.splitlines()
    for line in plain["ranking"]["standings"]:
        low, high = line["rank_ci95"]
        shown = next(row for row in lines if row.startswith(f"{line['rank']} [{low}, {high}]"))
        assert line["checkpoint"] in shown
        assert (
            f"{100 * line['win_rate']:.1f} [{100 * line['ci95'][0]:.1f}, {100 * line['ci95'][1]:.1f}]"
            in shown
        )
    start = next(i for i, row in enumerate(lines) if row.startswith("row over column"))
    names = [line["checkpoint"] for line in plain["ranking"]["standings"]]
    cells = [" ".join(row.split()) for row in lines[start + 1 : start + 5]]
    votes = {(e["a"], e["b"]): e for e in plain["comparisons"] if e["scorer"] == "majority"}
    for i, name in enumerate(names):
        expected = [f"{i + 1} {name}"]
        for other in (n for n in names if n != name):
            entry, turned = votes.get((name, other)), votes.get((other, name))
            low, high = entry["ci95"] if entry else (1 - x for x in reversed(turned["ci95"]))
            mark = "+ " if low > 0.5 else "- " if high < 0.5 else ""
            expected.append(f"{mark}{100 * (entry['win_rate'] if entry else 1 - turned['win_rate']):.1f}")
        assert cells[i] == " ".join(expected)
    assert cells[0].count("+") >= 2
    assert cells[3].count("-") >= 1


def test_a_matrix_that_does_not_fit_is_left_to_the_report():
    scores = {f"checkpoint_number_{k}": np.arange(6) % (k + 2) for k in range(8)}
    text = printed(summary(scores))
    assert "The win matrix of 8 checkpoints is wider than this terminal" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "row over column" in printed(summary(scores), width=100)


def test_one_prompt_is_ranked_and_says_that_there_is_no_interval():
    found = summary({"a": [3.0], "b": [2.0], "c": [1.0]})
    assert [line["rank_ci95"] for line in found["ranking"]["standings"]] == [None] * 3
    assert "1 [n/a: 1 prompt]" in printed(found)


def test_the_real_imagereward_scores_rank_as_people_do_but_for_neighbours_within_noise(reference_data):
    """Only dalle2 and sd1-4 change places, and each one's interval holds the other's rank."""
    frame = read_results(reference_data / "real_scores_imagereward_benchmark")
    electorate = {"voters": ["ImageReward-v1.0"], "held_out": ["CLIP"]}
    found = summarise(frame, electorate=electorate, checkpoints=PEOPLE[::-1], resamples=2000)["ranking"]
    order = [line["checkpoint"] for line in found["standings"]]
    assert order == ["openjourney", "sd2-1", "sd1-4", "dalle2", "versatile-diffusion", "cogview2"]
    for line in found["standings"]:
        best, worst = line["rank_ci95"]
        assert best <= 1 + PEOPLE.index(line["checkpoint"]) <= worst
    assert found["standings"][-1]["rank_ci95"] == [6, 6]
    assert found["cycles"]["proven"] == []
