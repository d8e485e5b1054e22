"""hpsv2 1.2.0 as a process. Scores come from its own `img_score.score`.

Settings: `weights` (HPS_*.pt), `vocabulary` (CLIP's merges, which the wheel lacks), `architecture` (an open_clip model
configuration file, or null for the published ViT-H-14), `make` and `seed` (write random weights to `weights` and end).
"""

import tempfile
from pathlib import Path
from typing import Any

from imports import empty_module, with_torchvision_operators, with_vocabulary
from wire import ScoreMany, make_loud, serve


def open_hpsv2(settings: dict[str, Any]) -> ScoreMany | None:
    """The package with its network in place. It reads the weights again on every call, as it does for everybody."""
    with_torchvision_operators()
    empty_module("turtle", forward=None)
    empty_module("clint")
    empty_module("clint.textui", progress=None)
    with_vocabulary("hpsv2.src.open_clip", Path(settings["vocabulary"]))
    import torch
    from hpsv2 import img_score
    from hpsv2.src.open_clip import add_model_config, create_model_and_transforms

    model = "ViT-H-14"
    if settings["architecture"] is not None:
        add_model_config(Path(settings["architecture"]))
        model = Path(settings["architecture"]).stem
    torch.manual_seed(settings.get("seed", 0))
    # As its own initialize_model, but without the laion2B weights, which the checkpoint overwrites.
    network, _, preprocess = create_model_and_transforms(
        model,
        None,
        precision="amp",
        device=img_score.device,
        jit=False,
        light_augmentation=True,
        output_dict=True,
    )
    if settings.get("make"):
        torch.save({"state_dict": make_loud(network).state_dict()}, settings["weights"])
        return None
    img_score.model_dict.update(model=network.eval(), preprocess_val=preprocess)
    img_score.root_path = tempfile.gettempdir()  # else it makes a folder in the user's home

    def score(paths: list[str], prompt: str) -> list[float]:
        return list(img_score.score(paths, prompt, cp=settings["weights"]))

    return score


if __name__ == "__main__":
    serve(open_hpsv2, ("hpsv2", "torch", "torchvision", "pillow"))
