"""docs/training.md says what the commands take."""

import json
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from prefbench.bench.commands.settings import ANY_SETTING
from prefbench.bench.commands.train import train_command
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences

TEXT = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
FENCES = [part.partition("\n") for part in TEXT.split("```")[1::2]]
COMMANDS = [line for _, _, body in FENCES for line in body.splitlines() if " train " in line]
APP = typer.Typer()
APP.command(context_settings=dict(ANY_SETTING))(train_command)


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_every_training_command_has_settings_that_exist(number: int):
    """By --dry-run, which resolves the recipe and opens neither data nor backbone."""
    words = shlex.split(COMMANDS[number])
    arguments = words[words.index("train") + 1 :]
    result = CliRunner().invoke(APP, [*(a for a in arguments if a != "--dry-run"), "--dry-run"])
    assert result.exit_code == 0, (COMMANDS[number], result.output, result.exception)


def test_there_are_commands():
    assert len(COMMANDS) >= 9
    assert {Path(command.split()[0]).name for command in COMMANDS} >= {"prefbench", "accelerate"}


def test_the_examples_of_data_are_read(tmp_path: Path):
    """Each example as a file of its own, with images of the names that it gives."""
    from PIL import Image

    (tmp_path / "images").mkdir()
    for number, name in enumerate(
        ("images/0_a", "images/0_b", "images/1_a", "images/1_b", "0_a", "0_b", "0_c")
    ):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{name}.png")
    lines, ranked = (body for kind, _, body in FENCES if kind == "json")
    (table,) = (body for _, _, body in FENCES if body.startswith("prompt,"))
    found = {}
    for name, body in {"pairs.jsonl": lines, "train.json": ranked, "pairs.csv": table}.items():
        (tmp_path / name).write_text(body, encoding="utf-8")
        pairs = open_preferences(str(tmp_path / name), DataConfig())
        found[name] = (pairs.counts.rows, pairs.counts.ties_dropped, len(pairs))
    assert found == {"pairs.jsonl": (2, 1, 1), "train.json": (3, 1, 2), "pairs.csv": (1, 0, 1)}
    assert json.loads(ranked)[0]["ranking"] == [1, 2, 2]
