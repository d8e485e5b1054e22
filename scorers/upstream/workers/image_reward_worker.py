"""image-reward 1.5 as a process. Scores come from its own `ImageReward.score`.

Settings: `weights` (ImageReward.pt), `med_config` (the text encoder's sizes), `vision` (sizes of the image encoder, or
null for the published ViT-L/16), `mlp_in` (width that the head reads, or null), `device`, `make` and `seed` (write
random weights to `weights` and end). bert-base-uncased comes from the hub's cache, which the parent points to.
"""

import importlib
from typing import Any

from imports import empty_module, with_torchvision_operators
from wire import GAIN, ScoreMany, make_loud, serve

NETWORK = "ImageReward.ImageReward"  # the package shows a class of that name in the module's place


def open_image_reward(settings: dict[str, Any]) -> ScoreMany | None:
    """The package with its weights loaded, sizes replaced where the settings ask for it."""
    with_torchvision_operators()
    empty_module("clip")  # undeclared, for scores that are not asked for
    empty_module("ImageReward.ReFL")  # the trainer
    import ImageReward as RM  # noqa: N814  (as its README does)
    import torch

    network = importlib.import_module(NETWORK)
    if settings["vision"] is not None:
        _replace_sizes(settings["vision"], settings["mlp_in"])
    if settings.get("make"):
        torch.manual_seed(settings["seed"])
        made = network.ImageReward(med_config=settings["med_config"])
        for layer in made.mlp.layers:  # its own starting values give rewards that differ by 1e-9
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.xavier_normal_(layer.weight, gain=1 / GAIN)
        make_loud(made)
        torch.save(made.state_dict(), settings["weights"])
        return None
    model = RM.load(settings["weights"], device=settings["device"], med_config=settings["med_config"])

    def score(paths: list[str], prompt: str) -> list[float]:
        with torch.no_grad():
            return [model.score(prompt, path) for path in paths]

    return score


def _replace_sizes(vision: dict[str, Any], mlp_in: int) -> None:
    """The package writes two sizes into its code: of the image encoder, and of what the head reads."""
    from ImageReward.models.BLIP import blip_pretrain
    from ImageReward.models.BLIP.vit import VisionTransformer

    network = importlib.import_module(NETWORK)

    def create_vit(*_: Any) -> tuple[Any, int]:
        tower = VisionTransformer(
            img_size=vision["image_size"],
            patch_size=vision["patch_size"],
            embed_dim=vision["hidden_size"],
            depth=vision["num_hidden_layers"],
            num_heads=vision["num_attention_heads"],
        )
        return tower, vision["hidden_size"]

    blip_pretrain.create_vit = create_vit
    plain_head = network.MLP
    network.MLP = lambda _: plain_head(mlp_in)  # type: ignore[attr-defined]


if __name__ == "__main__":
    serve(open_image_reward, ("image-reward", "torch", "torchvision", "transformers", "pillow"))
