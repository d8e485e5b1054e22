"""CLIP-FlanT5 in the original's own format: where its sizes and its image tower are, and what its tensors are called.

config.json                       T5's fields and mm_*; `mm_vision_tower` names the image tower
pytorch_model*.bin, *.safetensors one file or shards with their index
spiece.model                      T5's tokenizer; where it is absent, google/flan-t5's
clip-vit-large-patch14-336/       the tower's own folder, named as the last part of `mm_vision_tower`; needed only
                                  where the sizes are not the published ones, or the weights are without the tower
"""

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers.model_folder import HubRepo, fetch_folder, read_weights, weight_files
from prefbench.scorers.open_clip_tower import read_architecture
from prefbench.scorers.vqascore_network import CLIPFlanT5

__all__ = [
    "CONFIG_FILE",
    "IGNORED_KEYS",
    "TOWER",
    "full_architecture",
    "renamed",
    "tower_files",
    "tower_folder",
]

CONFIG_FILE = "config.json"
# What the published config.json names; the revision is as public code quotes it.
TOWER = HubRepo("openai/clip-vit-large-patch14-336", "ce19dc912ca5cd21c8a653c79e251e808ccabcd1")
# vision_config of that repository's config.json (its other fields are transformers' defaults).
TOWER_SIZES = {
    "hidden_act": "quick_gelu",
    "hidden_size": 1024,
    "image_size": 336,
    "intermediate_size": 4096,
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
}
TOWER_KEYS = "vision_tower.vision_tower."
# One embedding has four names in a published file, or fewer where duplicates were left out.
EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
ALIAS = "embed_tokens.weight"
OUTPUT = "lm_head.weight"
# A buffer that transformers 4 saved, and a table of the first T5 code that nothing ever read.
IGNORED_KEYS = ("*.position_ids", "t5.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight")


def full_architecture(
    architecture: dict[str, Any] | str | PathLike[str] | None, folder: Path, scorer: str
) -> dict[str, Any]:
    """The folder's config.json, or what replaces it, with the image tower's sizes as `vision_config`.

    Raises: MissingWeightsError if a file is absent, or the tower is not the published one and states no sizes.
    """
    config = read_architecture(architecture, folder, {}, file=CONFIG_FILE)
    if not config:
        raise MissingWeightsError(
            f"Scorer {scorer}: {folder} has no {CONFIG_FILE}. Add it, or give architecture=."
        )
    if "vision_config" in config:
        return config
    own = tower_folder(config, folder)
    if own is not None:
        vision = read_architecture(None, own, {}, file=CONFIG_FILE)
        if not vision:
            raise MissingWeightsError(f"Scorer {scorer}: {own} has no {CONFIG_FILE}. Add the image tower's.")
        return {**config, "vision_config": vision.get("vision_config", vision)}
    if config.get("mm_vision_tower") == TOWER.repo:
        return {**config, "vision_config": TOWER_SIZES}
    raise MissingWeightsError(
        f"Scorer {scorer}: the image tower {config.get('mm_vision_tower')!r} (mm_vision_tower of {CONFIG_FILE}) is "
        f"neither {TOWER.repo} nor a folder beside the weights. Add the folder, or give vision_config in architecture=."
    )


def tower_folder(config: dict[str, Any], folder: Path) -> Path | None:
    """Where the image tower lies on this machine: beside the weights, or where `mm_vision_tower` says; else None."""
    name = str(config.get("mm_vision_tower", ""))
    for candidate in (folder / Path(name).name, Path(name)):
        if name and candidate.is_dir():
            return candidate
    return None


def tower_files(
    state: dict[str, Tensor], config: dict[str, Any], folder: Path, scorer: str
) -> tuple[Path, ...]:
    """Files of the image tower where the weights themselves are without it; none otherwise.

    Raises: MissingWeightsError.
    """
    if any(key.startswith(TOWER_KEYS) for key in state):
        return ()
    own = tower_folder(config, folder)
    if own is None:
        own = fetch_folder(TOWER, ("pytorch_model.bin",), scorer)
    return weight_files(own, scorer)


def renamed(
    network: CLIPFlanT5, state: dict[str, Tensor], tower: tuple[Path, ...], scorer: str, source: Path
) -> dict[str, Tensor]:
    """The published tensors under the network's names.

    Args:
        network: as built.
        state: of the weights, as published.
        tower: the image tower's own files, where `state` is without it.
        scorer: for messages.
        source: for messages.

    Raises: MissingWeightsError if the names of the one embedding hold different values.
    """
    apart = read_weights(tower, scorer)  # a whole CLIP, or its image half
    joined = {**state, **{TOWER_KEYS + key: value for key, value in apart.items() if "vision_model." in key}}
    tied = network.t5.lm_head.weight is network.t5.shared.weight
    names = (*EMBEDDINGS, *((OUTPUT,) if tied else ()))
    found = [name for name in (*names, ALIAS) if name in joined]
    for name in found[1:]:
        if not torch.equal(joined[name], joined[found[0]]):
            raise MissingWeightsError(
                f"Scorer {scorer}: {source} has two different embeddings, {found[0]} and {name}, where the network has "
                "one. Download it again."
            )
    if found:
        embedding = joined[found[0]]
        joined = {key: value for key, value in joined.items() if key not in found}
        joined.update(dict.fromkeys(names, embedding))
    # transformers 4 calls the tower's modules vision_model.*, 5 leaves that out.
    prefix = TOWER_KEYS
    if any(key.startswith(TOWER_KEYS + "vision_model.") for key in network.state_dict()):
        prefix += "vision_model."
    result = {}
    for key, value in joined.items():
        if key.startswith(TOWER_KEYS):
            result[prefix + key.removeprefix(TOWER_KEYS).removeprefix("vision_model.")] = value
        else:
            result[key if key.startswith("mm_projector.") else f"t5.{key}"] = value
    return result
