"""From what the user writes after --backbone to a backbone."""

import importlib.resources
import json
import re
from pathlib import Path
from typing import Any

from prefbench.bench.exceptions import MissingWeightsError, UsageError
from prefbench.bench.registry import Registry, unknown_name
from prefbench.reference_trainers.backbones.backbone import Backbone

__all__ = ["BACKBONES", "MINIATURE", "is_local", "open_backbone"]

MINIATURE = "miniature"
BACKBONES: Registry[type[Backbone]] = Registry(
    "class of pipeline",
    {
        "StableDiffusionPipeline": (
            "prefbench.reference_trainers.backbones.stable_diffusion:StableDiffusionBackbone"
        ),
        "StableDiffusionXLPipeline": (
            "prefbench.reference_trainers.backbones.stable_diffusion_xl:StableDiffusionXLBackbone"
        ),
    },
)
"""_class_name in model_index.json -> class that opens it for training."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def _miniature_folder() -> Path:
    folder = Path(str(importlib.resources.files("prefbench.bench.miniature") / "weights" / "base"))
    if not (folder / "model_index.json").is_file():
        raise MissingWeightsError(
            f"The miniature base checkpoint is not in this installation ({folder} has no model_index.json). "
            "Reinstall prefbench, or make the weights with: python -m prefbench.bench.miniature.build"
        )
    return folder


def _local_index(folder: Path) -> dict[str, Any]:
    index = folder / "model_index.json"
    if not index.is_file():
        kind = "is a file, not a folder" if folder.is_file() else "has no model_index.json"
        raise MissingWeightsError(
            f"--backbone {folder}: this {kind}. Training starts from a complete diffusers pipeline folder "
            "(as save_pretrained writes it), a hub id, or 'miniature'."
        )
    try:
        return dict(json.loads(index.read_text(encoding="utf-8")))
    except ValueError as error:
        raise MissingWeightsError(
            f"{index} is not valid JSON ({error}). Fetch the checkpoint again."
        ) from None


def _hub_index(spec: str) -> dict[str, Any]:
    from diffusers import DiffusionPipeline

    try:
        return dict(DiffusionPipeline.load_config(spec))
    except OSError as error:
        reason = " ".join(str(error).split())
        raise MissingWeightsError(
            f"--backbone {spec}: there is no such folder, and the hub did not give the model "
            f"({reason[:300]}). Check the id and the network, or download the pipeline and give its folder."
        ) from error


def _opener(spec: str, index: dict[str, Any]) -> Any:
    name = str(index.get("_class_name"))
    if name not in BACKBONES:
        raise UsageError(
            f"--backbone {spec} is a {name}; only {' and '.join(BACKBONES.names())} (Stable Diffusion 1.x, 2.x "
            "and XL base) can be trained so far."
        )
    return BACKBONES.get(name)


def is_local(spec: str) -> bool:
    """Whether `spec` is a pipeline on this machine, told by its model_index.json; False for a hub id, which is not asked.

    Raises:
        UsageError: unknown name, or a pipeline of a class that cannot be trained.
        MissingWeightsError: no such folder, or no pipeline in it.
    """
    path = Path(spec)
    if spec == MINIATURE or path.exists():
        _opener(spec, _local_index(_miniature_folder() if spec == MINIATURE else path))
        return True
    if HUB_ID.fullmatch(spec):
        return False
    if len(path.parts) > 1:
        raise MissingWeightsError(f"--backbone {spec}: there is no such folder. Check the path.")
    raise unknown_name("backbone", spec, [MINIATURE])


def open_backbone(spec: str) -> Backbone:
    """Open a pretrained pipeline for training.

    Args:
        spec: "miniature", a diffusers pipeline folder, or a hub id.

    Raises:
        UsageError: unknown name, or a pipeline of a class that cannot be trained.
        MissingWeightsError: weights that are absent, incomplete or not reachable.
    """
    if not is_local(spec):
        return _opener(spec, _hub_index(spec))(spec, local=False)
    if spec == MINIATURE:
        folder = _miniature_folder()
        return _opener(spec, _local_index(folder))(str(folder), local=True, name=MINIATURE)
    path = Path(spec)
    return _opener(spec, _local_index(path))(str(path.resolve()), local=True)
