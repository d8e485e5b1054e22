"""A run that is killed and started again ends as one that was not; other settings never mix into a run."""

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
from safetensors.torch import load_file

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe

STEPS = 24
TRAIN = """
import sys
import typer
from prefbench.bench.commands.train import train_command
app = typer.Typer()
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train_command)
app(sys.argv[1:])
"""


def recipe_of(**values: Any) -> Recipe:
    values = {"steps": STEPS, "batch": 2, "checkpoint_every": 5, "cache": True, **values}
    return resolve_recipe(
        "diffusion_dpo", "miniature", {key: Constant(v, "test") for key, v in values.items()}
    )


def metrics_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def start_process(pipeline: Path, manifest: Path, out: Path) -> subprocess.Popen[bytes]:
    values = {"steps": STEPS, "batch": 2, "checkpoint_every": 5, "cache": "true"}
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    where = ["--backbone", str(pipeline), "--data", str(manifest), "--out", str(out), "--recipe", "miniature"]
    # One thread, as in this process: the order of a sum depends on the number of threads.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", TRAIN, "diffusion_dpo", *where, *settings]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def kill_after(process: subprocess.Popen[bytes], out: Path, lines: int) -> None:
    metrics, deadline = out / "metrics.jsonl", time.monotonic() + 120
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline, "no step within two minutes"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def same_weights(one: Path, other: Path) -> None:
    files = sorted(path.relative_to(one) for path in one.rglob("*.safetensors"))
    assert files
    for file in files:
        weights, others = load_file(one / file), load_file(other / file)
        assert weights.keys() == others.keys()
        assert all(torch.equal(value, others[name]) for name, value in weights.items()), file


def test_a_killed_and_resumed_run_ends_as_an_uninterrupted_one(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    recipe = recipe_of()
    places = {"backbone": str(tiny_pipeline), "data": str(manifest)}
    train(recipe, **places, out=whole)
    process = start_process(tiny_pipeline, manifest, killed)
    kill_after(process, killed, lines=7)
    assert not (killed / "prefbench.json").exists()
    result = train(recipe, **places, out=killed)
    assert result.resumed_from >= 5
    assert result.resumed_from % 5 == 0
    one, other = metrics_of(whole), metrics_of(killed)
    assert [line["step"] for line in other] == list(range(1, STEPS + 1))
    assert [line["loss"] for line in other] == pytest.approx([line["loss"] for line in one], abs=1e-6)
    same_weights(whole, killed)


def unfinished(out: Path, pipeline: Path, manifest: Path, **values: Any) -> dict[str, str]:
    """A run of 8 steps that a full disk ended at its last step: its state is that of step 5."""
    places = {"backbone": str(pipeline), "data": str(manifest)}
    with full_disk_at(8):
        train(recipe_of(steps=8, **values), **places, out=out)
    return places


@pytest.mark.parametrize(
    "values", [{"lora_rank": 2}, {"cache": False, "hflip": True, "caption_dropout": 0.3}]
)
def test_lora_and_augmented_runs_resume_exactly(
    values: dict, tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    places = unfinished(tmp_path / "broken", tiny_pipeline, manifest, **values)
    assert train(recipe_of(steps=8, **values), **places, out=tmp_path / "broken").resumed_from == 5
    train(recipe_of(steps=8, **values), **places, out=tmp_path / "whole")
    one, other = ([line["loss"] for line in metrics_of(tmp_path / name)] for name in ("whole", "broken"))
    assert one == other
    same_weights(tmp_path / "whole", tmp_path / "broken")


def test_metrics_beyond_the_saved_state_are_cut(tiny_pipeline: Path, manifest: Path, tmp_path: Path):
    places = unfinished(tmp_path / "out", tiny_pipeline, manifest)
    with (tmp_path / "out" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # the line that the kill cut in two
    (tmp_path / "out" / "state" / ".step-00000008.x").mkdir()
    result = train(recipe_of(steps=8, checkpoint_every=2), **places, out=tmp_path / "out")
    assert result.resumed_from == 5
    assert [line["step"] for line in metrics_of(tmp_path / "out")] == list(range(1, 9))
    assert not list((tmp_path / "out").glob("**/.step*"))


def test_an_unfinished_run_of_other_settings_names_what_differs(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    places = unfinished(tmp_path / "out", tiny_pipeline, manifest)
    before = (tmp_path / "out" / "metrics.jsonl").read_bytes()
    with pytest.raises(UsageError) as caught:
        train(recipe_of(steps=8, lr=3e-4, flip=0.5), **places, out=tmp_path / "out")
    text = str(caught.value)
    assert "unfinished run with other settings" in text
    assert "lr (0.0001 there, 0.0003 now)" in text
    assert "flip (0.0 there, 0.5 now)" in text
    assert "steps" not in text
    assert (tmp_path / "out" / "metrics.jsonl").read_bytes() == before


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    places = {"backbone": str(tiny_pipeline), "data": str(manifest), "out": tmp_path / "out"}
    first = train(recipe_of(steps=2, keep_state=True), **places)
    files = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "out").rglob("*"))}
    again = train(recipe_of(steps=2, keep_state=True), **places)
    assert (first.was_finished, again.was_finished, again.card["kappa"]) == (False, True, 1000)
    assert {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "out").rglob("*"))} == files
    assert (tmp_path / "out" / "state" / "step-00000002" / "optimizer.pt").is_file()
    with pytest.raises(
        UsageError, match=r"finished run with other settings: kappa \(1000.0 there, 500.0 now\)"
    ):
        train(recipe_of(steps=2, kappa=500), **places)


def test_a_folder_that_is_no_run_is_not_written_to(tiny_pipeline: Path, manifest: Path, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not the folder of a training run"):
        train(recipe_of(steps=2), backbone=str(tiny_pipeline), data=str(manifest), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_state_that_cannot_be_read_is_named(tiny_pipeline: Path, manifest: Path, tmp_path: Path):
    places = unfinished(tmp_path / "out", tiny_pipeline, manifest)
    (tmp_path / "out" / "state" / "step-00000005" / "optimizer.pt").write_bytes(b"torn")
    with pytest.raises(DataError, match="step-00000005 cannot be read"):
        train(recipe_of(steps=8), **places, out=tmp_path / "out")
