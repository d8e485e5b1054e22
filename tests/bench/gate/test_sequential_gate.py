"""The sequential gate as a person meets it: report, files, command line."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from release_tables import release
from typer.testing import CliRunner

from prefbench.bench.cli import app
from prefbench.bench.exceptions import PrefbenchError, UsageError
from prefbench.bench.gate.gating import gate_release
from prefbench.bench.gate.sequential_gating import gate_by_blocks, replay_gate
from prefbench.bench.run import run_suite
from prefbench.bench.scores_table import write_scores
from prefbench.bench.suite import load_suite

NAMES = ["--candidate", "mine", "--baseline", "base"]


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """300 prompts; the true win rate is 70 %."""
    path = tmp_path / "scores.csv"
    write_scores(release(np.random.default_rng(0), 0.7, prompts=300, seeds=2), path)
    return path


@pytest.fixture
def drawing(suite_file: Path, tmp_path: Path, toy_plugin: Path) -> list[str]:
    """A command line with plain checkpoints, white over gray; 24 prompts x 2 seeds."""
    prompts = [f"a picture of thing {n}" for n in range(24)]
    (tmp_path / "prompts.csv").write_text("\n".join(["prompt", *prompts]) + "\n")
    checkpoints = ["--checkpoint", "base=plain:gray", "--checkpoint", "mine=plain:white"]
    return ["gate", str(suite_file), "--sequential", *checkpoints, *NAMES, "--device", "cpu"]


def call(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "80"})


def test_a_replay_on_scores_writes_what_a_gate_writes_and_says_where_it_stopped(
    scores: Path, tmp_path: Path
) -> None:
    out = tmp_path / "gate"
    found = call("gate", scores, "--sequential", *NAMES, "--block", 16, "--out", out)
    assert found.exit_code == 0, found.output
    report = json.loads((out / "gate.json").read_text())
    told = report["sequential"]
    assert {path.name for path in out.iterdir()} == {"gate.json", "gate.md", "junit.xml"}
    assert (report["mode"], report["outcome"], report["exit_code"]) == ("sequential", "pass", 0)
    assert told["prompts"] < told["of_prompts"] == 300
    assert (told["images"], told["of_images"]) == (4 * told["prompts"], 1200)
    assert (report["prompts"], report["pairs"]) == (told["prompts"], 2 * told["prompts"])
    assert [look["prompts"] for look in told["course"]] == list(range(16, told["prompts"] + 1, 16))
    (rule,) = report["rules"]
    last = told["course"][-1]["rules"][rule["name"]]
    assert (rule["estimate"], rule["interval"]) == (last["estimate"], last["limits"])
    assert rule["interval_method"] == "confidence sequence"
    assert rule["interval"][0] >= rule["threshold"] == 0.47
    assert all(look["rules"][rule["name"]]["outcome"] == "inconclusive" for look in told["course"][:-1])

    where = f"Stopped after {told['prompts']} of 300 prompts: {told['images']} of 1,200 images"
    for text in (report["sentence"], (out / "gate.md").read_text(), " ".join(found.output.split())):
        assert where in text
    assert max(len(line) for line in found.output.splitlines() if "Written" not in line) <= 80
    root = ElementTree.parse(out / "junit.xml").getroot()
    assert [case.get("name") for case in root.iter("testcase")] == [rule["name"]]
    assert root.get("failures") == root.get("errors") == "0"


def test_errors_are_those_of_the_shared_alpha(scores: Path, tmp_path: Path) -> None:
    """Two rules at alpha 10 %: each has limits at 95 %, each end of which errs with 2.5 %; either fails wrongly with 5 %."""
    rules = tmp_path / "rules.toml"
    rules.write_text(
        'alpha = 0.1\n[[rules]]\nkind = "superiority"\n[[rules]]\nkind = "non_inferiority"\nmargin = 0.05\n'
    )
    report = replay_gate(scores, "mine", "base", tmp_path / "gate", rules=rules)
    assert report["sequential"]["alpha_of_rule"] == 0.05
    assert report["errors"] == {
        "wrong_pass": 0.025,
        "wrong_fail": 0.05,
        "not_bounded": [],
        "planned_slices": 0,
    }
    assert "Limits at 95" in (tmp_path / "gate" / "gate.md").read_text()


def test_that_win_rates_are_means_over_pairs_is_not_said_of_a_gate_that_takes_means_over_texts(
    tmp_path: Path,
) -> None:
    """One prompt has one seed, the others two: told by a gate over the whole table, and not by a sequential one."""
    frame = release(np.random.default_rng(0), 0.7, prompts=40, seeds=2)
    last = (frame["prompt_id"] == frame["prompt_id"].iloc[0]) & (frame["seed"] == frame["seed"].max())
    write_scores(frame[~last], tmp_path / "s.csv")
    kinds = [
        {
            warning["kind"]
            for warning in decide(tmp_path / "s.csv", "mine", "base", tmp_path / "out")["warnings"]
        }
        for decide in (gate_release, replay_gate)
    ]
    assert kinds[0] - kinds[1] == {"unequal_seeds"}


def test_an_exact_bound_that_it_does_not_use_is_not_said_of_a_sequential_gate(tmp_path: Path) -> None:
    """All 40 prompts are won: the exact bound decides the gate over the whole table, limits of its own the other."""
    write_scores(release(np.random.default_rng(0), 1.0, prompts=40, ties=0.0), tmp_path / "s.csv")
    kinds = [
        {told["kind"] for told in decide(tmp_path / "s.csv", "mine", "base", tmp_path / "out")["warnings"]}
        for decide in (gate_release, replay_gate)
    ]
    assert kinds[0] - kinds[1] == {"exact_interval"}


def test_a_rule_that_names_no_scorer_is_told_with_its_file(scores: Path, tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text('[[rules]]\nkind = "superiority"\nscorer = "oen"\n')
    with pytest.raises(UsageError, match=r"gate\.toml: unknown scorer in rule 1.*Did you mean 'one'"):
        replay_gate(scores, "mine", "base", tmp_path / "gate", rules=tmp_path / "gate.toml")


@pytest.mark.parametrize(
    ("win_rate", "prompts", "code", "said"),
    [(0.2, 200, 1, "mine breaks 1 of 1 rule"), (0.5, 40, 3, "All 40 prompts were looked at")],
)
def test_exit_codes_are_the_gates(
    tmp_path: Path, win_rate: float, prompts: int, code: int, said: str
) -> None:
    write_scores(release(np.random.default_rng(1), win_rate, prompts=prompts), tmp_path / "s.csv")
    found = call("gate", tmp_path / "s.csv", "--sequential", *NAMES, "--out", tmp_path / "gate")
    assert found.exit_code == code, found.output
    assert said in " ".join(found.output.split())
    assert ("larger prompt set" in " ".join(found.output.split())) == (code == 3)


def test_drawing_prints_a_line_a_block_leaves_files_in_the_run_folder_and_goes_on(
    drawing: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "gate"
    dry = call(*drawing, "--block", 4, "--out", out, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "At most" in dry.output
    assert [line.split()[-3:] for line in dry.output.splitlines() if "images of" in line] == [
        ["48", "0", "48"]
    ] * 2
    assert not out.exists()

    found = call(*drawing, "--block", 4, "--out", out)
    assert found.exit_code == 0, found.output
    looks = re.findall(r"^ +(\d+) of 24 prompts +100.0 % \[.*\] +(open|pass)$", found.stdout, re.M)
    # (1/2 + 1/(2 x .47))^n is 40 or more from n = 9 on: after the third block.
    assert looks == [("4", "open"), ("8", "open"), ("12", "pass")]
    assert found.stderr == ""  # bars are for terminals
    assert "48 of 96 images, 50 % saved" in " ".join(found.stdout.split())
    names = {"gate.json", "gate.md", "junit.xml", "images", "ledger.sqlite", "ledger.lock", "suite.toml"}
    assert {path.name for path in out.iterdir()} == names
    report = json.loads((out / "gate.json").read_text())
    assert report["source"]["kind"] == "run"
    assert report["electorate"]["voters"] == ["toy:bright", "toy:red", "toy:words"]

    again = call(*drawing, "--block", 4, "--out", out)
    assert json.loads((out / "gate.json").read_text()) | {"created": ""} == report | {"created": ""}
    assert again.stdout == found.stdout


def test_what_is_lost_is_shown_with_thumbnails_of_the_pictures_that_bench_draws(
    suite_file: Path, tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path, toy_plugin: Path
) -> None:
    """Five prompts of two tiny networks: no decision, and some pairs are lost by one of them. Blocks of 2 prompts put other
    neighbours into a batch than a whole run does, and the pixels are the same.
    """
    suite, lost = load_suite(str(suite_file)), 0
    specs = {"base": str(tiny_pipeline), "mine": str(other_pipeline)}
    for candidate, baseline in (("mine", "base"), ("base", "mine")):
        out = tmp_path / candidate
        report = gate_by_blocks(suite, specs, out, candidate, baseline, block=2, device="cpu")
        assert report["outcome"] == "inconclusive"
        for each in report["worst"]:
            lost += 1
            assert all((out / path).stat().st_size > 100 for path in each["pictures"].values())
            assert set(each["pictures"]) == {"candidate", "baseline"}
    assert lost > 0
    run_suite(suite, specs, tmp_path / "bench", device="cpu", resamples=1000)
    blocks, whole = (
        {p.name: p.read_bytes() for p in (tmp_path / name / "images").rglob("*.png")}
        for name in ("mine", "bench")
    )
    assert blocks == whole
    assert len(whole) == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scores.csv", "--block", "8"], "--block goes with --sequential"),
        (["scores.csv", "--sequential", "--limit", "8"], "--limit is for a gate that draws"),
        (["scores.csv", "--sequential", "--dry-run"], "--dry-run is for a gate that draws"),
        (["miniature", "--sequential"], "miniature is a suite: give --checkpoint"),
        (["miniature", "--checkpoint", "base=miniature"], "add --sequential"),
        (
            ["miniature", "--sequential", "--checkpoint", "base=miniature", "--allow", "seeds"],
            "--allow seeds is about",
        ),
        (["scores.csv", "--sequential", "--checkpoint", "base=miniature"], "scores.csv is no suite"),
        ([".", "--sequential", "--checkpoint", "base=miniature"], "Leave --checkpoint out"),
        (["scores.csv", "--sequential", "--block", "0"], "--block is 0"),
        (["scores.csv", "--sequential", "--rules", "floor.toml"], "(floor) cannot be decided block by block"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_without_effect_and_rules_without_blocks_are_refused(
    scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("floor.toml").write_text('[[rules]]\nkind = "floor"\nscorer = "one"\nminimum = 0.1\n')
    found = call("gate", *arguments, *NAMES, "--out", tmp_path / "gate")
    assert isinstance(found.exception, PrefbenchError)
    assert said in str(found.exception)
    assert not (tmp_path / "gate").exists()


def test_a_margin_beside_rules_of_the_suite_is_refused_and_the_rules_are_taken(
    drawing: list[str], suite_file: Path, tmp_path: Path
) -> None:
    suite_file.write_text(
        suite_file.read_text() + '\n[[gate.rules]]\nkind = "superiority"\nscorer = "toy:red"\n'
    )
    refused = call(*drawing, "--margin", 0.03, "--out", tmp_path / "gate")
    assert "--margin is for a gate without written rules" in str(refused.exception)
    found = call(*drawing, "--block", 4, "--out", tmp_path / "gate")
    assert found.exit_code == 0
    report = json.loads((tmp_path / "gate" / "gate.json").read_text())
    assert [rule["name"] for rule in report["rules"]] == ["superiority toy:red"]
    assert report["rules_from"] == "suite"
