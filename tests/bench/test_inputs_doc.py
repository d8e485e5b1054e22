"""docs/inputs.md shows files that are read as they stand."""

import csv
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from prefbench.bench.checkpoints.image_folder import ImageFolderCheckpoint
from prefbench.bench.cli import app
from prefbench.bench.image_manifest import read_manifest
from prefbench.bench.prompts.own_file import read_own_prompts
from prefbench.bench.suite import load_suite

TEXT = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")
FENCES = [part.partition("\n")[2] for part in TEXT.split("```")[1::2]]
SUITE, PROMPTS, IMAGES, MANIFEST, SCORES = FENCES


def named_images(text: str, folder: Path) -> None:
    for row in csv.DictReader(text.splitlines()):
        (folder / row["image"]).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / row["image"])


def test_the_suite_finds_its_prompts_and_the_images_have_their_ids(tmp_path: Path) -> None:
    (tmp_path / "my_suite.toml").write_text(SUITE)
    (tmp_path / "my_prompts.csv").write_text(PROMPTS)
    (tmp_path / "images.csv").write_text(IMAGES)
    named_images(IMAGES, tmp_path)
    suite = load_suite(str(tmp_path / "my_suite.toml"))
    assert suite.prompts == ["partiprompts", str(tmp_path / "my_prompts.csv")]
    prompts = read_own_prompts(tmp_path / "my_prompts.csv").prompts
    assert [prompt.id for prompt in prompts] == ["cube", "cats"]
    ImageFolderCheckpoint("drawn", "images:drawn", tmp_path).check(prompts, suite.seeds)


def test_the_manifest_of_images_is_read(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text(MANIFEST)
    named_images(MANIFEST, tmp_path)
    assert len(read_manifest(tmp_path / "images.csv").images) == 2


def test_the_scores_table_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scores.csv").write_text(SCORES)
    command = TEXT.partition("`prefbench compare scores.csv")[2].partition("`")[0]
    result = CliRunner().invoke(app, ["compare", "scores.csv", *command.split(), "--out", "out"])
    assert result.exit_code == 0, result.output
    assert Path("out/results.json").is_file()
