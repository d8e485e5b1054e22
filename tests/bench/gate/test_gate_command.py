"""`prefbench gate` as a release engineer meets it: exit codes of real processes, files, refusals."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gate_tables import outcomes, table
from typer.testing import CliRunner

from prefbench.bench.baselines.folder import save_baseline
from prefbench.bench.cli import app
from prefbench.bench.exceptions import PrefbenchError
from prefbench.bench.gate.rules import load_rules
from prefbench.bench.suite import parse_suite, suite_text

DOCS = Path(__file__).parents[3] / "docs" / "gate.md"
WRITTEN = ["gate.json", "gate.md", "junit.xml"]


def gate(folder, *options, candidate="mine", baseline="base", source="scores.csv"):
    """A real process in `folder`."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "prefbench.bench.cli", "gate", source),
            *("--candidate", candidate, "--baseline", baseline, "--out", "out", *map(str, options)),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "80"},
        timeout=120,
    )


def here(folder, *options, candidate="mine", baseline="base", source="scores.csv"):
    """The same in this process, for speed."""
    arguments = ["gate", str(folder / source), "--candidate", candidate, "--baseline", baseline]
    arguments += ["--out", str(folder / "out"), "--baselines", str(folder / "baselines"), *map(str, options)]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})


def refusal(folder, *options, candidate="mine", baseline="base", source="scores.csv"):
    """The paragraph of a refusal. Nothing may be written."""
    before = sorted(path.name for path in folder.rglob("*"))
    found = here(folder, *options, candidate=candidate, baseline=baseline, source=source)
    assert isinstance(found.exception, PrefbenchError), found.output
    assert found.exception.exit_code == 2
    assert sorted(path.name for path in folder.rglob("*")) == before
    return str(found.exception)


def save(folder, frame):
    frame.to_csv(folder / "scores.csv", index=False)


def rules_file(folder, text):
    (folder / "gate.toml").write_text(text, encoding="utf-8")
    return "--rules", folder / "gate.toml"


@pytest.mark.parametrize(
    ("counts", "code", "words"),
    [
        ({"wins": 200}, 0, "PASS: mine keeps to the rule against base"),
        ({"losses": 40}, 1, "FAIL: mine breaks 1 of 1 rule against base"),
        ({"wins": 50, "losses": 50}, 3, "INCONCLUSIVE: mine against base is not decided"),
    ],
)
def test_the_exit_code_is_the_outcome_and_the_verdict_comes_first(tmp_path, counts, code, words):
    """Real processes with these codes: test_ci.py."""
    save(tmp_path, table([outcomes(**counts)]))
    found = here(tmp_path)
    assert found.exit_code == code, found.output
    assert found.stdout.startswith(words)
    assert max(len(line) for line in found.stdout.splitlines() if "Written" not in line) <= 80
    told = 'p: one-sided, of "the rule is broken"'
    told += '; of a failed one, of "the rule is kept"' if code == 1 else ""
    assert f"{told}; cut-off alpha/2 = 0.025." in " ".join(found.stdout.split())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == WRITTEN
    report = json.loads((tmp_path / "out" / "gate.json").read_text(encoding="utf-8"))
    assert report["exit_code"] == code
    cases = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot().findall(".//testcase")
    assert [[child.tag for child in case] for case in cases] == [
        [{0: "system-out", 1: "failure", 3: "error"}[code]]
    ]


def test_bad_input_is_exit_code_2_and_an_earlier_gate_stays(tmp_path):
    save(tmp_path, table([outcomes(wins=200)]))
    assert here(tmp_path).exit_code == 0
    before = (tmp_path / "out" / "gate.json").read_bytes()
    found = gate(tmp_path, candidate="mnie")
    assert (found.returncode, found.stdout) == (2, "")
    assert "Did you mean 'mine'?" in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
    assert (tmp_path / "out" / "gate.json").read_bytes() == before


