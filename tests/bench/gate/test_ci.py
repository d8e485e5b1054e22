"""The GitHub action and the GitLab template, taken from their text and run as a runner's shell would."""

import os
import re
import shutil
import subprocess
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path

import pandas as pd
import pytest
import yaml

from prefbench.bench.comparison import compare_scores

ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
REFERENCE = re.compile(r"inputs\.([a-z-]+)")
HOSTILE = 'mine "v2" $(touch pwned) `touch pwned`; é'
"""A checkpoint's name that a careless script would run."""


def table(folder, wins, prompts=200, name="mine"):
    """One scorer: `name` scores higher than "base" on the first `wins` prompts and lower on the rest."""
    rows = [
        (
            checkpoint,
            f"p{p}",
            f"text {p}",
            0,
            "x",
            float(checkpoint == "base") if p >= wins else float(checkpoint != "base"),
        )
        for checkpoint in ("base", name)
        for p in range(prompts)
    ]
    path = folder / "scores with a blank.csv"
    columns = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


class Runner:
    """What a GitHub runner gives the steps of a composite action."""

    def __init__(self, folder, **inputs):
        self.folder, self.outputs = folder, {}
        defaults = {name: spec["default"] for name, spec in ACTION["inputs"].items() if "default" in spec}
        self.inputs = defaults | inputs
        self.variables = os.environ | {
            "PATH": f"{folder / 'bin'}{os.pathsep}{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_REPOSITORY": "owner/models",
        }
        (folder / "bin").mkdir(exist_ok=True)

    def expression(self, text):
        """The few expressions that our `env` holds."""
        inner = text.strip().removeprefix("${{").removesuffix("}}").strip()
        if inner == "github.event.pull_request.number":
            return "17"
        if inner.startswith("inputs."):
            return self.inputs[inner.removeprefix("inputs.")]
        step, output = re.fullmatch(r"steps\.([a-z-]+)\.outputs\.([a-z-]+)", inner).groups()
        assert step == "gate"
        return self.outputs[output]

    def step(self, name, **variables):
        step = STEPS[name]
        given = {key: self.expression(value) for key, value in step.get("env", {}).items()}
        script = self.folder / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        # GitHub's own command line of `shell: bash`.
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder,
            env=self.variables | given | variables,
            capture_output=True,
            text=True,
        )
        written = self.folder / "output"
        if written.is_file():
            self.outputs |= dict(line.split("=", 1) for line in written.read_text().splitlines())
        return done


def gate(folder, wins, name="mine", **inputs):
    scores = table(folder, wins, name=name)
    runner = Runner(folder, scores=str(scores), candidate=name, baseline="base", **inputs)
    return runner, runner.step("Gate")


@pytest.mark.parametrize(
    ("wins", "code", "outcome"), [(160, 0, "pass"), (40, 1, "fail"), (96, 3, "inconclusive")]
)
def test_the_action_ends_as_the_gate_does_and_writes_the_summary(tmp_path, wins, code, outcome):
    """160 of 200 won is far above 47 %, 40 far below; 96 (48 %) has an interval of 14 points around it."""
    runner, done = gate(tmp_path, wins)
    assert done.returncode == 0, done.stderr
    assert runner.outputs == {"exit-code": str(code), "outcome": outcome}
    comment = (tmp_path / "prefbench-gate/gate.md").read_text(encoding="utf-8")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == comment
    assert runner.step("Decide").returncode == code


def test_bad_input_ends_with_2_and_no_outcome(tmp_path):
    """A margin that is none: so a margin reaches the gate."""
    runner, done = gate(tmp_path, 160, margin="0.7")
    assert done.returncode == 0
    assert runner.outputs == {"exit-code": "2", "outcome": ""}
    assert not (tmp_path / "prefbench-gate").exists()
    assert not (tmp_path / "summary.md").exists()
    assert runner.step("Decide").returncode == 2


def test_inconclusive_may_be_let_through_and_a_failed_gate_may_not(tmp_path):
    runner = Runner(tmp_path, inconclusive="pass")
    runner.outputs["exit-code"] = "3"
    assert runner.step("Decide").returncode == 0
    runner.outputs["exit-code"] = "1"
    assert runner.step("Decide").returncode == 1
    runner.inputs["inconclusive"] = "maybe"
    assert runner.step("Decide").returncode == 2


def test_rules_reach_the_gate_and_so_does_its_folder(tmp_path):
    """48 % of 200 has an interval of about [41, 55] %: inside a margin of 20 points, where the default's 3 leave it open."""
    rules = tmp_path / "gate.toml"
    rules.write_text('[[rules]]\nkind = "non_inferiority"\nmargin = 0.2\n', encoding="utf-8")
    runner, _ = gate(tmp_path, 96, rules=str(rules), out="second")
    assert runner.outputs["outcome"] == "pass"
    assert (tmp_path / "second/gate.json").is_file()


