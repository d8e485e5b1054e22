"""What each original needs before it can score: its weights, its sizes, the files that it insists on."""

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefbench.bench.atomic import write_json
from prefbench.bench.exceptions import UsageError
from prefbench.scorers import hpsv2, imagereward
from prefbench.scorers.bert_tokenizer import VOCABULARY_FILE, build_tokenizer
from prefbench.scorers.fingerprint import sha256_of_file
from prefbench.scorers.imagereward_network import with_med_config
from prefbench.scorers.open_clip_tower import open_tokenizer, read_architecture, too_long
from prefbench.scorers.upstream.flan_t5 import open_flan_t5
from prefbench.scorers.upstream.original import Architecture, Original
from prefbench.scorers.upstream.pickscore_readme import open_pickscore
from prefbench.scorers.weights import WeightsArgument, download, find_weights

__all__ = ["OPENERS", "open_original"]


def open_original(
    name: str, weights: WeightsArgument, architecture: Architecture, device: str, work: Path
) -> Original:
    """Find an original's weights and write the files that it wants.

    Args:
        name: with `@upstream`: "hpsv2.1@upstream".
        weights: as for the port, in the original's own format.
        architecture: as for the port.
        device: torch device.
        work: folder for what the original wants to find on disk.

    Raises: UsageError, MissingWeightsError.
    """
    base = name.partition("@")[0]
    if base not in OPENERS:
        raise UsageError(
            f"Scorer {base} has no original package that can be run here. These have one: {', '.join(OPENERS)}."
        )
    original = OPENERS[base](name, weights, architecture, work)
    original.settings["device"] = device.partition(":")[0]  # which GPU is said by CUDA_VISIBLE_DEVICES
    return original


def _open_hpsv2(name: str, weights: WeightsArgument, architecture: Architecture, work: Path) -> Original:
    published = hpsv2.HUB[name.partition("@")[0]]
    path = find_weights(weights, default=published, candidates=(published.filename,), scorer=name)
    folder = path.parent if weights is not None else None
    config = read_architecture(architecture, folder, hpsv2.ARCHITECTURE)
    tokenizer = open_tokenizer(config, folder, name)
    sizes = None
    if config != hpsv2.ARCHITECTURE:
        sizes = work / "prefbench-sizes.json"
        write_json(sizes, config)
    return Original(
        package="hpsv2",
        script="hpsv2_worker.py",
        settings={
            "weights": str(path),
            "architecture": sizes and str(sizes),
            "vocabulary": str(files("open_clip") / "bpe_simple_vocab_16e6.txt.gz"),
        },
        weights=sha256_of_file(path),
        licence=hpsv2.LICENCE,
        scale=hpsv2.SCALE,
        trained_on=hpsv2.TRAINED_ON,
        token_limit=config["text_cfg"]["context_length"],
        too_long=lambda prompts: too_long(tokenizer, prompts),
        architecture=config,
    )


def _open_imagereward(
    name: str, weights: WeightsArgument, architecture: Architecture, work: Path
) -> Original:
    path = find_weights(weights, default=imagereward.HUB, candidates=("ImageReward.pt",), scorer=name)
    folder = path.parent if weights is not None else None
    config = read_architecture(architecture, folder, with_med_config(folder))
    _check_image_reward_sizes(config, name)
    own = folder / VOCABULARY_FILE if folder is not None and (folder / VOCABULARY_FILE).is_file() else None
    vocabulary = own or download(imagereward.VOCABULARY, name)
    tokenizer = build_tokenizer(vocabulary)
    limit = imagereward.ARCHITECTURE["token_limit"]

    def cut(prompts: Sequence[str]) -> NDArray[np.bool_]:
        return np.array(
            [len(ids) > limit for ids in tokenizer(list(prompts), verbose=False)["input_ids"]], dtype=bool
        )

    published = config["vision"] == imagereward.ARCHITECTURE["vision"]
    return Original(
        package="image-reward",
        script="image_reward_worker.py",
        settings={
            "weights": str(path),
            "med_config": str(_write_med_config(config, work)),
            "vision": None if published else config["vision"],
            "mlp_in": None if published else config["text"]["hidden_size"],
        },
        weights=sha256_of_file(path),
        licence=imagereward.LICENCE,
        scale=imagereward.SCALE,
        trained_on=imagereward.TRAINED_ON,
        token_limit=limit,
        too_long=cut,
        architecture=config,
        hub_cache=_write_bert_cache(vocabulary, work / "hub"),
    )


def _check_image_reward_sizes(config: dict[str, Any], name: str) -> None:
    vision = config["vision"]
    if (
        vision["image_size"] != imagereward.ARCHITECTURE["vision"]["image_size"]
        or vision["intermediate_size"] != 4 * vision["hidden_size"]
        or config["mlp"] != imagereward.ARCHITECTURE["mlp"]
    ):
        raise UsageError(
            f"Scorer {name}: the original package has 224 pixels, an image encoder whose inner layers are four times as "
            "wide, and a head of 1024-128-64-16 written into its code. Give an architecture with these, or use the port."
        )


def _write_med_config(config: dict[str, Any], work: Path) -> Path:
    """The text encoder's sizes as BLIP's own BertConfig reads them."""
    path = work / "med_config.json"
    fixed = {
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "hidden_act": "gelu",
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "model_type": "bert",
        "add_type_embeddings": False,
        "add_cross_attention": True,
    }
    write_json(path, {**fixed, **config["text"], "encoder_width": config["vision"]["hidden_size"]})
    return path


def _write_bert_cache(vocabulary: Path, hub: Path) -> Path:
    """A hub cache that has bert-base-uncased's tokenizer and nothing else."""
    text = vocabulary.read_bytes()
    revision = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    model = hub / "models--bert-base-uncased"
    snapshot = model / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(revision)
    (snapshot / VOCABULARY_FILE).write_bytes(text)
    (snapshot / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "model_max_length": 512})
    )
    (snapshot / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return hub


OPENERS: dict[str, Callable[[str, WeightsArgument, Architecture, Path], Original]] = {
    "pickscore": open_pickscore,
    "hpsv2.0": _open_hpsv2,
    "hpsv2.1": _open_hpsv2,
    "imagereward": _open_imagereward,
    "vqascore.clip-flant5-xl": open_flan_t5,
    "vqascore.clip-flant5-xxl": open_flan_t5,
}
"""Port's name -> how its original is made ready."""
