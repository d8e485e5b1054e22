"""CLIP score, in the forms that papers mean by it; the name says which model, formula and preprocessing.

    clip:openai-vit-l-14:cos          cosine, OpenAI ViT-L/14                   about 0.15 to 0.35
    clip:openai-vit-l-14:cos100       100 * cosine, not clamped                 about 15 to 35
    clip:openai-vit-b-32:clipscore    2.5 * max(cosine, 0), "A photo depicts "  about 0.5 to 1.0
    clip:vit-h-14-laion2b:letterbox   cosine, HPSv2's letterbox preprocessing   about 0.15 to 0.40

The third is the CLIPScore paper's, the last what Diffusion-DPO's CLIP column uses. Higher is better in all of
them. They measure agreement of image and text, not preference.

Upstream: openai/CLIP clip/clip.py; jmhessel/clipscore@1036465 (prefix and 2.5); the utilities of
SalesforceAIResearch/DiffusionDPO (letterbox).

* Whether a network uses QuickGELU stands in the table below, with the weights: the wrong one gives wrong
  numbers silently.
* Differences: float32 on every device (OpenAI's code and clipscore run float16 on CUDA); an over-long text
  keeps its end token (torchmetrics loses it, Lightning-AI/torchmetrics#2883); one decode path (image_io.py).
* `letterbox` uses the antialiased resize. Diffusion-DPO pins no torchvision, so its tables may have been made
  without it (our inference).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import CLIP, SimpleTokenizer
from PIL.Image import Image
from torch import Tensor

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
from prefbench.scorers.preprocess import (
    CLIP_MEAN,
    CLIP_STD,
    letterbox,
    normalise,
    resize_and_center_crop,
    to_pixels,
)
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.weights import HubFile, WeightsArgument, find_weights, miniature_folder, place

__all__ = ["FORMS", "MODELS", "CLIPScore", "Form", "Model", "build", "forward", "load", "save_folder"]


@dataclass(frozen=True)
class Model:
    """A CLIP checkpoint: where it is and what it is."""

    hub: HubFile | None
    architecture: dict[str, Any]
    licence: str
    trained_on: str


@dataclass(frozen=True)
class Form:
    """A formula with its preprocessing: score = scale * (max(cosine, 0) if clamp else cosine)."""

    scale: float
    clamp: bool
    prefix: str
    resize: Literal["crop", "letterbox"]
    unit: str


def _vit(
    embed_dim: int, quick_gelu: bool, vision: dict[str, int], text: tuple[int, int, int]
) -> dict[str, Any]:
    """open_clip's words for a ViT at 224 pixels; text: width, heads, layers of CLIP's own text tower."""
    sizes = dict(zip(("width", "heads", "layers"), text, strict=True))
    return {
        "embed_dim": embed_dim,
        "quick_gelu": quick_gelu,
        "vision_cfg": {"image_size": 224, **vision},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, **sizes},
    }


def _hub(repo: str, revision: str) -> HubFile:
    return HubFile(repo, revision, "open_clip_model.safetensors")


# Sizes: open_clip model_configs. QuickGELU and repositories: open_clip pretrained.py, which marks OpenAI's weights
# with quick_gelu=True and laion2b's not. Revisions: as public code quotes them; not fetched when this was written.
OPENAI = {"licence": "MIT (openai/CLIP)", "trained_on": "WebImageText (no preferences)"}
MODELS = {
    "openai-vit-l-14": Model(
        _hub("timm/vit_large_patch14_clip_224.openai", "18d0535469bb561bf468d76c1d73aa35156c922b"),
        _vit(768, True, {"layers": 24, "width": 1024, "patch_size": 14}, (768, 12, 12)),
        **OPENAI,
    ),
    "openai-vit-b-32": Model(
        _hub("timm/vit_base_patch32_clip_224.openai", "a6f597a30f7b82c51704746581f9a4e41421e878"),
        _vit(512, True, {"layers": 12, "width": 768, "patch_size": 32}, (512, 8, 12)),
        **OPENAI,
    ),
    "openai-vit-b-16": Model(
        _hub("timm/vit_base_patch16_clip_224.openai", "977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d"),
        _vit(512, True, {"layers": 12, "width": 768, "patch_size": 16}, (512, 8, 12)),
        **OPENAI,
    ),
    "vit-h-14-laion2b": Model(
        _hub("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "1c2b8495b28150b8a4922ee1c8edee224c284c0c"),
        _vit(1024, False, {"layers": 32, "width": 1280, "head_width": 80, "patch_size": 14}, (1024, 16, 24)),
        licence="MIT",
        trained_on="LAION-2B-en (no preferences)",
    ),
}

FORMS = {
    "cos": Form(1.0, False, "", "crop", "raw cosine, about 0.15-0.35"),
    "cos100": Form(100.0, False, "", "crop", "100 x cosine, about 15-35"),
    # jmhessel/clipscore clipscore.py: w = 2.5, prefix "A photo depicts" before every caption [CODE].
    "clipscore": Form(2.5, True, "A photo depicts ", "crop", "2.5 x max(cosine, 0), about 0.5-1.0"),
    "letterbox": Form(1.0, False, "", "letterbox", "raw cosine, about 0.15-0.40"),
}

MINIATURE_FORM = "cos"

build = build_clip
save_folder = save_clip_folder


def forward(network: CLIP, pixels: Tensor, tokens: Tensor) -> Tensor:
    """Cosines of B pairs, differentiable; the form's factor and clamp come after it.

    Args:
        network: an open_clip CLIP.
        pixels: (B, 3, S, S), normalised.
        tokens: (B, L) token ids.

    Returns: float32 (B,).
    """
    return cosine(image_features(network.visual, pixels), text_features(network, tokens))


@dataclass
class CLIPScore:
    """A loaded CLIP score of one model and one form."""

    network: CLIP
    tokenizer: SimpleTokenizer
    info: ScorerInfo
    form: Form
    image_size: int
    tower: str
    batch_size: int = 16
    embeddings: EmbeddingStore | None = None

    def preprocess(self, images: Sequence[ImageSource]) -> Tensor:
        """B images -> normalised float32 (B, 3, S, S)."""
        return self.to_pixels([self.open_image(image) for image in images])

    def open_image(self, image: ImageSource) -> Image:
        """Decoded; where the form cuts, also resized and cut to S x S."""
        decoded = open_rgb(image)
        if self.form.resize == "letterbox":
            return decoded
        return resize_and_center_crop(decoded, self.image_size, crop="round")

    def to_pixels(self, images: Sequence[Image]) -> Tensor:
        """What of `preprocess` torch does."""
        if self.form.resize == "letterbox":
            return normalise(
                torch.stack([letterbox(image, self.image_size, antialias=True) for image in images])
            )
        return to_pixels(images)

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """B texts -> int64 (B, L), the form's prefix before each."""
        return self.tokenizer([self.form.prefix + text for text in prompts])

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts have, with the prefix, more tokens than the text tower reads, shape (N,)."""
        return too_long(self.tokenizer, [self.form.prefix + text for text in prompts])

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`."""

        def scaled(image: Tensor, text: Tensor) -> Tensor:
            agreement = cosine(image, text)
            return self.form.scale * (agreement.clamp(min=0) if self.form.clamp else agreement)

        return score_embeddings(
            images,
            prompts,
            scorer=self.info.name,
            network=self.network,
            batch_size=self.batch_size,
            open_image=self.open_image,
            to_pixels=self.to_pixels,
            embed_images=partial(image_features, self.network.visual),
            kept=self.embeddings.of(self.tower) if self.embeddings else None,
            tokenize=self.tokenize,
            embed_texts=partial(text_features, self.network),
            product=scaled,
        )


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> CLIPScore:
    """Load `clip:<model>:<form>` or `mini:clip`.

    Args:
        name: as typed.
        weights: None (hub, or the package for the miniature), a file or folder with an open_clip state dict,
            a hub id.
        architecture: open_clip's model configuration with `quick_gelu`, dict or JSON file; default:
            architecture.json beside the weights, else the model's.
        device: torch device.
        dtype: of the network; the final product is float32 in any case.

    Raises: MissingWeightsError, UsageError.
    """
    model, form_name = _split(name)
    form = FORMS[form_name]
    if model is None and weights is None:
        weights = miniature_folder("clip")
    path = find_weights(weights, default=model.hub if model else None, candidates=WEIGHT_FILES, scorer=name)
    folder = path.parent if weights is not None else None
    config = read_architecture(architecture, folder, model.architecture if model else {})
    network = load_clip(config, path, name)
    place(network, device, dtype)
    tokenizer = open_tokenizer(config, folder, name)
    info = _info(name, config, tokenizer, path, dtype)
    tower = tower_fingerprint(info.identity, info.identity["weights"], config)
    return CLIPScore(network, tokenizer, info, form, config["vision_cfg"]["image_size"], tower)


