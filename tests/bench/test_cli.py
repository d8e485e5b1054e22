"""The command as a person meets it: real processes, real exit codes, no traceback."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prefbench.bench.cli import app

COMMANDS = (
    "demo",
    "train",
    "label",
    "select",
    "bench",
    "score",
    "noise",
    "judges",
    "import-votes",
    "compare",
    "baseline",
    "history",
    "gate",
    "plan",
    "report",
    "reproduce",
    "list",
    "doctor",
)


def prefbench(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, 80 columns wide."""
    return subprocess.run(
        [sys.executable, "-m", "prefbench.bench.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", "HF_HUB_OFFLINE": "1", **environment},
        timeout=120,
    )


def test_help_names_every_command() -> None:
    found = prefbench("--help")
    assert found.returncode == 0
    assert all(f" {command} " in found.stdout for command in COMMANDS)
    assert {c.name for c in (*app.registered_commands, *app.registered_groups)} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example(command: str) -> None:
    found = prefbench(command, "--help")
    assert found.returncode == 0
    assert (
        f"prefbench {command}"
        in found.stdout.partition("Options")[0].partition("Usage:")[2].partition("\n")[2]
    )


def test_help_does_not_import_the_heavy_libraries() -> None:
    """That is what keeps it under 0.4 s; the time itself is measured in tests/benchmarks."""
    code = (
        "import sys, prefbench.bench.cli; "
        "print([m for m in ('torch', 'numpy', 'pandas', 'diffusers', 'transformers', 'pydantic', 'PIL') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_version_is_the_installed_one() -> None:
    assert prefbench("--version").stdout.strip() == f"prefbench {importlib.metadata.version('prefbench')}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "scorer"), "Did you mean 'scorers'?"),
        (("bench", "minature", "--checkpoint", "a=miniature", "--out", "run"), "Did you mean 'miniature'?"),
        (("compare", "missing.csv", "--a", "x", "--b", "y", "--out", "run"), "missing.csv"),
        (
            ("train", "difusion_dpo", "--backbone", "miniature", "--data", "miniature", "--out", "run"),
            "'diffusion_dpo'",
        ),
        (("score", "missing.csv", "--scorer", "mini:clip", "--out", "run"), "missing.csv"),
        (("report", "missing-run"), "missing-run"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_paragraph_and_exit_code_2_and_writes_nothing(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    found = prefbench(*arguments, cwd=tmp_path)
    assert found.returncode == 2, found.stderr
    assert words in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr + found.stdout
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback() -> None:
    found = prefbench("--debug", "list", "scorer")
    assert found.returncode != 0
    assert "Traceback" in found.stderr


def test_a_missing_option_is_a_usage_error() -> None:
    assert prefbench("compare", "scores.csv").returncode == 2


@pytest.mark.parametrize("kind", ["scorers", "methods", "prompts", "suites", "checkpoints"])
def test_every_kind_can_be_listed_in_80_columns(kind: str) -> None:
    found = prefbench("list", kind)
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.splitlines()) > 2
    assert max(map(len, found.stdout.splitlines())) <= 80


def test_the_doctor_finds_this_installation_whole() -> None:
    found = prefbench("doctor")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "base checkpoint and five scorers" in " ".join(found.stdout.split())


def test_an_out_below_a_file_is_one_paragraph(tmp_path: Path) -> None:
    rows = "".join(f"{c},p{i},a cat,0,clip,{i + len(c)}\n" for c in ("base", "mine") for i in range(10))
    (tmp_path / "scores.csv").write_text("checkpoint,prompt_id,prompt,seed,scorer,score\n" + rows)
    (tmp_path / "file").write_text("kept")
    found = prefbench(
        "compare", "scores.csv", "--a", "mine", "--b", "base", "--out", "file/under", cwd=tmp_path
    )
    assert found.returncode == 2
    assert "Error: --out file/under cannot be written" in found.stderr
    assert "Traceback" not in found.stderr
    assert (tmp_path / "file").read_text() == "kept"