def test_an_interrupted_gate_says_that_nothing_was_decided_and_leaves_the_earlier_one(tmp_path):
    """Ctrl-C while it waits for its rules, which come through a pipe that nobody writes to."""
    save(tmp_path, table([outcomes(wins=200)]))
    assert here(tmp_path).exit_code == 0
    before = (tmp_path / "out" / "gate.json").read_bytes()
    os.mkfifo(tmp_path / "pipe.toml")
    arguments = ["gate", "scores.csv", "--candidate", "mine", "--baseline", "base", "--rules", "pipe.toml"]
    process = subprocess.Popen(
        [sys.executable, "-m", "prefbench.bench.cli", *arguments, "--out", "out"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A shell that starts the tests in the background has told them, and so their children, to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with (tmp_path / "pipe.toml").open("w"):  # opens as soon as the gate reads
        process.send_signal(signal.SIGINT)
        error = " ".join(process.communicate(timeout=60)[1].split())
    assert process.returncode == 130, error
    assert "nothing was decided: out is as it was before" in error
    assert "Traceback" not in error
    assert (tmp_path / "out" / "gate.json").read_bytes() == before


def test_a_bug_is_no_verdict(tmp_path):
    """An error that is nobody's input ends with 70 and not with 1, which would be "fail"."""
    save(tmp_path, table([outcomes(wins=200)]))
    code = (
        "import sys; from prefbench.bench.gate import gating; from prefbench.bench import cli\n"
        "def crash(*a, **k): raise RuntimeError('a bug')\n"
        "gating.gate_release = crash\n"
        "sys.argv = ['prefbench', 'gate', 'scores.csv', '--candidate', 'mine', '--baseline', 'base', '--out', 'out']\n"
        "cli.main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 70
    assert "RuntimeError: a bug" in found.stderr


@pytest.mark.parametrize(
    ("options", "names", "words"),
    [
        ((), {"baseline": "mine"}, "--candidate and --baseline both name 'mine'"),
        ((), {"baseline": "bsae"}, "Did you mean 'base'?"),
        ((), {"source": "nowhere.csv"}, "nothing at"),
        (("--margin", "0.5"), {}, "--margin is 0.5; it must be from 0 to below 0.5"),
        (("--margin", "-0.1"), {}, "--margin is -0.1"),
        (("--margin", "nan"), {}, "--margin is nan"),
        (("--rules", "no.toml"), {}, "cannot be read"),
        (("--allow", "seed"), {}, "Did you mean 'seeds'?"),
        (("--allow", "identcal"), {}, "Did you mean 'identical'?"),
        (("--allow", "seeds"), {}, "--allow seeds is about a stored baseline, and base is a checkpoint of"),
    ],
)
def test_a_wrong_request_is_refused_in_one_paragraph(tmp_path, options, names, words):
    save(tmp_path, table([outcomes(wins=50)]))
    assert words in refusal(tmp_path, *options, **names)


NI = '[[rules]]\nkind = "non_inferiority"\nmargin = 0.03\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '[[rules]]\nkind = "non_inferority"\nmargin = 0.1',
            ["unknown kind 'non_inferority'", "did you mean 'non_inferiority'"],
        ),
        ("[[rules]]\nmargin = 0.1", ["kind of rule 1 is missing", "slowdown"]),
        (
            '[[rules]]\nkind = "superiority"\nmargin = 0.1',
            ["unknown key 'margin' of rule 1", "; known here: kind, scorer, slice"],
        ),
        ('[[rules]]\nkind = "non_inferiority"', ["margin of rule 1 is missing; add it"]),
        (
            '[[rules]]\nkind = "non_inferiority"\nmargin = 0.5',
            ["margin of rule 1 must be below 0.5 (given: 0.5)"],
        ),
        ('[[rules]]\nkind = "non_inferiority"\nmargin = nan', ["margin of rule 1 must be a finite number"]),
        (
            '[[rules]]\nkind = "floor"\nscorer = "one"\nminimum = inf',
            ["minimum of rule 1 must be a finite number"],
        ),
        (
            NI + '[[rules]]\nkind = "tie_cap"\nmaximum = "0.1"',
            ["gate.toml: maximum of rule 2 must be a number, without quotes (given: '0.1')"],
        ),
        (
            '[[rules]]\nkind = "slice_loss"\nmargin = 0.1\nslices = "category"',
            ["slices of rule 1 must be a list in"],
        ),
        ('[[rules]]\nkind = "slice_loss"\nmargin = 0.1\nslices = [3]', ["slice 1 of rule 1 must be text"]),
        (NI + NI, ["rule 2 (non_inferiority) is the same as rule 1"]),
        ("alpha = 0.6\n" + NI, ["alpha must be 0.5 or less (given: 0.6)"]),
        ("alpah = 0.1\n" + NI, ["unknown key 'alpah'", "did you mean 'alpha'"]),
        ("rules = []", ["no list of rules: its rules are []. Each rule begins with a line [[rules]]"]),
        ("# nothing yet", ["gate.toml has no list of rules: it is empty"]),
        ('[rules]\nkind = "superiority"', ["no list of rules", "in double brackets"]),
        ('[[rule]]\nkind = "superiority"', ["no list of rules: it has 'rule'"]),
        ("[gate]\nalpha = 0.1\n", ["stand at the top"]),
        ("rules = [", ["not valid TOML"]),
        (
            NI + 'scorer = "oen"',
            ["gate.toml: unknown scorer in rule 1 (non_inferiority)", "Did you mean 'one'?"],
        ),
        (NI + 'slice = "category=Anmals"', ["rule 1 (non_inferiority)", "Did you mean 'category=Animals'?"]),
        (
            '[[rules]]\nkind = "slice_loss"\nslices = ["challenge"]\nmargin = 0.1',
            ["Known: category, category=Animals"],
        ),
        ('[[rules]]\nkind = "floor"\nscorer = "majority"\nminimum = 0', ["rule 1 (floor)", "Known: one"]),
        ('[[rules]]\nkind = "slowdown"\nmaximum = 1.1', ["is no run", "leave the rule out"]),
    ],
)
def test_faulty_rules_are_refused_by_name(tmp_path, text, words):
    save(tmp_path, table([outcomes(wins=50)], category=["Animals"] * 50))
    message = refusal(tmp_path, *rules_file(tmp_path, text))
    for part in words:
        assert part in message