def _info(
    name: str, config: dict[str, Any], tokenizer: SimpleTokenizer, path: Path, dtype: str
) -> ScorerInfo:
    model, form_name = _split(name)
    form = FORMS[form_name]
    size = config["vision_cfg"]["image_size"]
    resize = {
        "crop": f"pillow bicubic antialiased, short side {size}, centre crop (round)",
        "letterbox": f"torch bicubic of the float tensor, antialias True, long side {size}, black pad to "
        "square",
    }
    identity = {
        "scorer": "clip",
        "weights": sha256_of_file(path),
        "backbone": {"library": "open_clip", "architecture": config},
        "decode": DECODE_RULE,
        "resize": resize[form.resize],
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "dtype": dtype,
        "tokenizer": {**tokenizer_identity(tokenizer), "template": form.prefix + "{}"},
        "formula": f"{form.scale} * {'max(cosine, 0)' if form.clamp else 'cosine'}, float32",
        "versions": library_versions(),
    }
    return ScorerInfo(
        name=name,
        variant=form_name,
        licence=model.licence if model else MINIATURE_LICENCE,
        scale=form.unit if model else "raw cosine",
        trained_on=model.trained_on if model else "miniature world (captions, no preferences)",
        identity=identity,
        token_limit=config["text_cfg"]["context_length"],
    )


def _split(name: str) -> tuple[Model | None, str]:
    """Model (None for the miniature) and name of the form."""
    if name.startswith("mini:"):
        return None, MINIATURE_FORM
    _, model, form = (*name.split(":"), "", "")[:3]
    if model not in MODELS:
        raise unknown_name("CLIP model", model, list(MODELS))
    if form not in FORMS:
        raise unknown_name("form of the CLIP score", form, list(FORMS))
    return MODELS[model], form