def test_names_are_never_commands(tmp_path):
    runner, done = gate(tmp_path, 160, name=HOSTILE)
    assert runner.outputs["outcome"] == "pass", done.stderr
    install_fake_gh(tmp_path)
    assert runner.step("Comment on the pull request").returncode == 0
    assert not (tmp_path / "pwned").exists()


def install_fake_gh(folder, existing=""):
    """A `gh` that writes down its arguments and the body, and answers a listing with `existing`."""
    gh = folder / "bin/gh"
    gh.write_text(
        f'#!/usr/bin/env bash\nprintf "%s\\n" "$*" >> "{folder}/asked"\n'
        'for argument in "$@"; do case "$argument" in\n'
        f'  body=@*) cat "${{argument#body=@}}" > "{folder}/body" ;;\n'
        f'  --jq) printf "%s" "{existing}" ;;\nesac; done\n',
        encoding="utf-8",
    )
    gh.chmod(0o755)


def test_the_comment_is_made_once_and_then_renewed(tmp_path):
    runner = Runner(tmp_path, candidate="mine")
    (tmp_path / "prefbench-gate").mkdir()
    (tmp_path / "prefbench-gate/gate.md").write_text("## Passed\n", encoding="utf-8")
    install_fake_gh(tmp_path)
    assert runner.step("Comment on the pull request").returncode == 0
    listing, made = (tmp_path / "asked").read_text().splitlines()
    assert "repos/owner/models/issues/17/comments" in listing
    assert made.startswith("api --method POST repos/owner/models/issues/17/comments ")
    body = (tmp_path / "body").read_text(encoding="utf-8")
    assert body == "<!-- prefbench gate: mine -->\n## Passed\n"
    (tmp_path / "asked").unlink()
    install_fake_gh(tmp_path, existing="4711\n4712\n")
    assert runner.step("Comment on the pull request").returncode == 0
    assert "--method PATCH repos/owner/models/issues/comments/4711 " in (tmp_path / "asked").read_text()


def test_every_input_that_is_used_is_declared_and_no_script_holds_an_expression():
    used = set(REFERENCE.findall((ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == set(ACTION["inputs"])
    assert all("${{" not in step["run"] for step in STEPS.values())


def test_the_action_installs_its_own_checkout(tmp_path):
    """pip as it is written, into an environment of its own; pip and setuptools are this one's, and dependencies are left out, to
    spare their installation.
    """
    made = tmp_path / "environment"
    venv.create(made, symlinks=True)
    (site,) = made.glob("lib/python*/site-packages")
    for name in ("pip", "setuptools"):
        lent = distribution(name)
        for top in {file.parts[0] for file in lent.files or () if ".." not in file.parts}:
            (site / top).symlink_to(lent.locate_file(top))
    runner = Runner(tmp_path)
    checkout = tmp_path / "checkout"
    kept = ["pyproject.toml", "README.md", "LICENSE", "bench", "scorers", "reference_trainers", "reports"]
    for name in kept:
        (checkout / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, checkout / name)
    runner.variables["GITHUB_ACTION_PATH"] = str(checkout)
    runner.variables["PATH"] = f"{made / 'bin'}{os.pathsep}{runner.variables['PATH']}"
    spared = {
        "PIP_NO_DEPS": "1",
        "PIP_NO_COMPILE": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
    }  # 0: pip reads it as "no"
    done = runner.step("Install prefbench", PYTHONPATH="", **spared)
    assert done.returncode == 0, done.stderr
    assert (made / "bin/prefbench").is_file()


def gitlab_jobs():
    text = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(# \.gitlab-ci\.yml\n.*?)```", text, re.DOTALL).group(1)
    return yaml.safe_load(block)


@pytest.mark.parametrize(("wins", "code"), [(160, 0), (96, 3)])
def test_the_gitlab_job_runs_as_it_is_written(tmp_path, wins, code):
    job = gitlab_jobs()["gate"]
    table(tmp_path, wins, name="candidate").rename(tmp_path / "run")
    scores = pd.read_csv(tmp_path / "run").replace({"checkpoint": {"base": "released"}})
    (tmp_path / "run").unlink()
    scores.to_csv(tmp_path / "run.csv", index=False)
    # The template gates a run folder; a comparison of this table is one.
    compare_scores(tmp_path / "run.csv", "candidate", "released", tmp_path / "run", resamples=1000)
    path = os.environ | {"PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}
    # GitLab's shell runner puts the lines of `script` into one bash script that stops at the first error.
    script = "set -eo pipefail\n" + "\n".join(job["script"])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert (tmp_path / job["artifacts"]["reports"]["junit"]).is_file()
    assert job["allow_failure"]["exit_codes"] == [3]


def test_the_github_workflow_of_the_docs_gives_only_inputs_that_exist():
    text = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(# \.github/workflows.*?)```", text, re.DOTALL).group(1)
    steps = yaml.safe_load(block)["jobs"]["gate"]["steps"]
    given = next(step for step in steps if step.get("uses") == "./prefbench")["with"]
    assert given.keys() <= ACTION["inputs"].keys()
    required = {name for name, spec in ACTION["inputs"].items() if spec.get("required")}
    assert required <= given.keys()
