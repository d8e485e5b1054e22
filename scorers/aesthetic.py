"""LAION aesthetic predictors v1 and v2: how good-looking an image is, whatever the prompt says.

    score = weight . e / |e| + bias,  e = image embedding of OpenAI's CLIP

Prompt-blind. v1 is one linear layer (nominal 1 to 10, its own scale: about 3 to 7 on photographs); v2 is five
linear layers without activations, hence one affine map, folded here in float64 (nominal 1 to 10, mostly 4.5
to 6.5). Higher is better.

Upstream: LAION-AI/aesthetic-predictor@6d122ad (v1), christophschuhmann/improved-aesthetic-predictor@6934dd8
(v2).
* v1 has a head for each of three towers: `@vit-l-14` (default), `@vit-b-32`, `@vit-b-16`. v2 has ViT-L/14
  only.
* The embedding is L2-normalised first; v1 scores of 20 to 30 seen in the wild come from forgetting it.
* Differences: float32 on every device where the script runs float16 on CUDA; one decode path (image_io.py);
  the folded head differs from the layer-by-layer one by rounding only.
* Numbers of the DDPO paper come from a JAX CLIP whose embeddings agree with this tower's to cosine 0.8 only:
  not comparable.

`weights` is a folder with the head under its published name (or head.safetensors: `weight` (1, d), `bias`
(1,)) and the tower as an open_clip file; or the head's file alone, with the tower fetched from the hub.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from safetensors.torch import save
from torch import Tensor, nn

from prefbench.bench.atomic import write_bytes, write_json
from prefbench.bench.exceptions import MissingWeightsError
from prefbench.bench.registry import unknown_name
from prefbench.scorers.aesthetic_head import affine_head, fold_head
from prefbench.scorers.clip import MODELS
from prefbench.scorers.dual_encoder import EmbeddingStore, score_embeddings
from prefbench.scorers.fingerprint import library_versions, sha256_of_file
from prefbench.scorers.image_io import DECODE_RULE, open_rgb
from prefbench.scorers.info import MINIATURE_LICENCE, ScorerInfo
from prefbench.scorers.open_clip_tower import (
    ARCHITECTURE_FILE,
    WEIGHT_FILES,
    build_visual,
    half_bytes,
    image_features,
    read_architecture,
    tower_fingerprint,
)
from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD, resize_and_center_crop, to_pixels
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.weights import (
    SkipRandomInit,
    WeightsArgument,
    beside,
    download,
    load_strict,
    miniature_folder,
    place,
    read_state_dict,
)

__all__ = [
    "HEADS",
    "Aesthetic",
    "AestheticNetwork",
    "affine_head",
    "build",
    "fold_head",
    "forward",
    "load",
    "save_folder",
]

# Published head files; (name, variant) -> (file, tower in clip.MODELS).
HEADS = {
    ("aesthetic.v1", "vit-l-14"): ("sa_0_4_vit_l_14_linear.pth", "openai-vit-l-14"),
    ("aesthetic.v1", "vit-b-32"): ("sa_0_4_vit_b_32_linear.pth", "openai-vit-b-32"),
    ("aesthetic.v1", "vit-b-16"): ("sa_0_4_vit_b_16_linear.pth", "openai-vit-b-16"),
    ("aesthetic.v2", "vit-l-14"): ("sac+logos+ava1-l14-linearMSE.pth", "openai-vit-l-14"),
}
HEAD_PAGES = {
    "aesthetic.v1": "github.com/LAION-AI/aesthetic-predictor",
    "aesthetic.v2": "github.com/christophschuhmann/improved-aesthetic-predictor",
}
OWN_HEAD = "head.safetensors"


LICENCES = {"aesthetic.v1": "MIT", "aesthetic.v2": "Apache-2.0"}
TRAINED_ON = {
    "aesthetic.v1": "Simulacra Aesthetic Captions (ratings)",
    "aesthetic.v2": "SAC, LAION-Logos and AVA (ratings)",
}
SCALES = {
    "aesthetic.v1": "rating, nominal 1-10, about 3-7",
    "aesthetic.v2": "rating, nominal 1-10, about 4.5-6.5",
}
FORMULA = "affine(embedding / |embedding|), float32"


class AestheticNetwork(nn.Module):
    """A CLIP image tower and one affine map."""

    def __init__(self, visual: nn.Module, width: int) -> None:
        super().__init__()
        self.visual = visual
        self.weight = nn.Parameter(torch.zeros(1, width))
        self.bias = nn.Parameter(torch.zeros(1))


def build(architecture: dict[str, Any]) -> AestheticNetwork:
    """A tower with random weights from torch's current seed, and a head of zeros.

    Args:
        architecture: open_clip's model configuration with `quick_gelu`; its text part is not built into the
            result.
    """
    return AestheticNetwork(build_visual(architecture), architecture["embed_dim"])


def forward(network: AestheticNetwork, pixels: Tensor) -> Tensor:
    """Scores of B images, differentiable.

    Args:
        network: tower and head.
        pixels: (B, 3, S, S), normalised.

    Returns: float32 (B,).
    """
    return affine_head(image_features(network.visual, pixels), network.weight.float(), network.bias.float())


@dataclass
class Aesthetic:
    """A loaded aesthetic predictor."""

    network: AestheticNetwork
    info: ScorerInfo
    image_size: int
    tower: str
    batch_size: int = 16
    embeddings: EmbeddingStore | None = None

    def open_image(self, image: ImageSource) -> Image:
        """Decoded, resized and cut to S x S."""
        return resize_and_center_crop(open_rgb(image), self.image_size, crop="round")

    def preprocess(self, images: Sequence[ImageSource]) -> Tensor:
        """B images -> normalised float32 (B, 3, S, S)."""
        return to_pixels([self.open_image(image) for image in images])

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """All False, shape (N,): no prompt is read."""
        return np.zeros(len(prompts), dtype=bool)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`; the prompts are not read."""
        weight, bias = self.network.weight.float().cpu(), self.network.bias.float().cpu()
        return score_embeddings(
            images,
            prompts,
            scorer=self.info.name,
            network=self.network.visual,
            batch_size=self.batch_size,
            open_image=self.open_image,
            to_pixels=to_pixels,
            embed_images=partial(image_features, self.network.visual),
            kept=self.embeddings.of(self.tower) if self.embeddings else None,
            product=lambda image: affine_head(image, weight, bias),
        )


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> Aesthetic:
    """Load `aesthetic.v1[@vit-l-14|@vit-b-32|@vit-b-16]`, `aesthetic.v2` or `mini:aesthetic`.

    Args:
        name: as typed.
        weights: see the module's docstring; None for the miniature means the package's own.
        architecture: open_clip's model configuration of the tower, dict or JSON file; default:
            architecture.json in the folder, else the published tower.
        device: torch device.
        dtype: of the tower; the head is float32 in any case.

    Raises: MissingWeightsError, UsageError.
    """
    base, _, variant = name.partition("@")
    miniature = base.startswith("mini:")
    known = [tower for version, tower in HEADS if version == base]
    if variant and variant not in known:
        raise unknown_name(f"variant of {base}", variant, known)
    variant = variant or ("" if miniature else "vit-l-14")
    if miniature and weights is None:
        weights = miniature_folder("aesthetic")
    head_path, tower_path = _locate(name, base, variant, weights)
    folder = tower_path.parent if weights is not None else None
    tower = MODELS[HEADS[base, variant][1]] if not miniature else None
    config = read_architecture(architecture, folder, tower.architecture if tower else {})
    network = _read_network(config, tower_path, head_path, name)
    place(network, device, "float32")
    place(network.visual, device, dtype)
    info = _info(name, base, variant, config, (head_path, tower_path), dtype)
    tower_hash = tower_fingerprint(info.identity, info.identity["weights"]["tower"], config)
    return Aesthetic(network, info, config["vision_cfg"]["image_size"], tower_hash)


