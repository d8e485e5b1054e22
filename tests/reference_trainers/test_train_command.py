"""`prefbench train` as a user types it."""

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from prefbench.bench.commands.settings import ANY_SETTING
from prefbench.bench.commands.train import train_command
from prefbench.bench.exceptions import DataError, PrefbenchError, UsageError

APP = typer.Typer()
APP.command(context_settings=dict(ANY_SETTING))(train_command)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], env={"COLUMNS": "80"})
    if isinstance(result.exception, PrefbenchError):
        raise result.exception
    return result


def places(pipeline: Path, manifest: Path, out: Path) -> list[object]:
    return ["--backbone", pipeline, "--data", manifest, "--out", out, "--recipe", "miniature"]


@pytest.mark.parametrize("method", ["sft", "diffusion_dpo"])
def test_two_steps_end_with_a_checkpoint_and_a_second_call_does_nothing(
    method: str, tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    arguments = [method, *places(tiny_pipeline, manifest, tmp_path / "out"), "--steps", 2, "--batch", 2]
    result = run(*arguments, "--flip", 0.2)
    assert result.exit_code == 0, result.output
    assert "step 2/2" in result.output
    assert "2 steps of 2 pairs from 10 pairs (0 ties dropped, 2 labels flipped)" in " ".join(
        result.output.split()
    )
    assert (tmp_path / "out" / "model_index.json").is_file()
    again = run(*arguments, "--flip", 0.2)
    assert "Nothing to do" in again.output


def test_dry_run_prints_every_constant_with_its_source_and_writes_nothing(tmp_path: Path):
    out = tmp_path / "out"
    result = run(
        "diffusion_dpo", *places(Path("absent"), Path("absent.csv"), out), "--kappa", 700, "--dry-run"
    )
    assert result.exit_code == 0, result.output
    lines = {line.split()[1]: line for line in result.output.splitlines() if line.startswith("│")}
    assert "700" in lines["kappa"]
    assert "--kappa" in lines["kappa"]
    assert "ours" in lines["lr"]
    assert {"steps", "caption_dropout", "hflip", "clip", "seed"} <= lines.keys()
    assert not out.exists()


def test_a_dry_run_says_what_is_there_and_what_it_did_not_look_at(manifest: Path, tmp_path: Path):
    def said(backbone: object, data: object) -> str:
        result = run("sft", "--backbone", backbone, "--data", data, "--out", tmp_path / "out", "--dry-run")
        assert result.exit_code == 0
        return " ".join(result.output.rpartition("┘")[2].split())

    text = said("nowhere/at/all", tmp_path / "absent.csv")
    assert "A run would be refused: --backbone nowhere/at/all: there is no such folder" in text
    assert "A run would be refused: --data" in text
    text = said("some/hub-id", manifest)
    assert "some/hub-id: taken for a hub id; the hub was not asked" in text
    assert "is there; its rows and images were not looked at" in text
    assert "refused" not in text
    text = said("miniature", "miniature")
    assert text.count("is there") == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch", 5, "--set", "micro_batch=2"], "batch = 5 pairs cannot be cut"),
        (["--resolution", 1], r"resolution = 1: one number of the latents .* 2 x 2 pixels"),
        (["--flip", 0.5, "--flip-seed", -1], "flip_seed = -1 must not be negative"),
        (["--precision", "fp16"], "what --precision says"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(
    more: list[object], message: str, tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    if "fp16" in more and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match=message):
        run("sft", *places(tiny_pipeline, manifest, tmp_path / "out"), "--steps", 1, *more)
    assert not (tmp_path / "out").exists()


def test_a_file_gives_way_to_options_and_both_are_named_as_sources(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    config = tmp_path / "mine.toml"
    config.write_text("steps = 1\nbatch = 2\nkappa = 900.0\n")
    where = places(tiny_pipeline, manifest, tmp_path / "out")
    run("diffusion_dpo", *where, "--config", config, "--kappa", 800, "--set", "weight_decay=0.5")
    constants = json.loads((tmp_path / "out" / "prefbench.json").read_text())["constants"]
    assert constants["kappa"] == {"value": 800.0, "source": "--kappa"}
    assert constants["steps"] == {"value": 1, "source": str(config)}
    assert constants["weight_decay"] == {"value": 0.5, "source": "--set"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--set", "lr"], UsageError, "not of the form key=value"),
        (["--set", "lr=1", "--lr", "1"], UsageError, "by --set and by --lr"),
        (["--set", "lr=1", "--set", "lr=2"], UsageError, "lr twice"),
        (["--set", "weightdecay=1"], UsageError, "Did you mean 'weight_decay'"),
        (["--config", "absent.toml"], DataError, r"absent\.toml cannot be read"),
        (["--recipe", "launchr"], UsageError, "Did you mean 'launcher'"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], error: type, message: str, tmp_path: Path):
    with pytest.raises(error, match=message):
        run("sft", *places(Path("p"), Path("d.csv"), tmp_path / "out"), *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"), [("steps = ", "is not TOML"), ("[loop]\nsteps = 1", "is a table")]
)
def test_a_bad_settings_file_is_named(text: str, message: str, tmp_path: Path):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        run("sft", *places(Path("p"), Path("d.csv"), tmp_path / "out"), "--config", tmp_path / "bad.toml")


def test_help_shows_examples_and_every_option():
    text = run("--help").output
    assert "Examples" in text
    for option in (
        "--backbone",
        "--data",
        "--out",
        "--recipe",
        "--kappa",
        "--lora-rank",
        "--flip-seed",
        "--dry-run",
    ):
        assert option in text


def test_a_wrong_backbone_is_named_before_a_precision_that_this_machine_lacks(tmp_path: Path):
    """The launcher's recipe says fp16, which a CPU cannot train: no answer to a name that is mistyped."""
    arguments = ["--data", "miniature:4", "--recipe", "launcher", "--out", tmp_path / "o"]
    with pytest.raises(UsageError, match="Did you mean 'miniature'"):
        run("sft", "--backbone", "miniatur", *arguments)
