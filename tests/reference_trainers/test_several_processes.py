"""Processes that share a batch, over gloo on CPUs, against one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import full_disk_at
from safetensors.torch import load_file

from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.recipes import resolve_recipe

SETTINGS: dict[str, Any] = {
    "steps": 6,
    "batch": 8,
    "micro_batch": 2,
    "cache": False,
    "hflip": True,
    "caption_dropout": 0.3,
    "checkpoint_every": 2,
    "lr": 1e-3,
    "kappa": 100,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(
    processes: int,
    pipeline: Path,
    manifest: Path,
    out: Path,
    settings: dict[str, Any],
    method: str = "diffusion_dpo",
) -> str:
    """torchrun, as docs/training.md has it for CPUs; the text of all processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    command += ["--master_port", str(free_port()), "-m", "prefbench.bench.cli", "train", method]
    command += ["--backbone", str(pipeline), "--data", str(manifest), "--out", str(out)]
    command += ["--recipe", "miniature"]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    # One thread, as in this process: the order of a sum depends on the number of threads.
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def one_process(
    pipeline: Path, manifest: Path, out: Path, settings: dict[str, Any], method: str = "diffusion_dpo"
) -> None:
    recipe = resolve_recipe(method, "miniature", {k: Constant(v, "test") for k, v in settings.items()})
    train(recipe, backbone=str(pipeline), data=str(manifest), out=out)


def trajectory(out: Path) -> list[tuple[int, float, float, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["implicit_accuracy"], line["grad_norm"]) for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    """Equal up to the order of the sums over processes."""
    assert [line[0] for line in trajectory(other)] == list(range(1, SETTINGS["steps"] + 1))
    for ours, theirs in zip(trajectory(one), trajectory(other), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert_same_weights(one, other)


def assert_same_weights(one: Path, other: Path, atol: float = 2e-6) -> None:
    """Equal up to rounding in every file of the checkpoint."""
    files = sorted(path.relative_to(one) for path in one.rglob("*.safetensors"))
    assert files
    for file in files:
        weights, others = load_file(one / file), load_file(other / file)
        assert weights.keys() == others.keys()
        for name, value in weights.items():
            assert torch.allclose(value, others[name], atol=atol), (file, name)


@pytest.mark.slow
@pytest.mark.parametrize("lora_rank", [None, 2])
def test_two_processes_make_the_steps_of_one_with_the_same_batch(
    lora_rank: int | None, tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    """Batch 8: 4 passes of 2 pairs in one process, 2 passes of 2 in each of two; augmented, so that draws matter."""
    settings = SETTINGS if lora_rank is None else {**SETTINGS, "lora_rank": lora_rank}
    one_process(tiny_pipeline, manifest, tmp_path / "one", settings)
    printed = launch(2, tiny_pipeline, manifest, tmp_path / "two", settings)
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert json.loads((tmp_path / "two" / "prefbench.json").read_text())["processes"] == 2
    assert printed.count("Trained diffusion_dpo") == 1


@pytest.mark.slow
def test_two_processes_go_on_where_one_was_stopped(tiny_sdxl: Path, manifest: Path, tmp_path: Path):
    """Stopped at step 5 by a full disk, with the state of step 4 on it; on the XL backbone."""
    one_process(tiny_sdxl, manifest, tmp_path / "whole", SETTINGS)
    with full_disk_at(5):
        one_process(tiny_sdxl, manifest, tmp_path / "stopped", SETTINGS)
    printed = launch(2, tiny_sdxl, manifest, tmp_path / "stopped", SETTINGS)
    assert "Going on after step 4 of 6" in printed
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "own", "alone"),
    [
        ("rethinking_dpo", {"reference": "refresh:2", "reference_cap": 10, "lora_rank": 2}, {}),
        ("diffusion_kto", {"positive_ratio": 0.5}, {"micro_batch": 4}),
    ],
)
def test_moving_references_and_shared_reference_points_agree_over_processes(
    method: str, own: dict, alone: dict, tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    """KTO's reference point is the mean over both processes' passes of 2: as one pass of 4 in one process.

    AdamW divides by the gradient's size, so rounding of a tiny gradient moves a weight by more: 2 % of one step of 1e-3.
    Adaptive-DPO is not here: its u compares annotators that are nearly equal at first, and weights that differ by 1e-7
    change its third loss by 2 % in one process, too.
    """
    settings = {**SETTINGS, **own}
    one_process(tiny_pipeline, manifest, tmp_path / "one", {**settings, **alone}, method)
    launch(2, tiny_pipeline, manifest, tmp_path / "two", settings, method)
    ours, theirs = ([line[1] for line in trajectory(tmp_path / run)] for run in ("one", "two"))
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert len(set(ours)) >= 4  # just after a refresh the loss is log 2 again
    assert_same_weights(tmp_path / "one", tmp_path / "two", atol=2e-5)