def _info(
    name: str, base: str, variant: str, config: dict[str, Any], paths: tuple[Path, Path], dtype: str
) -> ScorerInfo:
    head_path, tower_path = paths
    size = config["vision_cfg"]["image_size"]
    identity = {
        "scorer": "aesthetic",
        "weights": {"head": sha256_of_file(head_path), "tower": sha256_of_file(tower_path)},
        "backbone": {"library": "open_clip, image tower", "architecture": config},
        "decode": DECODE_RULE,
        "resize": f"pillow bicubic antialiased, short side {size}, centre crop (round)",
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "dtype": dtype,
        "tokenizer": None,
        "formula": FORMULA,
        "versions": library_versions(),
    }
    return ScorerInfo(
        name=name,
        variant=variant or None,
        licence=LICENCES.get(base, MINIATURE_LICENCE),
        scale=SCALES.get(base, "rating"),
        trained_on=TRAINED_ON.get(base, "miniature world (synthetic ratings)"),
        identity=identity,
        token_limit=None,
        prompt_blind=True,
    )


def _locate(name: str, base: str, variant: str, weights: WeightsArgument) -> tuple[Path, Path]:
    """Files of head and tower."""
    published = HEADS.get((base, variant))
    heads = (*((published[0],) if published else ()), OWN_HEAD)
    if weights is None:
        raise MissingWeightsError(
            f"Scorer {name}: its head {heads[0]} is not on the model hub. Fetch it from {HEAD_PAGES[base]} "
            "and give its path "
            f"(--weights {name}=PATH): the file alone, whose CLIP tower then comes from the model hub, or a folder that "
            f"also has the tower as one of {', '.join(WEIGHT_FILES)}."
        )
    path = Path(weights)
    if path.is_dir():
        return (
            beside(path, heads, scorer=name, what="head"),
            beside(path, WEIGHT_FILES, scorer=name, what="CLIP tower"),
        )
    if not path.is_file():
        raise MissingWeightsError(f"Scorer {name}: weights path {path} does not exist.")
    tower = MODELS[published[1]].hub if published else None
    if tower is None:
        raise MissingWeightsError(
            f"Scorer {name}: give a folder with {OWN_HEAD} and {WEIGHT_FILES[0]}, not a file."
        )
    try:
        return path, download(tower, name)
    except MissingWeightsError as error:
        raise MissingWeightsError(
            f"Scorer {name}: {path} holds the head alone, and its CLIP tower {tower} could not be fetched from the model "
            f"hub. Put both into one folder ({path.name} and one of {', '.join(WEIGHT_FILES)}) and give that: "
            f"--weights {name}=FOLDER."
        ) from error


