"""HPS v2.0 and v2.1: human preference score of an image for a prompt.

    score = cos(image embedding, text embedding), no logit scale

Raw cosine, about 0.20 to 0.35 (papers print it times 100). Higher is better. Scores of v2.0 and v2.1 are not
comparable with each other.

Upstream: tgxs002/HPSv2 1.2.0 (hpsv2/img_score.py@708ffb3) and src/open_clip/transform.py.
* The released code's: OpenCLIP ViT-H-14 (plain GELU), tensor first, long side 224 bicubic, black padding,
  CLIP mean and deviation, CLIP tokenizer with 77 tokens and the end token forced last.
* Variants: `@antialias` (default) is what the released code computes with torchvision >= 0.17; `@legacy-noaa`
  is what it computed before, when the published tables were made (resizing a tensor did not antialias by
  default). `@fp16` and `@legacy-noaa-fp16` are the same two as the released code computes them on a GPU, under CUDA
  autocast: towers in float16, embeddings normalised in float32, both rounded to float16, and so is their product,
  whose step is then 0.00024 between 0.25 and 0.5 and makes exact ties. On a CPU these variants round alike, and the
  towers stay float32: the grid and its ties are those of a GPU, the last step or two of a score are not.
* Differences: float32 on every device unless asked for float16; any size is padded to a square; transparent images
  are composited instead of crashing; the checkpoint is read once.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import CLIP, SimpleTokenizer
from PIL.Image import Image
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.bench.registry import unknown_name
from prefbench.scorers.dual_encoder import EmbeddingStore, score_embeddings
from prefbench.scorers.fingerprint import library_versions, sha256_of_file
from prefbench.scorers.image_io import DECODE_RULE, open_rgb
from prefbench.scorers.info import MINIATURE_LICENCE, ScorerInfo
from prefbench.scorers.open_clip_tower import (
    WEIGHT_FILES,
    build_clip,
    cosine,
    image_features,
    load_clip,
    open_tokenizer,
    read_architecture,
    save_clip_folder,
    text_features,
    tokenizer_identity,
    too_long,
    tower_fingerprint,
)
from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD, letterbox, normalise
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.weights import HubFile, WeightsArgument, find_weights, miniature_folder, place

__all__ = [
    "ARCHITECTURE",
    "HUB",
    "VARIANTS",
    "HPSv2",
    "Variant",
    "build",
    "forward",
    "half_cosine",
    "load",
    "save_folder",
]

# tgxs002/HPSv2 hpsv2/utils.py `hps_version_map`; the revision is as public code quotes it.
REVISION = "697403c78157020a1ae59d23f111aa58ced35b0a"
HUB = {
    "hpsv2.0": HubFile("xswu/HPSv2", REVISION, "HPS_v2_compressed.pt"),
    "hpsv2.1": HubFile("xswu/HPSv2", REVISION, "HPS_v2.1_compressed.pt"),
}

# open_clip model_configs/ViT-H-14.json. The laion2B weights behind HPS were trained with the plain GELU.
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 1024,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24},
}


class Variant(NamedTuple):
    """One of the computations that the released code does, depending on where it runs."""

    antialias: bool
    """Whether the resize antialiases: torchvision >= 0.17."""
    half: bool
    """Whether it computes as CUDA autocast does: on a GPU."""


VARIANTS = {
    "antialias": Variant(antialias=True, half=False),
    "legacy-noaa": Variant(antialias=False, half=False),
    "fp16": Variant(antialias=True, half=True),
    "legacy-noaa-fp16": Variant(antialias=False, half=True),
}
DEFAULT_VARIANT = "antialias"

LICENCE = "Apache-2.0"
TRAINED_ON = "HPD v2 (human rankings)"
SCALE = "raw cosine, about 0.20-0.35"
FORMULA = "cosine, float32, no logit scale"
HALF_FORMULA = "cosine of embeddings rounded to float16, rounded to float16, no logit scale"

build = build_clip
save_folder = save_clip_folder


def forward(network: CLIP, pixels: Tensor, tokens: Tensor) -> Tensor:
    """Scores of B pairs, differentiable.

    Args:
        network: an open_clip CLIP.
        pixels: (B, 3, S, S), normalised.
        tokens: (B, L) token ids.

    Returns: float32 (B,).
    """
    return cosine(image_features(network.visual, pixels), text_features(network, tokens))


def half_cosine(image: Tensor, text: Tensor) -> Tensor:
    """The product as a GPU's autocast gives it: factors and result rounded to float16, the sum in float32.

    Args:
        image: (B, D), unit length.
        text: (B, D), unit length.

    Returns: float32 (B,), on float16's grid.
    """
    return cosine(image.half().float(), text.half().float()).half().float()


@dataclass
class HPSv2:
    """A loaded HPSv2 of either version."""

    network: CLIP
    tokenizer: SimpleTokenizer
    info: ScorerInfo
    image_size: int
    variant: Variant
    tower: str
    batch_size: int = 16
    embeddings: EmbeddingStore | None = None

    def preprocess(self, images: Sequence[ImageSource]) -> Tensor:
        """B images -> normalised float32 (B, 3, S, S); padding becomes the normalised black."""
        return self.to_pixels([open_rgb(image) for image in images])

    def to_pixels(self, images: Sequence[Image]) -> Tensor:
        """What of `preprocess` torch does: the original resizes float tensors."""
        return normalise(
            torch.stack(
                [letterbox(image, self.image_size, antialias=self.variant.antialias) for image in images]
            )
        )

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """B texts -> int64 (B, L)."""
        return self.tokenizer(list(prompts))

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts have more tokens than the text tower reads, shape (N,)."""
        return too_long(self.tokenizer, prompts)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`."""
        half = self.variant.half
        on_gpu = half and self.network.logit_scale.is_cuda
        with torch.autocast("cuda", torch.float16) if on_gpu else nullcontext():
            return score_embeddings(
                images,
                prompts,
                scorer=self.info.name,
                network=self.network,
                batch_size=self.batch_size,
                open_image=open_rgb,
                to_pixels=self.to_pixels,
                embed_images=partial(image_features, self.network.visual),
                kept=self.embeddings.of(self.tower) if self.embeddings else None,
                tokenize=self.tokenize,
                embed_texts=partial(text_features, self.network),
                product=half_cosine if half else cosine,
            )


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> HPSv2:
    """Load `hpsv2.0`, `hpsv2.1` or `mini:hpsv2`, each with an optional `@variant`.

    Args:
        name: as typed.
        weights: None (hub, or the package for the miniature), a file (.pt with `state_dict`, safetensors), a
            folder, a hub id.
        architecture: open_clip's model configuration with `quick_gelu`, dict or JSON file; default:
            architecture.json beside the weights, else ViT-H-14.
        device: torch device.
        dtype: of the network; the final product is float32 in any case. The float16 variants have their own.

    Raises: MissingWeightsError, UsageError.
    """
    base, _, variant = name.partition("@")
    variant = variant or DEFAULT_VARIANT
    if variant not in VARIANTS:
        raise unknown_name(f"variant of {base}", variant, list(VARIANTS))
    if VARIANTS[variant].half and dtype != "float32":
        raise UsageError(
            f"Scorer {name} says itself where it rounds: leave out dtype {dtype!r}, or @{variant}."
        )
    if base.startswith("mini:") and weights is None:
        weights = miniature_folder("hpsv2")
    published = HUB.get(base)
    candidates = (*((published.filename,) if published else ()), *WEIGHT_FILES)
    path = find_weights(weights, default=published, candidates=candidates, scorer=name)
    folder = path.parent if weights is not None else None
    config = read_architecture(architecture, folder, ARCHITECTURE)
    network = load_clip(config, path, name)
    place(network, device, dtype)
    tokenizer = open_tokenizer(config, folder, name)
    info = _info(name, config, tokenizer, path, _precision(VARIANTS[variant], device, dtype))
    return HPSv2(
        network,
        tokenizer,
        info,
        image_size=config["vision_cfg"]["image_size"],
        variant=VARIANTS[variant],
        tower=tower_fingerprint(info.identity, info.identity["weights"], config),
    )


def _precision(variant: Variant, device: str, dtype: str) -> str:
    if not variant.half:
        return dtype
    return "float16 by autocast" if torch.device(device).type == "cuda" else f"{dtype} towers"


def _info(
    name: str, config: dict[str, Any], tokenizer: SimpleTokenizer, path: Path, dtype: str
) -> ScorerInfo:
    variant = name.partition("@")[2] or DEFAULT_VARIANT
    miniature = name.startswith("mini:")
    size = config["vision_cfg"]["image_size"]
    identity = {
        "scorer": "hpsv2",
        "weights": sha256_of_file(path),
        "backbone": {"library": "open_clip", "architecture": config},
        "decode": DECODE_RULE,
        "resize": f"torch bicubic of the float tensor, antialias {VARIANTS[variant].antialias}, long side {size}, "
        "black pad to square",
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "dtype": dtype,
        "tokenizer": tokenizer_identity(tokenizer),
        "formula": HALF_FORMULA if VARIANTS[variant].half else FORMULA,
        "versions": library_versions(),
    }
    return ScorerInfo(
        name=name,
        variant=variant,
        licence=MINIATURE_LICENCE if miniature else LICENCE,
        scale="raw cosine" if miniature else SCALE,
        trained_on="miniature world (synthetic preferences)" if miniature else TRAINED_ON,
        identity=identity,
        token_limit=config["text_cfg"]["context_length"],
    )
