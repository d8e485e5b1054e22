"""A frozen copy of the policy that labels: taken when it is due, kept through a kill, in the loop of Semi-DPO."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import full_disk_at
from safetensors.torch import load_file, save_file

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe
from prefbench.reference_trainers.selection.composing import open_composed
from prefbench.reference_trainers.teacher import Teacher
from prefbench.reference_trainers.training_steps import OfflineRun, prepare_run, training_steps

VOTERS = ("mini:clip", "mini:pickscore")


@pytest.fixture(scope="module")
def scores(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores from elsewhere: the voters prefer image 0 and image 1 in turn as the labels do, except in every third row."""
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    with manifest.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = [["row", "prompt", *(f"{name}_{side}" for name in VOTERS for side in (0, 1))]]
    for number, row in enumerate(rows):
        wins = int(row["label_0"])
        disagrees = wins if number % 3 else 1 - wins
        table.append([str(number + 1), row["prompt"], *map(str, (wins, 1 - wins, disagrees, 1 - disagrees))])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    return path


def recipe_of(scores: Path, **values: Any) -> Recipe:
    own = {"kappa": 50, "voters": ",".join(VOTERS), "clean_steps": 2, "probe": 3, "scores": str(scores)}
    loop = {"steps": 5, "batch": 4, "lr": 1e-3, "cache": True, "checkpoint_every": 3, "percentile": 50}
    given = {**own, **loop, "round_steps": "none", **values}
    return resolve_recipe("semi_dpo", "miniature", {key: Constant(v, "test") for key, v in given.items()})


def open_run(recipe: Recipe, pipeline: Path, manifest: Path) -> OfflineRun:
    composed = open_composed(
        str(manifest),
        recipe.data,
        recipe.composition,
        wanted=VOTERS,
        cache_dir=manifest.parent / "cache",
    )
    return prepare_run(recipe, open_backbone(str(pipeline)), composed.pairs)


def losses_of(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_the_copy_is_of_the_moment_it_was_taken():
    weight = torch.zeros(2)
    teacher = Teacher({"w": weight})
    held, measured = teacher.weights["w"], teacher.measured
    weight += 1
    assert held.tolist() == [0, 0]
    measured["thresholds"] = torch.ones(1)
    teacher.take({"w": weight})
    weight += 1
    assert held.tolist() == [1, 1]
    assert measured == {}
    measured["thresholds"] = torch.tensor([3.0])
    again = Teacher({"w": weight})
    again.load_state(teacher.state(), torch.device("cpu"))
    assert again.weights["w"].tolist() == [1, 1]
    assert again.measured["thresholds"].tolist() == [3]
    with pytest.raises(KeyError):
        again.load_state({}, torch.device("cpu"))


@pytest.mark.parametrize(("round_steps", "taught_at"), [("none", [2]), (2, [2, 4])])
def test_in_the_loop_the_teacher_is_the_policy_of_the_last_round(
    round_steps: Any, taught_at: list[int], scores: Path, tiny_pipeline: Path, manifest: Path
):
    run = open_run(recipe_of(scores, round_steps=round_steps, lora_rank=2), tiny_pipeline, manifest)
    teacher = run.trained.teacher
    assert teacher is not None
    name, policy = next(iter(run.trained.trainable().items()))
    equal, measured, unclean = [], [], []
    for line in training_steps(run):
        equal.append(torch.equal(teacher.weights[name], policy.detach()))
        measured.append("thresholds" in teacher.measured)
        assert ("pseudo_labelled" in line) == (line["step"] > 2)
        # Eight of the ten pairs stand in steps 3 and 4, and six are clean.
        unclean.append(1 - line.get("clean", 1))
        if line["step"] == 3:
            thresholds = teacher.measured["thresholds"].clone()
    assert [number for number, same in enumerate(equal, 1) if same] == taught_at
    assert unclean[2] + unclean[3] >= 2 / 4
    assert measured == [False, True, True, True, True]
    assert thresholds.shape == (10,)
    assert (thresholds > 0).all()
    assert thresholds.isfinite().all()


def test_an_interrupted_run_ends_as_an_uninterrupted_one_and_not_without_its_teacher(
    scores: Path,
    tiny_pipeline: Path,
    manifest: Path,
    tmp_path: Path,
):
    """Broken off in the second stage: the state of step 3 holds the teacher of step 2 and its thresholds."""
    recipe = recipe_of(scores, keep_state=True, caption_dropout=0.3)
    places = {"backbone": str(tiny_pipeline), "data": str(manifest)}

    with full_disk_at(5):
        train(recipe, **places, out=tmp_path / "broken")
    state = tmp_path / "broken" / "state" / "step-00000003" / "moving.safetensors"
    tensors = load_file(state)
    assert "teacher.measured.thresholds" in tensors
    save_file({name: value for name, value in tensors.items() if ".weights." not in name}, state)
    with pytest.raises(DataError, match="state of step 3 .* does not fit"):
        train(recipe, **places, out=tmp_path / "broken")
    save_file(tensors, state)
    assert train(recipe, **places, out=tmp_path / "broken").resumed_from == 3
    train(recipe, **places, out=tmp_path / "whole")
    assert losses_of(tmp_path / "broken") == losses_of(tmp_path / "whole")
    files = sorted(
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.safetensors")
    )
    assert Path("state/step-00000005/moving.safetensors") in files
    for file in files:
        one, other = (load_file(tmp_path / run / file) for run in ("whole", "broken"))
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items()), file


@pytest.mark.parametrize("wrong", [{"lower_to": 0.5}, {"lower_after": 2, "lower_to": 0}, {"lower_after": 0}])
def test_a_lower_learning_rate_needs_a_step_and_a_share(wrong: dict[str, Any], scores: Path):
    with pytest.raises(UsageError, match="lower_"):
        recipe_of(scores, **wrong)
