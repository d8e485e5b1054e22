"""The folder of a training run: one writer, nothing lost on a full disk, nothing left of a run without a step."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prefbench.bench.exceptions import LedgerError, UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.recipes import resolve_recipe
from prefbench.reference_trainers.run_folder import RunFolder

SMALL, LARGE = {"w": torch.ones(10)}, {"w": torch.ones(30_000)}


def folder_of(out: Path, lr: float = 1.0) -> RunFolder:
    return RunFolder(out, {"loop": {"lr": lr}})


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def with_state(out: Path) -> RunFolder:
    """Three steps logged, the state of step 2 saved."""
    folder = folder_of(out)
    folder.resume()
    for step in (1, 2, 3):
        folder.log({"step": step})
    folder.save_state(2, SMALL, {"m": torch.zeros(10)}, {})
    return folder


def test_a_second_training_into_a_folder_is_refused_and_changes_nothing(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    given = {"steps": 2, "batch": 2}
    recipe = resolve_recipe("sft", "miniature", {k: Constant(v, "test") for k, v in given.items()})
    places = {"backbone": str(tiny_pipeline), "data": str(manifest), "out": tmp_path / "out"}
    with folder_of(tmp_path / "out").held():
        before = files(tmp_path / "out")
        with pytest.raises(LedgerError, match=rf"Another process \(id {os.getpid()}\) is writing to the run"):
            train(recipe, **places)
        assert files(tmp_path / "out") == before
    assert not (tmp_path / "out").exists()
    assert train(recipe, **places).card["steps"] == 2
    assert "state" not in {path.name for path in (tmp_path / "out").iterdir()}


def test_a_run_without_a_saved_state_does_not_bind_the_settings(tmp_path: Path):
    """Two steps were made and lost with their process; other settings start anew, from no metrics."""
    first = folder_of(tmp_path / "out", lr=1.0)
    first.resume()
    first.log({"step": 1})
    first.log({"step": 2})
    other = folder_of(tmp_path / "out", lr=2.0)
    assert other.finished_card() is None
    assert other.resume() == 0
    assert (tmp_path / "out" / "metrics.jsonl").read_text() == ""
    other.save_state(1, SMALL, {}, {})
    with pytest.raises(UsageError, match=r"lr \(2.0 there, 1.0 now\)"):
        first.finished_card()


def test_a_folder_that_was_only_claimed_can_be_claimed_again(tmp_path: Path):
    """As SIGKILL before the first step leaves it."""
    (tmp_path / "out" / "state").mkdir(parents=True)
    (tmp_path / "out" / "state" / "run.lock").write_text("4242\n")
    assert folder_of(tmp_path / "out").finished_card() is None
    with folder_of(tmp_path / "out").held():
        pass
    assert not (tmp_path / "out").exists()


def test_an_error_keeps_states_and_metrics_and_takes_only_the_lock_away(tmp_path: Path):
    folder = with_state(tmp_path / "out")
    before = files(tmp_path / "out")
    with pytest.raises(ValueError, match="lost"), folder.held():
        raise ValueError("lost")
    assert files(tmp_path / "out") == before


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """A write beyond `size` bytes fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("weights", "optimizer", "reason"),
    [(LARGE, SMALL, "File too large"), (SMALL, LARGE, "torch.save failed")],
    ids=["weights", "optimizer"],
)
def test_a_full_disk_while_a_state_is_saved_is_one_paragraph_and_the_last_state_stays(
    weights: dict[str, torch.Tensor], optimizer: dict[str, torch.Tensor], reason: str, tmp_path: Path
):
    folder = with_state(tmp_path / "out")
    before = files(tmp_path / "out")
    with (
        no_file_above(50_000),
        pytest.raises(
            LedgerError,
            match=rf"state of step 3 could not be .*{reason}.*state of step 2 is kept\. Make room",
        ),
    ):
        folder.save_state(3, weights, optimizer, {})
    assert files(tmp_path / "out") == before
    assert folder.resume() == 2
    assert torch.equal(folder.load_state(2)[0]["w"], SMALL["w"])


def test_a_full_disk_at_a_line_of_metrics_or_at_the_checkpoint_is_one_paragraph(tmp_path: Path):
    folder = with_state(tmp_path / "out")
    with no_file_above(50_000), pytest.raises(LedgerError, match="metrics could not be written"):
        folder.log({"step": 4, "text": "x" * 60_000})
    with no_file_above(50_000), pytest.raises(LedgerError, match="checkpoint could not be written"):
        folder.finish(lambda work: save_file(LARGE, work / "m.safetensors"), {}, keep_state=False)
    assert folder.resume() == 2
    assert not (tmp_path / "out" / "prefbench.json").exists()


def test_files_of_a_checkpoint_have_the_mode_that_the_umask_gives(tmp_path: Path):
    folder = with_state(tmp_path / "out")

    def write(work: Path) -> None:
        (work / "unet").mkdir()
        save_file(SMALL, work / "unet" / "model.safetensors")
        (work / "unet" / "model.safetensors").chmod(0o600)

    umask = os.umask(0o027)
    try:
        folder.finish(write, {}, keep_state=False)
    finally:
        os.umask(umask)
    written = tmp_path / "out" / "unet" / "model.safetensors"
    assert written.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []
