"""prefbench.json: what a trained checkpoint is, how it was made and where each constant is from."""

import dataclasses
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from prefbench.reference_trainers.backbones.backbone import Backbone
from prefbench.reference_trainers.method import Method
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.recipes import Recipe

__all__ = ["FORMAT", "training_card"]

FORMAT = 1
PACKAGES = ("prefbench", "torch", "diffusers", "transformers", "accelerate", "peft", "numpy")


def training_card(
    recipe: Recipe,
    method: Method,
    backbone: Backbone,
    pairs: PreferencePairs,
    *,
    rows: int,
    resolution: int,
    unet_sha256: str,
    processes: int,
    device: str,
    last: dict[str, Any],
) -> dict[str, Any]:
    """The card as JSON values; readers rely on kind, base, method, recipe, kappa, steps, seed, lora_rank.

    Args:
        recipe: resolved, with sources.
        method: its paper and code.
        backbone: what was trained.
        pairs: the data, ties dropped and labels flipped.
        rows: pairs that the method kept.
        resolution: side in pixels.
        unet_sha256: hash of the UNet's weights before training.
        processes: that shared the batch.
        device: name of the device type.
        last: metrics of the last step.
    """
    loop = recipe.loop
    form = "pipeline" if loop.lora_rank is None else "lora"
    return {
        "format": FORMAT,
        "kind": form if method.network == "policy" else method.network,
        "form": form,
        "base": backbone.spec,
        "method": recipe.method,
        "recipe": recipe.name,
        "paper": method.paper,
        "code": method.code,
        "kappa": getattr(recipe.config, "kappa", None),
        "lora_rank": loop.lora_rank,
        "steps": loop.steps,
        "seed": loop.seed,
        "unit": method.unit,
        "pairs_per_step": loop.batch,
        "constants": recipe.constants(),
        "backbone": {
            "spec": backbone.spec,
            "class": backbone.pipeline_class,
            "prediction_type": backbone.prediction_type,
            "resolution": resolution,
            "unet_sha256": unet_sha256,
        },
        "data": {
            "source": pairs.source,
            **dataclasses.asdict(pairs.counts),
            "pairs": len(pairs),
            "pairs_kept_by_method": rows,
            "sha256": pairs.sha256,
        },
        "last_step": last,
        "processes": processes,
        "device": device,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
