"""`log_with` hands every step's metrics to one of accelerate's trackers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking

from prefbench.bench.exceptions import MissingDependencyError, UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe


class Recorder(tracking.GeneralTracker):
    """A tracker that writes to a local folder, as TensorBoard's does, and keeps what it was told."""

    name = "tensorboard"
    requires_logging_directory = True
    main_process_only = True
    made: list["Recorder"] = []  # noqa: RUF012

    def __init__(self, run_name: str, logging_dir: str, **_: Any) -> None:
        super().__init__()
        self.folder, self.run_name = logging_dir, run_name
        self.config: dict[str, Any] = {}
        self.lines: list[tuple[int, dict[str, Any]]] = []
        self.finished = False
        Recorder.made.append(self)

    @property
    def tracker(self) -> "Recorder":
        return self

    def start(self) -> None:
        pass

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, Any], step: int | None, **_: Any) -> None:
        assert step is not None
        self.lines.append((step, values))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    monkeypatch.setattr(Recorder, "made", [])
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Recorder)
    monkeypatch.setattr(tracking, "_available_trackers", [tracking.LoggerType.TENSORBOARD])
    return Recorder


def recipe_of(**values: Any) -> Recipe:
    values = {"steps": 3, "batch": 2, "cache": True, **values}
    return resolve_recipe("sft", "miniature", {key: Constant(v, "test") for key, v in values.items()})


def test_a_tracker_gets_every_number_of_every_step_and_the_settings(
    recorder: type[Recorder], tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    out = tmp_path / "out"
    train(recipe_of(log_with="tensorboard"), backbone=str(tiny_pipeline), data=str(manifest), out=out)
    (tracker,) = recorder.made
    assert tracker.finished
    assert (tracker.folder, tracker.run_name) == (str(out), "prefbench")
    assert tracker.config["loop.steps"] == 3
    assert tracker.config["method.name"] == "sft"
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [step for step, _ in tracker.lines] == [1, 2, 3]
    for (step, values), line in zip(tracker.lines, lines, strict=True):
        expected = {name: value for name, value in line.items() if value is not None}
        assert {"step": step, **values} == expected
        assert "implicit_accuracy" not in values  # null with sft


def test_a_run_that_breaks_off_closes_its_tracker(
    recorder: type[Recorder], tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    from prefbench.bench.exceptions import DataError

    places = {"backbone": str(tiny_pipeline), "data": str(manifest), "out": tmp_path / "out"}
    with pytest.raises(DataError, match="Step 2: the loss is"):
        train(recipe_of(log_with="tensorboard", lr=1e30, warm_up=0), **places)
    (tracker,) = recorder.made
    assert tracker.finished
    assert [step for step, _ in tracker.lines] == [1]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("tensorbord", UsageError, "Did you mean 'tensorboard'"),
        ("wandb", MissingDependencyError, r"log_with = wandb: .*pip install wandb"),
    ],
)
def test_an_unknown_or_absent_tracker_is_refused_before_training(
    name: str, error: type, message: str, recorder: type[Recorder], tmp_path: Path
):
    out = tmp_path / "out"
    with pytest.raises(error, match=message):
        train(recipe_of(log_with=name), backbone="absent/folder", data="absent.csv", out=out)
    assert not out.exists()


def events(file: Path) -> Iterator[Any]:
    """The records of an event file: length (8 bytes), checksum (4), data, checksum (4)."""
    from tensorboardX.proto.event_pb2 import Event

    data = file.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def test_tensorboard_itself_gets_every_number_of_every_step(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    out = tmp_path / "out"
    train(recipe_of(log_with="tensorboard"), backbone=str(tiny_pipeline), data=str(manifest), out=out)
    written: dict[tuple[int, str], float] = {}
    for file in (out / "prefbench").rglob("events.out.tfevents.*"):
        for event in events(file):
            written |= {(event.step, value.tag): value.simple_value for value in event.summary.value}
    for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()):
        for name, value in line.items():
            if name != "step" and value is not None:
                assert written[line["step"], name] == pytest.approx(value)
    assert (3, "loss") in written