def _read_network(config: dict[str, Any], tower_path: Path, head_path: Path, name: str) -> AestheticNetwork:
    state = read_state_dict(tower_path, name)  # before a large network is built for nothing
    with SkipRandomInit():
        network = build(config)
    # A whole CLIP or its image tower alone: the text tower has no part in the score.
    visual = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    load_strict(network.visual, visual, scorer=name, source=tower_path)
    weight, bias = fold_head(read_state_dict(head_path, name))
    load_strict(
        network, {**network.state_dict(), "weight": weight, "bias": bias}, scorer=name, source=head_path
    )
    return network


def save_folder(folder: Path, network: AestheticNetwork, architecture: dict[str, Any]) -> None:
    """Write a folder that `load(weights=folder)` reads.

    It gets architecture.json, model.safetensors (the image tower, float16) and head.safetensors (float32).

    Args:
        folder: created if needed.
        network: as `build(architecture)` made it.
        architecture: written as given.
    """
    visual = {f"visual.{key}": value for key, value in network.visual.state_dict().items()}
    head = {"weight": network.weight.detach().float().cpu(), "bias": network.bias.detach().float().cpu()}
    write_json(folder / ARCHITECTURE_FILE, architecture)
    write_bytes(folder / WEIGHT_FILES[0], half_bytes(visual))
    write_bytes(folder / OWN_HEAD, save({key: value.contiguous() for key, value in head.items()}))
