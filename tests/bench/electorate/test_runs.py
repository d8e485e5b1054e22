"""Voting rules in runs: from suite and training record into results.json, and in a run folder that goes on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from prefbench.bench.commands.bench import bench_command
from prefbench.bench.electorate.accuracies import Accuracies
from prefbench.bench.exceptions import DataError, LedgerError, UsageError
from prefbench.bench.run import plan_suite, run_suite, score_suite
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite, load_suite, parse_suite, suite_text, with_trained_against

pytestmark = pytest.mark.usefixtures("toy_plugin")
PLAIN = {"red": "plain:red", "blue": "plain:blue"}
LATER = ("tie_rule", "tie_tolerance", "trained_against", "planned_slices", "gate")
"""Fields of a suite that came after its first version."""


@pytest.fixture
def suite(suite_file: Path) -> Suite:
    return load_suite(str(suite_file))


def run(suite: Suite, out: Path, checkpoints: dict[str, str] = PLAIN, **more: Any) -> dict[str, Any]:
    return run_suite(suite, checkpoints, out, device="cpu", resamples=1000, **more)


def vote(results: dict[str, Any], a: str, b: str) -> dict[str, Any]:
    return next(
        e
        for e in results["comparisons"]
        if (e["a"], e["b"], e["scorer"], e["slice"]) == (a, b, "majority", "all")
    )


def with_rules(suite_file: Path, electorate: str, rest: str = "") -> Suite:
    suite_file.write_text(f"{suite_file.read_text()}{electorate}\n{rest}\n")
    return load_suite(str(suite_file))


def test_a_suite_states_tie_rule_tolerance_and_what_was_trained_against(
    suite_file: Path, tmp_path: Path
) -> None:
    suite = with_rules(
        suite_file,
        'tie_rule = "first"\ntie_tolerance = {"toy:words" = 0.5}',
        '[trained_against]\nblue = ["toy:red"]',
    )
    results = run(suite, tmp_path / "run")
    assert results["votes"]["tie_rule"] == "first"
    assert results["suite"]["electorate"]["tie_tolerance"] == {"toy:words": 0.5}
    assert results["checkpoints"]["blue"]["trained_against"] == ["toy:red"]
    assert vote(results, "blue", "red")["voters"] == ["toy:bright", "toy:words"]
    assert parse_suite((tmp_path / "run" / "suite.toml").read_text(), where="run") == suite
    assert run(load_suite(str(tmp_path / "run" / "suite.toml")), tmp_path / "run") | {
        "created": ""
    } == results | {"created": ""}


def test_accuracies_give_a_run_its_weighted_vote_or_are_refused_before_an_image(
    suite: Suite, tmp_path: Path
) -> None:
    people = Accuracies({"toy:bright": 0.6, "toy:red": 0.7, "toy:words": 0.8}, "people.toml")
    votes = run(suite, tmp_path / "run", accuracies=people)["votes"]
    assert votes["weights_source"] == "people.toml"
    assert "weighted" in [variant["rule"] for variant in votes["variants"]]
    with pytest.raises(UsageError, match="no accuracy of toy:red, toy:words"):
        run(suite, tmp_path / "other", accuracies=Accuracies({"toy:bright": 0.6}, "people.toml"))
    assert not list((tmp_path / "other").rglob("*.png"))


def test_the_command_takes_both_and_says_what_came_of_them(
    suite_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = tmp_path / "people.toml"
    people.write_text('[accuracy]\n"toy:bright" = 0.6\n"toy:red" = 0.7\n"toy:words" = 0.8\n')
    specs = [f"{name}={spec}" for name, spec in PLAIN.items()]
    bench_command(
        str(suite_file),
        tmp_path / "run",
        specs,
        device="cpu",
        trained_against=["blue=toy:red"],
        accuracy=people,
    )
    said = " ".join(capsys.readouterr().out.split())
    assert "blue was trained against toy:red: its vote does not count where blue takes part." in said
    assert "toy:bright 0.41, toy:red 0.85, toy:words 1.39." in said
    assert "blue" in load_suite(str(tmp_path / "run" / "suite.toml")).trained_against


def test_a_run_folder_from_before_these_fields_goes_on(suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = run(suite, out)
    with Ledger(out) as ledger:
        stored = json.loads(ledger.meta("suite") or "")
        for fields in (stored, stored["electorate"]):
            for name in LATER:
                fields.pop(name, None)
        with ledger.atomic():
            ledger.set_meta("suite", json.dumps(stored, sort_keys=True))
    assert set(stored["electorate"]) == {"voters", "held_out"}
    ages = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert run(suite, out) | {"created": ""} == first | {"created": ""}
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == ages
    with pytest.raises(LedgerError, match="tie_rule is 'tie' there and 'first' now"):
        electorate = suite.electorate.model_copy(update={"tie_rule": "first"})
        run(suite.model_copy(update={"electorate": electorate}), out)


def test_a_suite_of_defaults_is_written_without_empty_tables(suite: Suite) -> None:
    assert "tie_tolerance" not in suite_text(suite)
    assert "trained_against" not in suite_text(suite)
    assert 'tie_rule = "tie"' in suite_text(suite)


def test_what_was_trained_against_may_be_added_and_changed_in_a_folder_and_not_forgotten(
    suite: Suite, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(suite, out)
    told = with_trained_against(suite, {"blue": ["toy:red"]})
    assert vote(run(told, out), "blue", "red")["voters"] == ["toy:bright", "toy:words"]
    with pytest.raises(LedgerError, match=r"trained_against\.blue is \['toy:red'\] there and None now"):
        run(suite, out)
    wider = with_trained_against(told, {"green": ["toy:words"]})
    results = run(wider, out, {"green": "plain:green"})
    assert vote(results, "green", "blue")["voters"] == ["toy:bright"]
    taken_back = with_trained_against(wider, {"blue": []})
    assert len(vote(run(taken_back, out), "blue", "red")["voters"]) == 3


def test_names_that_do_not_exist_are_refused_before_anything_is_written(suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="scorer that 'blue' was trained against 'toy:rde'"):
        with_trained_against(suite, {"blue": ["toy:rde"]})
    with pytest.raises(UsageError, match="checkpoint in trained_against 'bleu'. Did you mean 'blue'"):
        run(with_trained_against(suite, {"bleu": ["toy:red"]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("electorate", "rest", "said"),
    [
        ('tie_rule = "coin"', "", "electorate.tie_rule"),
        ('tie_tolerance = {"toy:rde" = 1.0}', "", "Did you mean 'toy:red'"),
        ('tie_tolerance = {"toy:red" = -1.0}', "", "0 or more"),
        ('tie_tolerance = {"toy:red" = nan}', "", "finite"),
        ("", '[trained_against]\nblue = ["toy:rde"]', "Did you mean 'toy:red'"),
        ("", '[trained_against]\nblue = "toy:red"', "trained_against.blue"),
    ],
)
def test_a_faulty_suite_is_refused(suite_file: Path, electorate: str, rest: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        with_rules(suite_file, electorate, rest)
    assert said in str(caught.value)


def test_a_training_record_keeps_its_scorers_out_and_refuses_an_empty_electorate(
    suite: Suite, tiny_pipeline: Path, tmp_path: Path
) -> None:
    """A card as `prefbench train` writes it, read through the real checkpoint; nothing is drawn."""
    trained = tmp_path / "trained"
    shutil.copytree(tiny_pipeline, trained)
    labels = {"labels": "majority", "electorate": ["toy:bright", "toy:red", "toy:words"]}
    card = {"kind": "pipeline", "method": "balanced_dpo", "composition": {"labels": labels}}
    (trained / "prefbench.json").write_text(json.dumps(card))
    two = {"base": str(tiny_pipeline), "balanced": str(trained)}
    with pytest.raises(
        UsageError, match=r"balanced was trained against every voter .*held out now: toy:blue"
    ):
        run(suite, tmp_path / "run", two)
    with pytest.raises(UsageError, match="nobody is left to vote"):
        plan_suite(suite, two, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    plan_suite(with_trained_against(suite, {"balanced": []}), two, tmp_path / "run", device="cpu")
    assert len(score_suite(suite, PLAIN, tmp_path / "scored", device="cpu")) > 0, "scoring asks for no vote"
