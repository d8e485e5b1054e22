import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from prefbench.bench.commands.compare import compare_command
from prefbench.bench.comparison import choose_electorate
from prefbench.bench.exceptions import DataError, PrefbenchError, UsageError
from prefbench.bench.scores_table import read_scores

APP = typer.Typer()
APP.command()(compare_command)


@pytest.fixture
def scores(tmp_path):
    """60 prompts, three checkpoints, three scorers; "dpo" is better by two of them and worse by "truth"."""
    rng = np.random.default_rng(0)
    lift = {"base": 0, "dpo": 1.5, "other": 9}
    rows = [
        (c, f"p{p}", f"a cat, number {p}", 0, k, lift[c] * (-1 if k == "truth" else 1) + rng.normal())
        for c in lift
        for p in range(60)
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


def test_writes_results_scores_and_report_and_prints_the_verdict(scores, tmp_path):
    output = compare(scores, "--a", "dpo", "--b", "base", "--held-out", "truth")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html",
        "results.json",
        "scores.parquet",
    ]
    results = results_in(tmp_path / "out")
    sentence = results["verdicts"][0]["sentence"]
    assert sentence.startswith("dpo beats base: ")
    assert sentence in " ".join(output.split())
    assert str(tmp_path / "out" / "report.html") in output
    assert list(results["checkpoints"]) == ["base", "dpo"], "b is the baseline"
    assert set(read_scores(tmp_path / "out" / "scores.parquet")["checkpoint"]) == {"base", "dpo"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"{100 * results['comparisons'][0]['win_rate']:.1f}" in page


def test_the_terminal_shows_every_scorer_s_numbers_within_80_columns(scores, tmp_path):
    output = compare(scores, "--a", "dpo", "--b", "base", "--held-out", "truth")
    for line in output.splitlines():
        assert len(line) <= 80 or line.startswith("Report: ")
    for entry in results_in(tmp_path / "out")["comparisons"]:
        low, high = (100 * x for x in entry["ci95"])
        assert f"{100 * entry['win_rate']:.1f} [{low:.1f}, {high:.1f}]" in output
    assert "(held out)" in output
    assert "reward hacking" in " ".join(output.split())


def test_all_scorers_vote_unless_told_otherwise(scores, tmp_path):
    compare(scores, "--a", "dpo", "--b", "base")
    electorate = results_in(tmp_path / "out")["suite"]["electorate"]
    assert (sorted(electorate["voters"]), electorate["held_out"]) == (["clip", "pick", "truth"], [])


def test_seed_fixes_the_intervals(scores, tmp_path):
    for out, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        compare(scores, "--a", "dpo", "--b", "base", "--seed", seed, out=out)
    one, again, two = (results_in(tmp_path / out)["comparisons"] for out in ("one", "again", "two"))
    assert one == again
    assert one != two


@pytest.mark.parametrize(
    ("voters", "held_out", "expected"),
    [
        ([], [], (["x", "y", "z"], [])),
        (["z", "x"], [], (["z", "x"], ["y"])),
        ([], ["y"], (["x", "z"], ["y"])),
        (["x", "z"], ["y"], (["x", "z"], ["y"])),
    ],
)
def test_who_does_not_vote_is_held_out(voters, held_out, expected):
    found = choose_electorate(["x", "y", "z"], voters, held_out)
    assert (found["voters"], found["held_out"]) == expected


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--a", "dpo2", "--b", "base"], UsageError, "checkpoint 'dpo2'. Did you mean 'dpo'"),
        (["--a", "dpo", "--b", "bse"], UsageError, "checkpoint 'bse'. Did you mean 'base'"),
        (["--a", "dpo", "--b", "dpo"], UsageError, "--a and --b both name 'dpo'"),
        (
            ["--a", "dpo", "--b", "base", "--electorate", "pik"],
            UsageError,
            "scorer 'pik'. Did you mean 'pick'",
        ),
        (
            ["--a", "dpo", "--b", "base", "--electorate", "pick", "--held-out", "clip"],
            UsageError,
            "truth are neither",
        ),
        (["--a", "dpo", "--b", "base", "--electorate", "pick,pick"], UsageError, "twice"),
        (["--a", "dpo", "--b", "base", "--held-out", "pick,clip,truth"], UsageError, "no voters"),
        (["--a", "dpo", "--b", "base", "--resamples", "5"], UsageError, "at least 1000"),
        (["--a", "dpo", "--b", "base", "--resamples", "1000000000"], UsageError, "more than 1,000,000"),
    ],
)
def test_a_wrong_request_is_refused_and_nothing_is_written(scores, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        compare(scores, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_a_faulty_table_is_refused_and_the_earlier_result_stays(scores, tmp_path):
    compare(scores, "--a", "dpo", "--b", "base")
    before = (tmp_path / "out" / "results.json").read_bytes()
    scores.write_text(scores.read_text().replace("p7,", "p8,"))
    with pytest.raises(DataError, match="given again"):
        compare(scores, "--a", "dpo", "--b", "base")
    assert (tmp_path / "out" / "results.json").read_bytes() == before


def test_a_report_that_fails_leaves_nothing_half_written(scores, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("prefbench.reports.html.write_report", fail)
    with pytest.raises(AssertionError):
        compare(scores, "--a", "dpo", "--b", "base")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_a_folder_with_anything_else_in_it_is_never_replaced(scores, tmp_path):
    run = tmp_path / "out"
    run.mkdir()
    (run / "ledger.sqlite").write_text("precious")
    (run / "results.json").write_text("{}")
    with pytest.raises(UsageError, match=r"did not write \(ledger\.sqlite\)"):
        compare(scores, "--a", "dpo", "--b", "base")
    assert (run / "ledger.sqlite").read_text() == "precious"
    with pytest.raises(UsageError, match="is a file"):
        compare(scores, "--a", "dpo", "--b", "base", out="scores.csv")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc takes no folder")
def test_a_place_that_takes_no_folder_is_refused_before_the_table_is_read(tmp_path):
    with pytest.raises(UsageError, match="--out /proc/x cannot be written"):
        compare(tmp_path / "missing.csv", "--a", "dpo", "--b", "base", out="/proc/x")


def test_a_hole_in_a_checkpoint_that_is_not_compared_does_no_harm(scores):
    lines = scores.read_text().splitlines(keepends=True)
    scores.write_text("".join(lines[:-1]))
    compare(scores, "--a", "dpo", "--b", "base")
    with pytest.raises(DataError, match=r"scores\.csv: 1 of 360 scores are missing"):
        compare(scores, "--a", "other", "--b", "base", out="second")


def test_a_comparison_of_other_checkpoints_is_not_replaced(scores, tmp_path):
    compare(scores, "--a", "dpo", "--b", "base")
    before = results_in(tmp_path / "out")
    with pytest.raises(UsageError, match=r"holds a comparison of other checkpoints \(base, dpo\)"):
        compare(scores, "--a", "other", "--b", "base")
    assert results_in(tmp_path / "out") == before
    compare(scores, "--a", "dpo", "--b", "base", "--held-out", "truth")
    assert results_in(tmp_path / "out") != before, "the same two again: replaced"


def test_scores_whose_sums_overflow_are_refused_by_name(scores, tmp_path):
    lines = scores.read_text().splitlines(keepends=True)
    lines[1] = lines[1].rpartition(",")[0] + ",-1e308\n"
    scores.write_text("".join(lines))
    with pytest.raises(DataError, match="a score of -1e\\+308"):
        compare(scores, "--a", "dpo", "--b", "base")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_place_of_the_table_is_told_with_the_file_that_was_meant(tmp_path):
    with pytest.raises(DataError, match=r"is a folder.*scores\.parquet"):
        compare(tmp_path, "--a", "dpo", "--b", "base", out="second")


@pytest.mark.parametrize("content", ["{}", "[]", '{"schema": 2, "checkpoints": {}}', "no json"])
def test_results_of_another_kind_are_named_by_their_path_and_kept(scores, tmp_path, content):
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.json").write_text(content)
    with pytest.raises(DataError, match=r"out/results\.json"):
        compare(scores, "--a", "dpo", "--b", "base")
    assert (out / "results.json").read_text() == content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--electorate", ","], "--electorate ',' names nothing"),
        (
            ["--electorate", "pick", "--held-out", "pick"],
            "pick stands both in --electorate and in --held-out",
        ),
    ],
)
def test_an_electorate_that_says_nothing_or_two_things_is_refused(scores, options, message):
    with pytest.raises(UsageError, match=message):
        compare(scores, "--a", "dpo", "--b", "base", *options)
