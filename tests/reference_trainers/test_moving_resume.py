"""Shadows and references that move survive a kill: the resumed run ends bit for bit as an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import full_disk_at
from safetensors.torch import load_file, save_file

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe

TRAIN = """
import sys
import typer
from prefbench.bench.commands.train import train_command
app = typer.Typer()
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train_command)
app(sys.argv[1:])
"""
KEPT = {"batch": 2, "lr": 1e-3, "checkpoint_every": 3, "keep_state": True, "cache": True}


def recipe_of(method: str, **values: Any) -> Recipe:
    values = {"steps": 5, **KEPT, **values}
    return resolve_recipe(method, "miniature", {key: Constant(v, "test") for key, v in values.items()})


def losses_of(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def same_files(one: Path, other: Path) -> None:
    """Every tensor of the checkpoint and of the last training state."""
    files = sorted(path.relative_to(one) for path in one.rglob("*.safetensors"))
    assert Path("state/step-00000005/moving.safetensors") in files
    for file in files:
        weights, others = load_file(one / file), load_file(other / file)
        assert weights.keys() == others.keys()
        assert all(torch.equal(value, others[name]) for name, value in weights.items()), file


def break_off(recipe: Recipe, places: dict[str, str], out: Path) -> None:
    """A run that a full disk ends at its fifth step: its state is that of step 3."""
    with full_disk_at(5):
        train(recipe, **places, out=out)


@pytest.mark.parametrize("lora_rank", [None, 2])
@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("adaptive_dpo", {"flip": 0.3}),
        ("rethinking_dpo", {"reference": "refresh:3", "reference_cap": 10}),
        ("diffusion_dpo", {"reference": "ema:0.9"}),
    ],
    ids=["shadows", "refresh", "ema"],
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    method: str,
    values: dict,
    lora_rank: int | None,
    tiny_pipeline: Path,
    manifest: Path,
    tmp_path: Path,
):
    recipe = recipe_of(method, lora_rank=lora_rank, **values)
    places = {"backbone": str(tiny_pipeline), "data": str(manifest)}
    break_off(recipe, places, tmp_path / "broken")
    assert train(recipe, **places, out=tmp_path / "broken").resumed_from == 3
    train(recipe, **places, out=tmp_path / "whole")
    assert losses_of(tmp_path / "broken") == losses_of(tmp_path / "whole")
    same_files(tmp_path / "whole", tmp_path / "broken")


def test_a_process_killed_in_adaptive_dpo_with_lora_is_resumed_exactly(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    values = {"steps": 24, **KEPT, "lora_rank": 2, "reference": "refresh:4"}
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    where = ["--backbone", str(tiny_pipeline), "--data", str(manifest), "--recipe", "miniature"]
    command = [sys.executable, "-c", TRAIN, "adaptive_dpo", "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(
        [*command, *where, *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    metrics, deadline = tmp_path / "killed" / "metrics.jsonl", time.monotonic() + 120
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 6:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline, "no step within two minutes"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    recipe = recipe_of("adaptive_dpo", **values)
    places = {"backbone": str(tiny_pipeline), "data": str(manifest)}
    assert 3 <= train(recipe, **places, out=tmp_path / "killed").resumed_from < 24
    train(recipe, **places, out=tmp_path / "whole")
    assert losses_of(tmp_path / "killed") == losses_of(tmp_path / "whole")
    for file in ("pytorch_lora_weights.safetensors", "state/step-00000024/moving.safetensors"):
        one, other = (load_file(tmp_path / run / file) for run in ("whole", "killed"))
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_state_without_its_shadows_and_another_reference_are_refused(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    places = {"backbone": str(tiny_pipeline), "data": str(manifest)}
    break_off(recipe_of("adaptive_dpo"), places, tmp_path / "out")
    with pytest.raises(UsageError, match=r"reference \(fixed there, refresh:3 now\)"):
        train(recipe_of("adaptive_dpo", reference="refresh:3"), **places, out=tmp_path / "out")
    moving = tmp_path / "out" / "state" / "step-00000003" / "moving.safetensors"
    tensors = load_file(moving)
    assert {name.split(".")[0] for name in tensors} == {"shadow0", "shadow1"}
    save_file({name: value for name, value in tensors.items() if not name.startswith("shadow1.")}, moving)
    with pytest.raises(DataError, match="state of step 3 .* does not fit"):
        train(recipe_of("adaptive_dpo"), **places, out=tmp_path / "out")
