"""The voting options of `compare`, as a user types them, and what the terminal shows."""

import json

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from prefbench.bench.commands.compare import compare_command
from prefbench.bench.exceptions import DataError, PrefbenchError, UsageError

APP = typer.Typer()
APP.command()(compare_command)
LEAN = {"x": 2.0, "y": 0.35, "z": 0.0, "w": 0.25, "truth": 0.2}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """100 prompts; "dpo" is far ahead by x and hardly by the others."""
    rng = np.random.default_rng(4)
    rows = [
        (c, f"p{p}", f"a cat, number {p}", 0, k, mean * i + rng.normal())
        for i, c in enumerate(("base", "dpo", "sft"))
        for p in range(100)
        for k, mean in LEAN.items()
    ]
    path = tmp_path_factory.mktemp("votes") / "scores.csv"
    columns = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def compare(scores, out, *options):
    which = () if "--all" in options else ("--a", "dpo", "--b", "base")
    arguments = [
        str(scores),
        "--out",
        str(out),
        "--resamples",
        "1000",
        "--held-out",
        "truth",
        *which,
        *options,
    ]
    found = CliRunner().invoke(APP, arguments, env={"COLUMNS": "80", "TERM": "dumb"})
    if isinstance(found.exception, PrefbenchError):
        raise found.exception
    assert found.exit_code == 0, found.output
    assert all(len(line) <= 80 or line.startswith("Report: ") for line in found.output.splitlines())
    return found.output, json.loads((out / "results.json").read_text(encoding="utf-8"))


def flat(text):
    return " ".join(text.split())


def test_rules_from_the_command_line_stand_in_results_and_terminal(scores, tmp_path):
    (tmp_path / "noise.toml").write_text("[tie_tolerance]\ny = 0.125\nother = 1\n")
    (tmp_path / "people.toml").write_text("[accuracy]\nx = 0.7\ny = 0.6\nz = 0.5\nw = 0.55\n")
    output, results = compare(
        scores,
        tmp_path / "out",
        *(
            "--tie-rule",
            "first",
            "--tie-tolerance",
            str(tmp_path / "noise.toml"),
            "--tie-tolerance",
            "x=0.25",
        ),
        *("--trained-against", "dpo=x", "--accuracy", str(tmp_path / "people.toml")),
    )
    electorate = results["suite"]["electorate"]
    assert electorate["tie_tolerance"] == {"x": 0.25, "y": 0.125}
    assert "the first of them that does not tie decides" in electorate["tie_rule"]
    assert results["votes"]["tie_rule"] == "first"
    assert results["votes"]["weights_source"] == str(tmp_path / "people.toml")
    assert results["checkpoints"]["dpo"]["trained_against"] == ["x"]
    shown = flat(output)
    for said in (
        f"Tie rule: {electorate['tie_rule']}.",
        "Scores that differ by no more than this tie: x 0.25, y 0.125.",
        "x 0.85, y 0.41, z 0.00, w 0.20.",
        "*: no vote there: one of the two was trained against this scorer.",
        "Warning: dpo was trained against x: its vote does not count where dpo takes part.",
        "by the vote of 3 scorers",
    ):
        assert said in shown


def test_the_scorer_without_a_vote_is_starred_where_it_has_none_and_only_there(scores, tmp_path):
    output, results = compare(scores, tmp_path / "out", "--all", "--trained-against", "dpo=x")
    assert len(results["ranking"]["standings"]) == 3
    for row in results["comparisons"]:
        if row["slice"] == "all":
            low, high = (100 * x for x in row["ci95"])
            starred = row["scorer"] == "x" and "dpo" in (row["a"], row["b"])
            text = f"{100 * row['win_rate']:.1f} [{low:.1f}, {high:.1f}]"
            assert text in output
            assert (f"{text}*" in output) == starred


def test_variants_are_shown_where_they_decide_otherwise_and_nowhere_else(scores, tmp_path):
    output, results = compare(scores, tmp_path / "out", "--trained-against", "dpo=x")
    majority, *others = results["votes"]["variants"]
    assert results["verdicts"][0]["outcome"] == "open"
    otherwise = [v["rule"] for v in others if v["ci95"][0] > 0.5 or v["ci95"][1] < 0.5]
    assert "with trained-against" in otherwise
    table = output.partition("where they decide otherwise")[2].partition("Planned:")[0]
    assert [line.split("  ")[1] for line in table.splitlines() if line.startswith("  ")] == otherwise
    low, high = (100 * x for x in majority["ci95"])
    assert f"{100 * majority['win_rate']:.1f} [{low:.1f}, {high:.1f}]" in table


def test_where_every_variant_says_the_same_nothing_is_added(scores, tmp_path):
    output, results = compare(scores, tmp_path / "out", "--electorate", "x", "--held-out", "y,z,w,truth")
    assert {v["rule"] for v in results["votes"]["variants"]} == {"majority", "unanimous"}
    for absent in ("Other ways", "Tie rule", "no vote there", "differ by no more", "Weights"):
        assert absent not in output


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (["--tie-rule", "frist"], UsageError, "tie rule 'frist'. Did you mean 'first'"),
        (["--tie-tolerance", "truht=1"], UsageError, "'truht'. Did you mean 'truth'"),
        (["--tie-tolerance", "x=-1"], UsageError, "0 or more"),
        (["--tie-tolerance", "x=nan"], UsageError, "finite"),
        (["--tie-tolerance", "gone.toml"], DataError, "gone.toml cannot be read"),
        (["--trained-against", "dpp=x"], UsageError, "'dpp'. Did you mean 'dpo'"),
        (["--trained-against", "dpo=q"], UsageError, "'dpo' was trained against 'q'"),
        (["--trained-against", "dpo=x,y,z,w"], UsageError, "nobody is left to vote"),
        (["--accuracy", "gone.toml"], DataError, "gone.toml cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(scores, tmp_path, options, error, said):
    with pytest.raises(error) as caught:
        compare(scores, tmp_path / "out", *options)
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_a_checkpoint_that_is_not_compared_was_trained_against_has_no_effect(scores, tmp_path):
    _, plain = compare(scores, tmp_path / "plain")
    _, told = compare(scores, tmp_path / "told", "--trained-against", "sft=x")
    assert plain | {"created": ""} == told | {"created": ""}


def test_a_plan_counts_the_votes_of_its_pilot_as_the_pilot_did(scores, tmp_path):
    from prefbench.bench.pilot import read_pilot

    _, results = compare(scores, tmp_path / "out", "--trained-against", "dpo=x", "--tie-tolerance", "y=0.5")
    row = next(e for e in results["comparisons"] if e["scorer"] == "majority")
    pilot = read_pilot(tmp_path / "out")
    assert (pilot.voters, pilot.pairs) == (3, 100)
    assert pilot.win_rate == pytest.approx(row["win_rate"])
    assert pilot.tie_rate == pytest.approx(row["ties"] / row["pairs"])
