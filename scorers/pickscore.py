"""PickScore v1: how much people on Pick-a-Pic would prefer this image for this prompt.

    score = exp(logit_scale) * cos(image embedding, text embedding)

Unit: logits of a choice between images of one prompt; exp(logit_scale) is about 100 in the published weights,
so scores lie at about 18 to 24. Higher is better. Differences within one prompt mean something, differences
between prompts less so.

Upstream: yuvalkirstain/PickScore README; transformers `CLIPModel` and its image processor.
* The upstream example's: CLIP ViT-H/14, bicubic short side 224, centre crop, CLIP mean and deviation, 77
  tokens, float32.
* Differences: one decode path for all scorers (image_io.py). The embeddings are projected here from the
  pooled output, because `get_image_features` returns a tensor in transformers 4 and an output object in 5.
  The crop is the one of transformers' processor (floor), resampled by Pillow as in transformers 4.
* Other public code prints the same model as raw cosine (about 0.22) or divided by 26; this is the scale of
  the paper's tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerBase

from prefbench.bench.atomic import write_bytes, write_json
from prefbench.scorers.clip_tokenizer import (
    bundled_tokenizer,
    check_tokenizer,
    has_tokenizer,
    longer_than,
    padded_ids,
    read_tokenizer,
    vocabulary_hash,
)
from prefbench.scorers.dual_encoder import EmbeddingStore, embedding_fingerprint, score_embeddings
from prefbench.scorers.fingerprint import library_versions, sha256_of_file
from prefbench.scorers.image_io import DECODE_RULE, open_rgb
from prefbench.scorers.info import MINIATURE_LICENCE, ScorerInfo
from prefbench.scorers.open_clip_tower import half_bytes, read_architecture
from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD, resize_and_center_crop, to_pixels
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.weights import (
    HubFile,
    SkipRandomInit,
    WeightsArgument,
    find_weights,
    load_strict,
    miniature_folder,
    place,
    read_state_dict,
)

__all__ = [
    "ARCHITECTURE",
    "HUB",
    "TOKENIZER",
    "PickScore",
    "backbone_identity",
    "build",
    "forward",
    "load",
    "save_folder",
]

# README of yuvalkirstain/PickScore names the repository; the revision is as public code quotes it
# (model.safetensors, 3.94 GB).
HUB = HubFile("yuvalkirstain/PickScore_v1", "a4e4367c6dfa7288a00c550414478f865b875800", "model.safetensors")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
CONFIG_FILE = "config.json"
# Buffers that transformers 4 saved and 5 does not have.
IGNORED_KEYS = ("*.position_ids",)

# CLIP ViT-H/14 as laion/CLIP-ViT-H-14-laion2B-s32B-b79K states it in its config.json; plain GELU, 1280 = 16 x
# 80.
ARCHITECTURE: dict[str, Any] = {
    "projection_dim": 1024,
    "text_config": {
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "max_position_embeddings": 77,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "projection_dim": 1024,
        "vocab_size": 49408,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
    },
    "vision_config": {
        "hidden_act": "gelu",
        "hidden_size": 1280,
        "image_size": 224,
        "intermediate_size": 5120,
        "num_attention_heads": 16,
        "num_hidden_layers": 32,
        "patch_size": 14,
        "projection_dim": 1024,
    },
}

LICENCE = "none stated for the weights (code MIT)"
TRAINED_ON = "Pick-a-Pic v1 (human choices)"
SCALE = "logit-scaled cosine, about 18-24"
TOKENIZER = "transformers CLIPTokenizer, end token kept last"
TOWER_FIELDS = (
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "num_attention_heads",
    "num_hidden_layers",
)
FORMULA = "exp(logit_scale) * cosine, float32"


def build(architecture: dict[str, Any]) -> CLIPModel:
    """The network with random weights from torch's current seed.

    Args:
        architecture: a transformers CLIPConfig as a dict: `text_config`, `vision_config`, `projection_dim`.
    """
    known = ("projection_dim", "text_config", "vision_config")
    return CLIPModel(CLIPConfig(**{field: architecture[field] for field in known if field in architecture}))


def forward(network: CLIPModel, pixels: Tensor, tokens: Tensor) -> Tensor:
    """Scores of B pairs, differentiable.

    Args:
        network: a transformers CLIPModel.
        pixels: (B, 3, S, S), normalised.
        tokens: (B, L) token ids; what follows the end token is not read (attention is causal).

    Returns: float32 (B,).
    """
    return _product(network, embed_images(network, pixels), embed_texts(network, tokens))


# The pooled outputs are vectors before projection in transformers 4 and 5 alike.
def embed_images(network: CLIPModel, pixels: Tensor) -> Tensor:
    """Unit-length image embeddings in float32, shape (B, D)."""
    pooled = network.vision_model(pixel_values=pixels).pooler_output
    return normalize(network.visual_projection(pooled).float(), dim=-1)


def embed_texts(network: CLIPModel, tokens: Tensor) -> Tensor:
    """Unit-length text embeddings in float32, shape (B, D)."""
    pooled = network.text_model(input_ids=tokens).pooler_output
    return normalize(network.text_projection(pooled).float(), dim=-1)


def _product(network: CLIPModel, image: Tensor, text: Tensor) -> Tensor:
    return network.logit_scale.float().exp().to(image.device) * (image * text).sum(dim=-1)


@dataclass
class PickScore:
    """A loaded PickScore."""

    network: CLIPModel
    tokenizer: PreTrainedTokenizerBase
    info: ScorerInfo
    image_size: int
    token_limit: int
    tower: str
    batch_size: int = 16
    embeddings: EmbeddingStore | None = None

    def open_image(self, image: ImageSource) -> Image:
        """Decoded, resized and cut to S x S."""
        return resize_and_center_crop(open_rgb(image), self.image_size, crop="floor")

    def preprocess(self, images: Sequence[ImageSource]) -> Tensor:
        """B images -> normalised float32 (B, 3, S, S)."""
        return to_pixels([self.open_image(image) for image in images])

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """B texts -> int64 (B, L): padded to L, cut at L with the end token kept last."""
        return padded_ids(self.tokenizer, prompts, self.token_limit)

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts have more tokens than the text tower reads, shape (N,)."""
        return longer_than(self.tokenizer, prompts, self.token_limit)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`."""
        return score_embeddings(
            images,
            prompts,
            scorer=self.info.name,
            network=self.network,
            batch_size=self.batch_size,
            open_image=self.open_image,
            to_pixels=to_pixels,
            embed_images=partial(embed_images, self.network),
            kept=self.embeddings.of(self.tower) if self.embeddings else None,
            tokenize=self.tokenize,
            embed_texts=partial(embed_texts, self.network),
            product=partial(_product, self.network),
        )


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> PickScore:
    """Load `pickscore` or `mini:pickscore`.

    Args:
        name: as typed.
        weights: None (hub, or the package for the miniature), a transformers folder, a weights file, or a hub
            id.
        architecture: CLIPConfig as a dict or a JSON file; default: config.json beside the weights, else
            ViT-H/14.
        device: torch device.
        dtype: of the network; the final product is float32 in any case.

    Raises: MissingWeightsError, UsageError.
    """
    miniature = name.startswith("mini:")
    if miniature and weights is None:
        weights = miniature_folder("pickscore")
    path = find_weights(weights, default=HUB, candidates=WEIGHT_FILES, scorer=name)
    folder = path.parent if weights is not None else None
    state = read_state_dict(path, name)  # before a large network is built for nothing
    with SkipRandomInit():
        network = build(read_architecture(architecture, folder, ARCHITECTURE, file=CONFIG_FILE))
    load_strict(network, state, scorer=name, source=path, ignore=IGNORED_KEYS)
    place(network, device, dtype)
    tokenizer = read_tokenizer(folder) if folder and has_tokenizer(folder) else bundled_tokenizer()
    check_tokenizer(network.text_model.config, tokenizer, name, path)
    info = _info(name, network, tokenizer, path, dtype)
    size = int(network.vision_model.config.image_size)
    tower = embedding_fingerprint(
        info.identity, {"weights": info.identity["weights"], **info.identity["backbone"]}
    )
    return PickScore(network, tokenizer, info, size, info.token_limit or 0, tower)


def backbone_identity(network: CLIPModel) -> dict[str, Any]:
    """Both towers, for a fingerprint: what decides a score, since config.json files of one model differ in the rest."""
    text, vision = network.text_model.config.to_dict(), network.vision_model.config.to_dict()
    return {
        "library": "transformers CLIPModel",
        "text": {field: text[field] for field in (*TOWER_FIELDS, "max_position_embeddings", "vocab_size")},
        "vision": {field: vision[field] for field in (*TOWER_FIELDS, "image_size", "patch_size")},
    }


def _info(
    name: str, network: CLIPModel, tokenizer: PreTrainedTokenizerBase, path: Path, dtype: str
) -> ScorerInfo:
    miniature = name.startswith("mini:")
    size = network.vision_model.config.image_size
    limit = network.text_model.config.max_position_embeddings
    identity = {
        "scorer": "pickscore",
        "weights": sha256_of_file(path),
        "backbone": backbone_identity(network),
        "decode": DECODE_RULE,
        "resize": f"pillow bicubic antialiased, short side {size}, centre crop (floor)",
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "dtype": dtype,
        "tokenizer": {"kind": TOKENIZER, "limit": limit, "vocabulary": vocabulary_hash(tokenizer)},
        "formula": FORMULA,
        "versions": library_versions(),
    }
    return ScorerInfo(
        name=name,
        variant=None,
        licence=MINIATURE_LICENCE if miniature else LICENCE,
        scale="logit-scaled cosine" if miniature else SCALE,
        trained_on="miniature world (synthetic preferences)" if miniature else TRAINED_ON,
        identity=identity,
        token_limit=limit,
    )


def save_folder(
    folder: Path,
    network: CLIPModel,
    architecture: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> None:
    """Write a folder that `load(weights=folder)` reads.

    It gets config.json, model.safetensors (float16) and the tokenizer's files.

    Args:
        folder: created if needed.
        network: as `build(architecture)` made it.
        architecture: written as config.json.
        tokenizer: a transformers CLIP tokenizer; None where it is CLIP's own.
    """
    write_json(folder / CONFIG_FILE, {"model_type": "clip", "architectures": ["CLIPModel"], **architecture})
    write_bytes(folder / "model.safetensors", half_bytes(network.state_dict()))
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
