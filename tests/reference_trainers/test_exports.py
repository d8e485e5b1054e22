"""Checkpoints kept on the way: each is the network after that step, and keeping them changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import full_disk_at
from safetensors.torch import load_file

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe
from prefbench.reference_trainers.run_folder import export_folder


def recipe_of(**values: Any) -> Recipe:
    given = {"steps": 6, "batch": 2, "schedule": "constant", "warm_up": 0, "cache": True, **values}
    return resolve_recipe(
        "diffusion_dpo", "miniature", {key: Constant(v, "test") for key, v in given.items()}
    )


def same(one: Path, other: Path) -> bool:
    weights, others = load_file(one), load_file(other)
    return weights.keys() == others.keys() and all(
        torch.equal(w, others[name]) for name, w in weights.items()
    )


@pytest.mark.parametrize(
    ("values", "file"),
    [
        ({}, "unet/diffusion_pytorch_model.safetensors"),
        ({"lora_rank": 2, "lr": 1e-3}, "pytorch_lora_weights.safetensors"),
    ],
    ids=["full", "lora"],
)
def test_an_export_is_the_checkpoint_of_a_run_that_ends_there(
    values: dict, file: str, tiny_pipeline: Path, manifest: Path, tmp_path: Path
) -> None:
    """A constant learning rate, so that a run of four steps makes the first four of six."""
    places = {"backbone": str(tiny_pipeline), "data": str(manifest)}
    exporting = tmp_path / "exporting"
    train(recipe_of(export_every=2, **values), **places, out=exporting)
    assert sorted(path.name for path in (exporting / "exports").iterdir()) == [
        "step-00000002",
        "step-00000004",
    ]
    train(recipe_of(**values), **places, out=tmp_path / "plain")
    assert same(exporting / file, tmp_path / "plain" / file)
    train(recipe_of(steps=4, **values), **places, out=tmp_path / "four")
    assert same(export_folder(exporting, 4) / file, tmp_path / "four" / file)
    assert not same(export_folder(exporting, 4) / file, exporting / file)


def test_exports_of_a_resumed_run_are_made_again(tiny_pipeline: Path, manifest: Path, tmp_path: Path) -> None:
    places = {"backbone": str(tiny_pipeline), "data": str(manifest)}
    out, file = tmp_path / "out", "unet/diffusion_pytorch_model.safetensors"
    recipe = recipe_of(export_every=2, checkpoint_every=3)
    with full_disk_at(5):
        train(recipe, **places, out=out)
    (export_folder(out, 4) / file).write_bytes(b"cut")
    assert train(recipe, **places, out=out).resumed_from == 3
    train(recipe_of(export_every=2), **places, out=tmp_path / "whole")
    assert same(export_folder(out, 4) / file, export_folder(tmp_path / "whole", 4) / file)


def test_exporting_every_zero_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="export_every = 0 must be at least 1"):
        recipe_of(export_every=0)
