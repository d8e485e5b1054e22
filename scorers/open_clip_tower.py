"""CLIP models of the open_clip kind: build, load, save, features. Shared by hpsv2, clip and aesthetic.

A folder that holds such a model, as the miniature scorers ship it:

    architecture.json    {"embed_dim", "quick_gelu", "vision_cfg": {...}, "text_cfg": {...}}: open_clip's own
    words model.safetensors    the state dict, float16
    bpe.txt.gz           merges of the tokenizer, where it is not CLIP's own
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg, SimpleTokenizer
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import normalize

from prefbench.bench.atomic import write_bytes, write_json
from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers.dual_encoder import embedding_fingerprint
from prefbench.scorers.fingerprint import sha256_of_json
from prefbench.scorers.weights import SkipRandomInit, load_strict, read_state_dict

__all__ = [
    "ARCHITECTURE_FILE",
    "BPE_FILE",
    "WEIGHT_FILES",
    "build_clip",
    "build_visual",
    "cosine",
    "half_bytes",
    "image_features",
    "load_clip",
    "open_tokenizer",
    "read_architecture",
    "save_clip_folder",
    "text_features",
    "tokenizer_identity",
    "too_long",
    "tower_fingerprint",
    "write_bpe",
]

ARCHITECTURE_FILE = "architecture.json"
BPE_FILE = "bpe.txt.gz"
WEIGHT_FILES = ("model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")

# Buffers and sizes that some published CLIP state dicts carry and no network has as parameters (openai/CLIP
# clip/model.py).
IGNORED_KEYS = ("input_resolution", "context_length", "vocab_size", "attn_mask", "*.attn_mask")


def read_architecture(
    architecture: dict[str, Any] | str | PathLike[str] | None,
    folder: Path | None,
    default: dict[str, Any],
    *,
    file: str = ARCHITECTURE_FILE,
) -> dict[str, Any]:
    """The architecture: the argument (dict or JSON file), else the folder's own file, else `default`.

    Raises: MissingWeightsError if the file is missing or not a JSON object.
    """
    if isinstance(architecture, dict):
        return architecture
    if architecture is not None:
        path = Path(architecture)
    elif folder is not None and (folder / file).is_file():
        path = folder / file
    else:
        return default
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeightsError(
            f"Architecture file {path} cannot be read ({error}). Give a JSON object."
        ) from error
    if not isinstance(value, dict):
        raise MissingWeightsError(
            f"Architecture file {path} holds a {type(value).__name__}, not a JSON object."
        )
    return value


def build_clip(architecture: dict[str, Any]) -> CLIP:
    """A CLIP with random weights from torch's current seed.

    Args:
        architecture: {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}. `quick_gelu` has no default:
            OpenAI's weights need it and most others must not have it, and the wrong one gives wrong scores
            without any error.

    Raises: MissingWeightsError for a missing or unknown field.
    """
    missing = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"} - architecture.keys()
    if missing:
        raise MissingWeightsError(
            f"The CLIP architecture lacks {', '.join(sorted(missing))}. State every one of them."
        )
    try:
        return CLIP(
            embed_dim=architecture["embed_dim"],
            quick_gelu=bool(architecture["quick_gelu"]),
            vision_cfg=CLIPVisionCfg(**architecture["vision_cfg"]),
            text_cfg=CLIPTextCfg(**architecture["text_cfg"]),
        )
    except TypeError as error:
        raise MissingWeightsError(
            f"The CLIP architecture has a field that open_clip does not know: {error}."
        ) from error


def build_visual(architecture: dict[str, Any]) -> nn.Module:
    """Only the image tower of `build_clip(architecture)`."""
    visual: nn.Module = build_clip(architecture).visual
    return visual


def load_clip(architecture: dict[str, Any], path: Path, scorer: str) -> CLIP:
    """A CLIP with the weights of `path`, complete and strict. Raises MissingWeightsError."""
    state = read_state_dict(path, scorer)  # before a large network is built for nothing
    with SkipRandomInit():
        network = build_clip(architecture)
    load_strict(network, state, scorer=scorer, source=path, ignore=IGNORED_KEYS)
    return network


def image_features(visual: nn.Module, pixels: Tensor) -> Tensor:
    """Unit-length image embeddings in float32, shape (B, embed_dim)."""
    return normalize(visual(pixels).float(), dim=-1)


def cosine(image: Tensor, text: Tensor) -> Tensor:
    """Cosines of B pairs of unit-length embeddings, shape (B,)."""
    return (image * text).sum(dim=-1)


def tower_fingerprint(identity: Mapping[str, Any], weights: str, architecture: Mapping[str, Any]) -> str:
    """What decides an image's embedding: two scorers with equal hashes may share it.

    Args:
        identity: of the scorer.
        weights: sha256 of the file that holds the tower.
        architecture: open_clip's model configuration; its text part has no say.
    """
    tower = {field: architecture[field] for field in ("embed_dim", "quick_gelu", "vision_cfg")}
    return embedding_fingerprint(identity, {"library": "open_clip", "weights": weights, **tower})


def text_features(network: CLIP, tokens: Tensor) -> Tensor:
    """Unit-length text embeddings in float32, shape (B, embed_dim)."""
    return normalize(network.encode_text(tokens).float(), dim=-1)


@cache
def _clip_tokenizer(limit: int) -> SimpleTokenizer:
    return SimpleTokenizer(context_length=limit)


@lru_cache(maxsize=8)
def _vocabulary_hash(tokenizer: SimpleTokenizer) -> str:
    return sha256_of_json(tokenizer.encoder)


def open_tokenizer(architecture: dict[str, Any], folder: Path | None, scorer: str) -> SimpleTokenizer:
    """CLIP's BPE tokenizer, with the folder's own merges where it has them.

    Raises: MissingWeightsError if the vocabulary is larger than the architecture's embedding table.
    """
    limit = architecture["text_cfg"]["context_length"]
    own = folder / BPE_FILE if folder is not None and (folder / BPE_FILE).is_file() else None
    tokenizer = SimpleTokenizer(bpe_path=str(own), context_length=limit) if own else _clip_tokenizer(limit)
    if tokenizer.vocab_size != architecture["text_cfg"]["vocab_size"]:
        raise MissingWeightsError(
            f"Scorer {scorer}: the tokenizer has {tokenizer.vocab_size} tokens and the text tower "
            f"{architecture['text_cfg']['vocab_size']}. Put the matching {BPE_FILE} beside the weights."
        )
    return tokenizer


def tokenizer_identity(tokenizer: SimpleTokenizer) -> dict[str, Any]:
    """Kind, limit and vocabulary hash, for a fingerprint."""
    return {
        "kind": "open_clip SimpleTokenizer, lower-cased, end token forced last",
        "limit": tokenizer.context_length,
        "vocabulary": _vocabulary_hash(tokenizer),
    }


def too_long(tokenizer: SimpleTokenizer, prompts: Sequence[str]) -> NDArray[np.bool_]:
    """Which prompts have more tokens than the tower reads (start and end tokens included), shape (N,)."""
    return np.array(
        [len(tokenizer.encode(text)) + 2 > tokenizer.context_length for text in prompts], dtype=bool
    )


def write_bpe(path: Path, merges: Sequence[tuple[str, str]]) -> None:
    """Write merges in the format of open_clip's SimpleTokenizer.

    The vocabulary then has 512 + len(merges) + 2 tokens. The file is the same byte for byte for the same
    merges (no time stamp). It must not end with a newline: the reader would make an empty merge, and one more
    token, of it.
    """
    text = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)])
    write_bytes(path, gzip.compress(text.encode("utf-8"), mtime=0))


def half_bytes(state: dict[str, Tensor]) -> bytes:
    """A state dict as float16 safetensors."""
    return save({key: value.detach().cpu().to(torch.float16).contiguous() for key, value in state.items()})


def save_clip_folder(
    folder: Path, network: CLIP, architecture: dict[str, Any], merges: Sequence[tuple[str, str]] | None = None
) -> None:
    """Write the folder described at the top of this module.

    Args:
        folder: created if needed.
        network: as `build_clip(architecture)` made it.
        architecture: written as given.
        merges: of the tokenizer; None where it is CLIP's own.
    """
    write_json(folder / ARCHITECTURE_FILE, architecture)
    write_bytes(folder / "model.safetensors", half_bytes(network.state_dict()))
    if merges is not None:
        write_bpe(folder / BPE_FILE, merges)
