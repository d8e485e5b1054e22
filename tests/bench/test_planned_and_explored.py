"""What was named in advance, what is left of the rest, and the numbers that every comparison has."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from prefbench.bench.commands.compare import compare_command
from prefbench.bench.exceptions import LedgerError, UsageError
from prefbench.bench.results import summarise
from prefbench.bench.run import run_suite
from prefbench.bench.scores_table import check_scores
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import load_suite
from prefbench.bench.tally.multiplicity import benjamini_hochberg, holm
from prefbench.bench.terminal import print_results

APP = typer.Typer()
APP.command()(compare_command)
COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score", "category", "challenge"]


def made(checkpoints=("base", "sft", "dpo"), prompts=40, seeds=2, scorers=("x", "y", "z"), lift=0.3):
    rng = np.random.default_rng(1)
    rows = [
        (c, f"p{p}", f"t{p}", s, k, lift * i + rng.normal(), "AB"[p % 2], ["", "hard"][p % 4 == 0])
        for i, c in enumerate(checkpoints)
        for p in range(prompts)
        for s in range(seeds)
        for k in scorers
    ]
    return check_scores(pd.DataFrame(rows, columns=COLUMNS))


def judged(table, **options):
    scorers = list(dict.fromkeys(table["scorer"]))
    names = list(dict.fromkeys(table["checkpoint"]))
    options = {"electorate": {"voters": scorers}, "checkpoints": names, "resamples": 1000} | options
    return summarise(table, **options)


@pytest.fixture(scope="module")
def table():
    return made()


@pytest.fixture(scope="module")
def results(table):
    return judged(table, planned_slices=["category=A"])


def test_planned_is_the_vote_against_the_baseline_on_all_prompts_and_on_the_planned_slices(results):
    planned = [(e["a"], e["b"], e["scorer"], e["slice"]) for e in results["comparisons"] if e["planned"]]
    assert sorted(planned) == [
        ("dpo", "base", "majority", "all"),
        ("dpo", "base", "majority", "category=A"),
        ("sft", "base", "majority", "all"),
        ("sft", "base", "majority", "category=A"),
    ]
    assert results["suite"]["planned_slices"] == ["category=A"]


def test_p_values_are_adjusted_by_holm_among_the_planned_and_by_benjamini_hochberg_among_the_others(results):
    for planned, adjust in ((True, holm), (False, benjamini_hochberg)):
        family = [e for e in results["comparisons"] if e["planned"] == planned]
        expected = adjust([e["p_value"] for e in family])
        assert [e["p_adjusted"] for e in family] == pytest.approx(expected.tolist())


def test_planning_a_slice_changes_no_number_but_the_adjusted_ones(table, results):
    def kept(found):
        return [e | {"planned": None, "p_adjusted": None} for e in found["comparisons"]]

    assert kept(judged(table)) == kept(results)


def test_one_planned_comparison_keeps_its_p_value():
    only = judged(made(("base", "dpo")))
    planned = [e for e in only["comparisons"] if e["planned"]]
    assert [(e["scorer"], e["slice"]) for e in planned] == [("majority", "all")]
    assert planned[0]["p_adjusted"] == planned[0]["p_value"]


def test_head_to_head_without_the_baseline_nothing_is_planned(table):
    found = judged(table, pairs=[("dpo", "sft")])
    assert not any(e["planned"] for e in found["comparisons"])
    assert all(0 <= e["p_adjusted"] <= 1 for e in found["comparisons"])


def test_every_slice_has_the_vote_and_every_scorer_with_its_ties(results):
    slices = {"all", "category=A", "category=B", "challenge=hard"}
    found = {(e["slice"], e["scorer"]) for e in results["comparisons"]}
    assert found == {(s, k) for s in slices for k in ("majority", "x", "y", "z")}
    assert all(e["wins"] + e["ties"] + e["losses"] == e["pairs"] for e in results["comparisons"])


def test_effect_size_and_permutation_test_are_of_the_prompts_mean_differences(table, results):
    only_x = table[table["scorer"] == "x"].pivot_table(
        index="prompt_id", columns="checkpoint", values="score"
    )
    gaps = only_x["dpo"] - only_x["base"]
    entry = next(
        e
        for e in results["comparisons"]
        if (e["a"], e["b"], e["scorer"], e["slice"]) == ("dpo", "base", "x", "all")
    )
    assert entry["prompts"] == len(gaps) == 40
    assert entry["effect_size"] == pytest.approx(gaps.mean() / gaps.std(ddof=1))
    assert 0 < entry["permutation_p_value"] < 0.2
    vote = next(e for e in results["comparisons"] if e["scorer"] == "majority")
    assert vote["effect_size"] is None
    assert 0 < vote["permutation_p_value"] <= 1


@pytest.mark.parametrize("interval", ["percentile", "bca"])
@pytest.mark.parametrize("kind", ["one prompt", "all ties", "constant"])
def test_one_prompt_all_ties_and_constant_scores_are_finite_or_null(interval, kind):
    table = made(("base", "dpo"), prompts=1 if kind == "one prompt" else 12)
    if kind == "all ties":
        table = table.assign(score=1.0)
    if kind == "constant":
        table = table.assign(score=(table["checkpoint"] == "dpo").astype(float))
    found = judged(table, interval=interval, definitions=True)
    json.dumps(found, allow_nan=False)
    for entry in found["comparisons"]:
        assert (entry["ci_method"] == "none") == (kind == "one prompt")
        assert entry["ci_method"] in ("none", "exact")
        if kind != "constant":
            assert entry["permutation_p_value"] == 1.0
        if entry["scorer"] != "majority":
            assert entry["effect_size"] is None, "no spread, or one prompt"


def test_the_method_of_the_intervals_is_named(table):
    found = judged(table, interval="bca")
    assert found["intervals"]["interval"] == "bca"
    assert "BCa" in found["intervals"]["method"]
    assert "Holm" in found["intervals"]["tests"]
    assert {e["ci_method"] for e in found["comparisons"]} <= {"bca", "exact"}
    assert "percentile" in judged(table)["intervals"]["method"]


def test_a_planned_slice_that_is_not_there_is_refused_by_name(table):
    with pytest.raises(UsageError, match="slice 'category=a'.*Known: all, category=A, category=B"):
        judged(table, planned_slices=["category=a"])


def test_the_caveat_counts_the_slices_that_were_not_planned_and_what_is_left_of_them(table, results):
    def caveat(found):
        return [w["text"] for w in found["warnings"] if w["kind"] == "exploratory_slices"]

    slices = [e for e in results["comparisons"] if e["slice"] != "all" and not e["planned"]]
    left = sum(e["p_adjusted"] < 0.05 for e in slices)
    (text,) = caveat(results)
    assert text.startswith(f"{len(slices)} comparisons on slices were not planned")
    assert f" {left} stay" in text
    assert len(slices) == 3 * 3 * 4 - 2


def test_planned_slices_of_fewer_than_30_prompts_are_told_in_one_sentence(results):
    """Of 40 prompts 20 are category A and 10 hard; an explored slice is not told, nor one of 30 or more."""

    def told(found):
        return [w["text"] for w in found["warnings"] if w["kind"] == "few_prompts_in_planned_slice"]

    (text,) = told(results)
    assert text.startswith("Planned on fewer than 30 prompts: category=A (20 prompts). ")
    assert "6.5 to 7.8 %" in text
    assert not told(judged(made(prompts=60), planned_slices=["category=A"])), "30 prompts"
    (text,) = told(judged(made(lift=0.1), planned_slices=["category=A", "challenge=hard"]))
    assert "category=A (20 prompts), challenge=hard (10 prompts). " in text
    (few,) = [
        w for w in judged(made(prompts=28), planned_slices=["category=A"])["warnings"] if "6.5" in w["text"]
    ]
    assert few["kind"] == "few_prompts", "of the whole it is said once"


def printed(found):
    console = Console(file=io.StringIO(), width=80)
    print_results(console, found)
    return console.file.getvalue()


def test_the_terminal_says_what_was_planned_with_holms_p_and_how_much_was_explored(results):
    text = printed(results)
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert "planned, by the vote" in flat
    assert "dpo over base, category=A" in flat
    explored = [e for e in results["comparisons"] if not e["planned"]]
    left = sum(e["p_adjusted"] < 0.05 for e in explored)
    assert f"{len(explored)} comparisons are explored" in flat
    assert f"p is below 0.05 in {left} of them" in flat


@pytest.fixture
def csv(tmp_path, table):
    path = tmp_path / "scores.csv"
    table.to_csv(path, index=False)
    return path


def compare(csv, *options):
    arguments = [
        str(csv),
        "--a",
        "dpo",
        "--b",
        "base",
        "--out",
        str(csv.parent / "out"),
        "--resamples",
        "1000",
    ]
    found = CliRunner().invoke(APP, [*arguments, *options], env={"COLUMNS": "80", "TERM": "dumb"})
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return json.loads((csv.parent / "out" / "results.json").read_text(encoding="utf-8")), found.output


def test_compare_takes_interval_and_planned_slices(csv):
    found, output = compare(
        csv, "--interval", "bca", "--planned", "category=A", "--planned", "challenge=hard"
    )
    assert found["intervals"]["interval"] == "bca"
    assert sum(e["planned"] for e in found["comparisons"]) == 3
    assert found["definitions"] is None
    assert "challenge=hard" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--interval", "bc"), "interval 'bc'. Did you mean 'bca'"),
        (("--planned", "category=C"), "slice 'category=C'"),
    ],
)
def test_an_unknown_interval_or_slice_is_refused_and_nothing_is_written(csv, options, message):
    with pytest.raises(UsageError, match=message):
        compare(csv, *options)
    assert not (csv.parent / "out").exists()


RED_AND_BLUE = {"red": "plain:red", "blue": "plain:blue"}


def with_planned(suite_file, line):
    text = suite_file.read_text().replace("seeds = [0, 1]", f"seeds = [0, 1]\n{line}")
    suite_file.write_text(text)
    return load_suite(str(suite_file))


@pytest.mark.usefixtures("toy_plugin")
def test_a_suite_plans_its_slices_and_a_run_refuses_one_that_its_prompts_lack_before_it_draws(
    suite_file, tmp_path
):
    mistyped = with_planned(suite_file, 'planned_slices = ["category=animal"]')
    with pytest.raises(UsageError, match="slice 'category=animal'. Did you mean 'category=animals'"):
        run_suite(mistyped, RED_AND_BLUE, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    suite = mistyped.model_copy(update={"planned_slices": ["category=animals"]})
    found = run_suite(suite, RED_AND_BLUE, tmp_path / "run", device="cpu", resamples=1000, interval="bca")
    planned = [e["slice"] for e in found["comparisons"] if e["planned"]]
    assert planned == ["all", "category=animals"]
    assert found["intervals"]["interval"] == "bca"


@pytest.mark.usefixtures("toy_plugin")
def test_a_run_folder_from_before_planned_slices_goes_on_and_none_can_be_planned_afterwards(
    suite_file, tmp_path
):
    suite, out = load_suite(str(suite_file)), tmp_path / "run"
    run_suite(suite, RED_AND_BLUE, out, device="cpu", resamples=1000)
    with Ledger(out) as ledger, ledger.atomic():
        old = json.loads(ledger.meta("suite"))
        del old["planned_slices"]
        ledger.set_meta("suite", json.dumps(old))
    run_suite(suite, RED_AND_BLUE, out, device="cpu", resamples=1000)
    late = with_planned(suite_file, 'planned_slices = ["category=animals"]')
    with pytest.raises(LedgerError, match="planned_slices"):
        run_suite(late, RED_AND_BLUE, out, device="cpu", resamples=1000)
