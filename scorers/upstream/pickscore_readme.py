"""What the example in PickScore's README needs before it can score: a model and a processor, each a folder.

The example (README of yuvalkirstain/PickScore@013b54d) takes the model from one repository and the processor from another,
laion/CLIP-ViT-H-14-laion2B-s32B-b79K. Here the model's folder is the weights file, linked, and its config.json. The
processor's is written anew, since it could not be fetched: its image half states CLIP's published preprocessing, which is
what CLIPImageProcessor of transformers 4.49 does when it is told nothing; its tokenizer is CLIP's own vocabulary out of the
open_clip package, or the files beside the weights. Ours are these files and the choice of 4.49 (the README names 4.27.3).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prefbench.bench.atomic import write_json
from prefbench.scorers import pickscore
from prefbench.scorers.clip_tokenizer import (
    bundled_tokenizer,
    has_tokenizer,
    longer_than,
    read_tokenizer,
    write_tokenizer,
)
from prefbench.scorers.fingerprint import sha256_of_file
from prefbench.scorers.open_clip_tower import read_architecture
from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD
from prefbench.scorers.upstream.original import Architecture, Original
from prefbench.scorers.weights import WeightsArgument, find_weights

__all__ = ["LIMIT", "open_pickscore", "write_processor"]

LIMIT = 77
"""Tokens, as the example says; the sizes have no say in it."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
BICUBIC = 3


def open_pickscore(name: str, weights: WeightsArgument, architecture: Architecture, work: Path) -> Original:
    """`pickscore@upstream`: arguments and errors as of `open_original`."""
    path = find_weights(weights, default=pickscore.HUB, candidates=pickscore.WEIGHT_FILES, scorer=name)
    folder = path.parent if weights is not None else None
    config = read_architecture(architecture, folder, pickscore.ARCHITECTURE, file=pickscore.CONFIG_FILE)
    own = folder if folder is not None and has_tokenizer(folder) else None
    tokenizer = read_tokenizer(own) if own else bundled_tokenizer()
    model = work / "model"
    model.mkdir()
    write_json(model / pickscore.CONFIG_FILE, {"model_type": "clip", **config})
    # The example's library knows these two names only.
    safe, pickled = pickscore.WEIGHT_FILES
    (model / (safe if path.suffix == ".safetensors" else pickled)).symlink_to(path.resolve())
    processor = work / "processor"
    write_processor(processor, config["vision_config"]["image_size"], own)

    def cut(prompts: Sequence[str]) -> NDArray[np.bool_]:
        return longer_than(tokenizer, prompts, LIMIT)

    return Original(
        package="pickscore",
        script="pickscore_worker.py",
        settings={"weights": str(path), "model": str(model), "processor": str(processor)},
        weights=sha256_of_file(path),
        licence=pickscore.LICENCE,
        scale=pickscore.SCALE,
        trained_on=pickscore.TRAINED_ON,
        token_limit=LIMIT,
        too_long=cut,
        architecture=config,
        library="transformers",
    )


def write_processor(folder: Path, size: int, own: Path | None) -> None:
    """Write what AutoProcessor reads.

    Args:
        folder: created.
        size: of the images that the network sees, pixels; 224 in the published model.
        own: folder with the model's own tokenizer files; None for CLIP's.
    """
    folder.mkdir()
    image = {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "CLIPProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
    }
    write_json(folder / "preprocessor_config.json", image)
    if own is None:
        write_tokenizer(folder)
        return
    for name in TOKENIZER_FILES:
        if (own / name).is_file():
            (folder / name).symlink_to((own / name).resolve())
