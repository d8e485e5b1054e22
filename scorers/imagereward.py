"""ImageReward 1.0: reward of an image for a prompt, learnt from expert rankings.

    score = (mlp(first token of the text encoder, which attends to the image) - 0.16717) / 1.03334

Standardised on its authors' test set, so about -2 to 2 and unbounded. Higher is better. It reads only 35
tokens of a prompt.

Upstream: THUDM/ImageReward@0f5fa3e ImageReward/ImageReward.py, models/BLIP of the 1.5 package.
* The released code's: BLIP ViT-L/16 at 224, BERT with cross-attention in every layer, MLP
  768-1024-128-64-16-1 without non-linearities (dropout between, no effect here), bert-base-uncased padded to
  35 tokens, bicubic short side and centre crop, float32.
* Differences: built on transformers' own BLIP (vision LayerNorm eps 1e-6 as in the original, not
  transformers' 1e-5); weights are loaded strictly, where the original tolerates missing keys; pairs are
  batched; one decode path (image_io.py).
* Its README gives 0.5811, 0.2745, -1.4132, -2.0296 for its four example images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from prefbench.bench.atomic import write_bytes, write_json, write_text
from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers.batching import score_in_batches
from prefbench.scorers.bert_tokenizer import VOCABULARY_FILE, build_tokenizer
from prefbench.scorers.clip_tokenizer import longer_than, vocabulary_hash
from prefbench.scorers.fingerprint import library_versions, sha256_of_file
from prefbench.scorers.image_io import DECODE_RULE, open_rgb
from prefbench.scorers.imagereward_keys import UNUSED_KEYS, original_to_ours
from prefbench.scorers.imagereward_network import (
    ARCHITECTURE,
    TOKEN_LIMIT,
    ImageRewardNetwork,
    with_med_config,
)
from prefbench.scorers.info import MINIATURE_LICENCE, ScorerInfo
from prefbench.scorers.open_clip_tower import ARCHITECTURE_FILE, half_bytes, read_architecture
from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD, resize_and_center_crop, to_pixels
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.weights import (
    HubFile,
    SkipRandomInit,
    WeightsArgument,
    download,
    find_weights,
    load_strict,
    miniature_folder,
    place,
    read_state_dict,
)

__all__ = [
    "ARCHITECTURE",
    "HUB",
    "ImageReward",
    "ImageRewardNetwork",
    "build",
    "forward",
    "load",
    "save_folder",
]

# ImageReward/utils.py names repository and files; the revision is as public code quotes it.
HUB = HubFile("THUDM/ImageReward", "5736be03b2652728fb87788c9797b0570450ab72", "ImageReward.pt")
VOCABULARY = HubFile("google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594", "vocab.txt")
WEIGHT_FILES = ("model.safetensors", "ImageReward.safetensors", "ImageReward.pt")

# ImageReward.py `self.mean`, `self.std`: statistics of the reward on its test set [CODE].
MEAN = 0.16717362830052426
STD = 1.0333394966054072

LICENCE = "Apache-2.0"
TRAINED_ON = "ImageRewardDB (expert rankings)"
SCALE = "standardised reward, about -2 to 2, unbounded"
FORMULA = f"(mlp(first token) - {MEAN}) / {STD}, head float32"


def build(architecture: dict[str, Any]) -> ImageRewardNetwork:
    """The network with random weights from torch's current seed.

    Args:
        architecture: as `ARCHITECTURE`: `vision` and `text` in transformers' words, `mlp` the four hidden
            widths.

    Raises: MissingWeightsError for a missing field.
    """
    missing = {"vision", "text", "mlp"} - architecture.keys()
    if missing:
        raise MissingWeightsError(
            f"The ImageReward architecture lacks {', '.join(sorted(missing))}. State every one of them."
        )
    return ImageRewardNetwork(architecture)


def forward(network: ImageRewardNetwork, pixels: Tensor, tokens: Tensor) -> Tensor:
    """Scores of B pairs, differentiable.

    Args:
        network: tower, text encoder and head.
        pixels: (B, 3, S, S), normalised.
        tokens: int64 (B, 2, L): token ids, and 1 for a token or 0 for padding.

    Returns: float32 (B,).
    """
    image = network.vision(pixel_values=pixels).last_hidden_state
    text = network.text(
        input_ids=tokens[:, 0],
        attention_mask=tokens[:, 1],
        encoder_hidden_states=image,
        encoder_attention_mask=torch.ones(image.shape[:2], dtype=torch.long, device=image.device),
        is_decoder=False,
    )
    reward: Tensor = network.mlp(text.last_hidden_state[:, 0].float())
    return (reward[:, 0] - MEAN) / STD


@dataclass
class ImageReward:
    """A loaded ImageReward."""

    network: ImageRewardNetwork
    tokenizer: PreTrainedTokenizerBase
    info: ScorerInfo
    image_size: int
    token_limit: int
    batch_size: int = 16

    def open_image(self, image: ImageSource) -> Image:
        """Decoded, resized and cut to S x S."""
        return resize_and_center_crop(open_rgb(image), self.image_size, crop="round")

    def preprocess(self, images: Sequence[ImageSource]) -> Tensor:
        """B images -> normalised float32 (B, 3, S, S)."""
        return to_pixels([self.open_image(image) for image in images])

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """B texts -> int64 (B, 2, L): ids and mask, padded to L, cut at L with [SEP] kept last."""
        encoded = self.tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=self.token_limit,
            return_tensors="pt",
        )
        return torch.stack([encoded["input_ids"], encoded["attention_mask"]], dim=1)

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts have more tokens than are read ([CLS] and [SEP] included), shape (N,)."""
        return longer_than(self.tokenizer, prompts, self.token_limit)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`."""
        return score_in_batches(
            images,
            prompts,
            scorer=self.info.name,
            network=self.network,
            batch_size=self.batch_size,
            open_image=self.open_image,
            to_pixels=to_pixels,
            tokenize=self.tokenize,
            forward=forward,
        )


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> ImageReward:
    """Load `imagereward` or `mini:imagereward`.

    Args:
        name: as typed.
        weights: None (hub, or the package for the miniature), ImageReward.pt, a folder, or a hub id. Beside
            it may lie med_config.json and vocab.txt (else bert-base-uncased's from the hub).
        architecture: as `ARCHITECTURE`, dict or JSON file; default: architecture.json or med_config.json
            beside the weights, else the published sizes.
        device: torch device.
        dtype: of both encoders; the head is float32 in any case.

    Raises: MissingWeightsError, UsageError.
    """
    if name.startswith("mini:") and weights is None:
        weights = miniature_folder("imagereward")
    path = find_weights(weights, default=HUB, candidates=WEIGHT_FILES, scorer=name)
    folder = path.parent if weights is not None else None
    config = read_architecture(architecture, folder, with_med_config(folder))
    state = {original_to_ours(key): value for key, value in read_state_dict(path, name).items()}
    with SkipRandomInit():  # after reading: a large network is not built for nothing
        network = build(config)
    load_strict(network, state, scorer=name, source=path, ignore=UNUSED_KEYS)
    place(network.vision, device, dtype)
    place(network.text, device, dtype)
    place(network.mlp, device, "float32")
    tokenizer = _read_tokenizer(folder, name)
    if len(tokenizer) > config["text"]["vocab_size"]:
        raise MissingWeightsError(
            f"Scorer {name}: the tokenizer has {len(tokenizer)} tokens and the text encoder "
            f"{config['text']['vocab_size']}. "
            f"Put the matching {VOCABULARY_FILE} beside {path}."
        )
    info = _info(name, config, tokenizer, path, dtype)
    return ImageReward(
        network, tokenizer, info, image_size=config["vision"]["image_size"], token_limit=info.token_limit or 0
    )


def _info(
    name: str, config: dict[str, Any], tokenizer: PreTrainedTokenizerBase, path: Path, dtype: str
) -> ScorerInfo:
    miniature = name.startswith("mini:")
    limit = config.get("token_limit", TOKEN_LIMIT)
    size = config["vision"]["image_size"]
    identity = {
        "scorer": "imagereward",
        "weights": sha256_of_file(path),
        "backbone": {"library": "transformers  BlipTextModel", "architecture": config},
        "decode": DECODE_RULE,
        "resize": f"pillow bicubic antialiased, short side {size}, centre crop (round)",
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "dtype": dtype,
        "tokenizer": {
            "kind": "bert-base-uncased WordPiece",
            "limit": limit,
            "vocabulary": vocabulary_hash(tokenizer),
        },
        "formula": FORMULA,
        "versions": library_versions(),
    }
    return ScorerInfo(
        name=name,
        variant=None,
        licence=MINIATURE_LICENCE if miniature else LICENCE,
        scale="reward on the published scale's formula" if miniature else SCALE,
        trained_on="miniature world (synthetic preferences)" if miniature else TRAINED_ON,
        identity=identity,
        token_limit=limit,
    )


def _read_tokenizer(folder: Path | None, name: str) -> PreTrainedTokenizerBase:
    own = folder / VOCABULARY_FILE if folder is not None and (folder / VOCABULARY_FILE).is_file() else None
    return build_tokenizer(own or download(VOCABULARY, name))


def save_folder(
    folder: Path, network: ImageRewardNetwork, architecture: dict[str, Any], vocabulary: Sequence[str]
) -> None:
    """Write a folder that `load(weights=folder)` reads.

    It gets architecture.json, model.safetensors (float16) and vocab.txt.

    Args:
        folder: created if needed.
        network: as `build(architecture)` made it.
        architecture: written as given; `text.vocab_size` must be len(vocabulary) + 2 (for [DEC] and [ENC]).
        vocabulary: WordPiece tokens in order of id.
    """
    write_json(folder / ARCHITECTURE_FILE, architecture)
    write_bytes(folder / "model.safetensors", half_bytes(network.state_dict()))
    write_text(folder / VOCABULARY_FILE, "\n".join(vocabulary) + "\n")