def test_a_margin_beside_written_rules_is_refused(tmp_path):
    save(tmp_path, table([outcomes(wins=50)]))
    assert "each with its own margin" in refusal(tmp_path, *rules_file(tmp_path, NI), "--margin", "0.1")


def test_a_folder_with_something_else_is_not_replaced(tmp_path):
    save(tmp_path, table([outcomes(wins=50)]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in refusal(tmp_path)


def test_a_missing_score_is_refused_with_the_way_out(tmp_path):
    save(tmp_path, table([outcomes(wins=50)]).iloc[:-1])
    assert "1 of 100 scores are missing" in (message := refusal(tmp_path))
    assert "for all checkpoints with a rule `failure_cap`, which allows so many, or delete" in message
    message = refusal(tmp_path, "--sequential")
    assert "without --sequential and with a rule `failure_cap`" in message
    assert "a gate by blocks has no such rule, so it leaves out none" in message


def test_a_comparison_that_left_samples_out_is_refused_without_a_cap(tmp_path):
    """One of 50 samples has no score of "mine": `--drop-incomplete` needs no number, and the gate asks for one."""
    save(tmp_path, table([outcomes(wins=50)]).iloc[:-1])
    arguments = ["compare", tmp_path / "scores.csv", "--a", "mine", "--b", "base", "--out", tmp_path / "run"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--drop-incomplete"])
    assert done.exit_code == 0, done.output
    told = "leaves out 1 of 50 samples that had no score"
    message = refusal(tmp_path, source="run")
    assert told in message
    assert "Gate it with a rule `failure_cap`" in message
    assert "Gate it without --sequential and with" in refusal(tmp_path, "--sequential", source="run")
    cap = rules_file(tmp_path, '[[rules]]\nkind = "failure_cap"\nmaximum = 0.02\n')
    found = here(tmp_path, *cap, source="run")
    assert found.exit_code == 0, found.output
    assert "intervals over" not in found.stdout
    assert "Intervals" not in (tmp_path / "out" / "gate.md").read_text(encoding="utf-8")


def test_a_stored_baseline_is_held_against_and_differences_are_named(tmp_path):
    """The release of last month, stored; today's table has one prompt more, which must be allowed."""
    save(tmp_path, table([outcomes(wins=40)]))
    save_baseline(tmp_path / "scores.csv", "v1", checkpoint="base", folder=tmp_path / "baselines")
    today = table([outcomes(wins=41)])
    save(tmp_path, today[today["checkpoint"] == "mine"])
    message = refusal(tmp_path, baseline="v1")
    assert "cannot be compared" in message
    assert "--allow prompts" in message
    found = here(tmp_path, "--allow", "prompts", baseline="v1")
    assert found.exit_code == 0, found.output
    report = json.loads((tmp_path / "out" / "gate.json").read_text(encoding="utf-8"))
    assert (report["stored_baseline"]["name"], report["allowed"], report["pairs"]) == ("v1", ["prompts"], 40)
    assert any("only in" in remark for remark in report["remarks"])
    assert "Did you mean 'v1'?" in refusal(tmp_path, baseline="v11")


def test_the_rules_of_the_documentation_can_be_read_and_every_key_is_documented(tmp_path):
    text = DOCS.read_text(encoding="utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "gate.toml").write_text(example, encoding="utf-8")
    assert {rule.kind for rule in load_rules(tmp_path / "gate.toml").rules} == {
        rule["kind"] for rule in tomllib.loads(example)["rules"]
    }
    save(tmp_path, table([outcomes(wins=12, losses=12)]))
    here(tmp_path)
    report = json.loads((tmp_path / "out" / "gate.json").read_text(encoding="utf-8"))
    first, worst = report["rules"][0], report["worst"][0]
    keys = {*report, *report["source"], *report["errors"], *first, *first["needed"], *worst}
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_rules_in_a_suite_survive_writing_it():
    text = (
        'name = "x"\nprompts = ["partiprompts"]\nseeds = [0]\n[sampling]\nsteps = 2\nguidance = 2\n[electorate]\nvoters = ["a"]\n'
        '[gate]\nalpha = 0.1\n[[gate.rules]]\nkind = "slice_loss"\nslices = ["category"]\nmargin = 0.1\n'
        f"{NI.replace('rules', 'gate.rules')}"
    )
    suite = parse_suite(text, where="x")
    assert suite.gate is not None
    assert [rule.kind for rule in suite.gate.rules] == ["slice_loss", "non_inferiority"]
    assert parse_suite(suite_text(suite), where="copy") == suite


COMMAND = (
    f"{sys.executable} -m prefbench.bench.cli gate scores.csv --candidate mine --baseline base --out out"
)


@pytest.mark.parametrize(("behind", "told"), [("| true", ""), ("> /dev/full", "The gate is written to out")])
def test_the_exit_code_is_the_outcome_though_nobody_can_be_told(tmp_path, behind, told):
    """A closed pipe ends a process with 1 by rich's custom, and a full disk is bad input elsewhere: here 0 is the outcome."""
    save(tmp_path, table([outcomes(wins=200)]))
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} {behind}; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert told in done.stderr
    assert json.loads((tmp_path / "out/gate.json").read_text())["outcome"] == "pass"


def test_a_folder_that_only_looks_like_a_gate_s_is_left_alone(tmp_path):
    save(tmp_path, table([outcomes(wins=200)]))
    (tmp_path / "out/pictures").mkdir(parents=True)
    (tmp_path / "out/pictures/holiday.jpg").write_bytes(b"mine")
    assert "did not write (pictures)" in refusal(tmp_path)


def test_a_link_to_a_folder_is_followed_and_the_current_folder_is_refused(tmp_path, monkeypatch):
    save(tmp_path, table([outcomes(wins=200)]))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to("elsewhere")
    for _ in range(2):
        assert here(tmp_path).exit_code == 0
    assert (tmp_path / "out").is_symlink()
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == WRITTEN
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out", "scores.csv"]
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "the folder you are in" in refusal(tmp_path, "--out", ".")


def test_a_comparison_that_lost_its_results_is_not_taken_for_a_bare_table(tmp_path):
    save(tmp_path, table([outcomes(wins=200)] * 3, scorers=("one", "two", "three")))
    arguments = ["compare", str(tmp_path / "scores.csv"), "--a", "mine", "--b", "base", "--held-out", "three"]
    assert CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "run")]).exit_code == 0
    assert here(tmp_path, source="run").exit_code == 0
    (tmp_path / "run/results.json").unlink()
    (
        (tmp_path / "out/gate.json").unlink(),
        (tmp_path / "out/gate.md").unlink(),
        (tmp_path / "out/junit.xml").unlink(),
    )
    assert "no results.json" in refusal(tmp_path, source="run")
