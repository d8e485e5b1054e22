"""`prefbench compare --all`: every two checkpoints of a table, ranked."""

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
LIFT = {"sft": 0.8, "base": 0.0, "dpo": 1.6}


@pytest.fixture
def scores(tmp_path):
    """40 prompts, three checkpoints (dpo > sft > base), two voters and one other scorer."""
    rng = np.random.default_rng(0)
    rows = [
        (c, f"p{p}", f"a cat, number {p}", 0, k, LIFT[c] + rng.normal())
        for c in LIFT
        for p in range(40)
        for k in ("pick", "clip", "truth")
    ]
    path = tmp_path / "scores.csv"
    columns = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def compare(scores, *options, out="out"):
    arguments = [str(scores), "--out", str(scores.parent / out), "--resamples", "1000", *options]
    found = CliRunner().invoke(APP, arguments, env={"COLUMNS": "80", "TERM": "dumb"})
    if isinstance(found.exception, PrefbenchError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output


def results_in(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_every_two_are_compared_and_ranked_in_files_and_terminal(scores, tmp_path):
    output = compare(scores, "--all", "--baseline", "base", "--held-out", "truth")
    results = results_in(tmp_path / "out")
    assert list(results["checkpoints"]) == ["base", "sft", "dpo"], "baseline first, then the table's order"
    votes = {(e["a"], e["b"]) for e in results["comparisons"] if e["scorer"] == "majority"}
    assert votes == {("sft", "base"), ("dpo", "base"), ("dpo", "sft")}
    assert [line["checkpoint"] for line in results["ranking"]["standings"]] == ["dpo", "sft", "base"]
    assert "Ranking by the win rate against the average opponent" in output
    assert all(len(line) <= 80 for line in output.splitlines() if not line.startswith("Report: "))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 'id="ranking"' in page


def test_a_comparison_is_the_same_numbers_whether_two_or_all_were_asked_for(scores, tmp_path):
    """Rates and counts; the draws of the bootstrap serve all comparisons at once, and are the same for the same prompts."""
    compare(scores, "--all", "--baseline", "base")
    compare(scores, "--a", "dpo", "--b", "base", out="two")
    alone = results_in(tmp_path / "two")["comparisons"]
    together = [e for e in results_in(tmp_path / "out")["comparisons"] if (e["a"], e["b"]) == ("dpo", "base")]
    # More comparisons are a larger family of tests, so what is adjusted for their number differs.
    assert [{**e, "p_adjusted": 0} for e in together] == [{**e, "p_adjusted": 0} for e in alone]


def test_the_table_s_first_checkpoint_is_the_baseline_unless_one_is_named(scores, tmp_path):
    compare(scores, "--all")
    assert next(iter(results_in(tmp_path / "out")["checkpoints"])) == "sft"


def test_the_same_checkpoints_and_baseline_replace_a_comparison_and_others_do_not(scores, tmp_path):
    compare(scores, "--all", "--baseline", "base")
    before = results_in(tmp_path / "out")
    for options in (["--all", "--baseline", "dpo"], ["--a", "dpo", "--b", "base"]):
        with pytest.raises(
            UsageError, match=r"other checkpoints \(base, sft, dpo\) or with another baseline"
        ):
            compare(scores, *options)
    assert results_in(tmp_path / "out") == before
    frame = pd.read_csv(scores).iloc[::-1]
    frame.to_csv(scores, index=False)
    compare(scores, "--all", "--baseline", "base", "--held-out", "truth")
    assert results_in(tmp_path / "out") != before, "the table in another order is the same comparison"


def test_a_folder_with_anything_else_in_it_is_refused_before_the_table_is_read(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ledger.sqlite").write_text("precious")
    with pytest.raises(UsageError, match=r"did not write \(ledger\.sqlite\)"):
        compare(tmp_path / "missing.csv", "--all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--all", "--a", "dpo"], "--all compares every two checkpoints"),
        (["--all", "--baseline", "bse"], "checkpoint 'bse'. Did you mean 'base'"),
        (["--a", "dpo", "--b", "base", "--baseline", "base"], "--baseline goes with --all"),
        (["--a", "dpo"], "Give --a and --b"),
        ([], "or --all to compare every two"),
    ],
)
def test_options_that_contradict_each_other_or_say_too_little_are_refused(scores, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        compare(scores, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_a_table_of_one_checkpoint_is_refused(scores):
    frame = pd.read_csv(scores)
    frame[frame["checkpoint"] == "dpo"].to_csv(scores, index=False)
    with pytest.raises(UsageError, match="two or more different checkpoints"):
        compare(scores, "--all")


def test_a_hole_in_any_checkpoint_is_refused_or_left_out_for_all(scores, tmp_path):
    lines = scores.read_text().splitlines(keepends=True)
    scores.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="1 of 360 scores are missing"):
        compare(scores, "--all")
    compare(scores, "--all", "--drop-incomplete")
    assert results_in(tmp_path / "out")["ranking"]["prompts"] == 39
