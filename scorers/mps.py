"""MPS (overall): how much people of the MHP data would prefer this image for this prompt.

    allowed(i) = s_i / max(s) > threshold,   s_i = max over j of <word i of the prompt, word j of the condition>
    score      = exp(logit_scale) * cos(text embedding, image token that looked at the allowed words)

Unit: logits of a choice between images of one prompt, about 0 to 15. Higher is better. The condition is a fixed list of
22 words ("light, color, clarity, ..."); only the one for overall preference was released.

Upstream: Kwai-Kolors/MPS@ae290c2 (evaluation scripts) and @222ec56 (README), model code as cited in mps_network.py.
* The released code's: CLIP ViT-H/14 with its processor, every one of the 77 text tokens takes part (padding as well, no
  attention mask), image tokens before the last LayerNorm, four layers of cross-attention.
* Variants: the threshold. `@t0.3` (default) is that of both evaluation scripts, so of the published accuracies, and of
  the public ports that copied them. `@t0.01` is that of the model's own `forward`, which the README's example and imscore
  run.
* Ours: `max(s)` is taken in each prompt alone. The original takes it over the whole batch, so that a score depends on
  which prompts share it; its evaluation scripts score one pair at a time, where the two are the same. Prompts are
  encoded one at a time here: a word close to the threshold must not flip with the batch's rounding.
* Differences: float32, where the original runs float16 throughout, rotary angles included (in float16 those are off by up
  to 0.06); one decode path (image_io.py); weights are loaded strictly, where public ports tolerate missing keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase

from prefbench.bench.atomic import write_bytes, write_json
from prefbench.bench.exceptions import MissingWeightsError
from prefbench.bench.registry import unknown_name
from prefbench.scorers.batching import score_in_batches
from prefbench.scorers.clip_tokenizer import (
    bundled_tokenizer,
    check_tokenizer,
    has_tokenizer,
    longer_than,
    padded_ids,
    read_tokenizer,
    vocabulary_hash,
)
from prefbench.scorers.fingerprint import library_versions, sha256_of_file
from prefbench.scorers.image_io import DECODE_RULE, open_rgb
from prefbench.scorers.info import ScorerInfo
from prefbench.scorers.mps_network import MPSNetwork
from prefbench.scorers.open_clip_tower import ARCHITECTURE_FILE, half_bytes, read_architecture
from prefbench.scorers.pickscore import ARCHITECTURE as CLIP_VIT_H
from prefbench.scorers.pickscore import TOKENIZER, backbone_identity
from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD, resize_and_center_crop, to_pixels
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.weights import (
    HubFile,
    SkipRandomInit,
    WeightsArgument,
    find_weights,
    load_strict,
    place,
    read_state_dict,
)

__all__ = ["ARCHITECTURE", "CONDITION", "HUB", "MPS", "VARIANTS", "build", "forward", "load", "save_folder"]

# Not pinned: no public code quotes a revision. The authors' own file is a pickled module on a file host; this is its
# state dict, as RE-N-Y/imscore uploaded it (keys under "mps.").
HUB = HubFile("RE-N-Y/mpsv1", "main", "model.safetensors")
WEIGHT_FILES = ("model.safetensors", "MPS_overall_state_dict.pt", "MPS_overall_checkpoint.pth")
# Buffers that transformers 4 saved and 5 does not have.
IGNORED_KEYS = ("*.position_ids",)
HUB_PREFIX = "mps."

# trainer/models/clip_model.py: Cross_model(dim=1024, layer_num=4, heads=16); the others are that class's defaults [CODE].
ARCHITECTURE: dict[str, Any] = {
    "clip": CLIP_VIT_H,
    "cross": {"layers": 4, "heads": 16, "head_dim": 64, "ff_mult": 4},
}

# README and both evaluation scripts [CODE].
CONDITION = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, "
    "texture, quantity, attributes, position, number, location, word, things."
)
VARIANTS = {"t0.3": 0.3, "t0.01": 0.01}
"""Name -> threshold of the mask."""
DEFAULT_VARIANT = "t0.3"

LICENCE = "none stated for the weights (code MIT)"
TRAINED_ON = "MHP (human choices, overall preference)"
SCALE = "logit-scaled cosine, about 0-15"
FORMULA = (
    "exp(logit_scale) * cosine, float32; words allowed where similarity to the condition / its maximum in this "
    "prompt > threshold"
)

build = MPSNetwork


def encode_text(network: MPSNetwork, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Projected embeddings of every token, (B, L, D), and of the end token, (B, D)."""
    output = network.model.text_model(input_ids=tokens)
    projection = network.model.text_projection
    return projection(output.last_hidden_state), projection(output.pooler_output)


def allowed_words(words: Tensor, condition: Tensor, threshold: float) -> Tensor:
    """Which words of one prompt the image may look at.

    Args:
        words: (L, D), embeddings of the prompt's tokens.
        condition: (C, D), those of the condition's.
        threshold: of the similarity relative to the prompt's largest.

    Returns: bool (L,).
    """
    similarity = (words.float() @ condition.float().T).amax(dim=-1)
    return similarity / similarity.max() > threshold


def forward(
    network: MPSNetwork, pixels: Tensor, tokens: Tensor, *, condition: Tensor, threshold: float
) -> Tensor:
    """Scores of B pairs, differentiable.

    Args:
        network: CLIP and the cross model.
        pixels: (B, 3, S, S), normalised.
        tokens: (B, L) token ids, padded with the end token.
        condition: (C,) token ids of the condition.
        threshold: of the mask.

    Returns: float32 (B,).
    """
    topics = encode_text(network, condition[None])[0][0]
    distinct, place_of = tokens.unique(dim=0, return_inverse=True)
    encoded = [encode_text(network, row[None]) for row in distinct]
    allowed = torch.stack([allowed_words(words[0], topics, threshold) for words, _ in encoded])[place_of]
    words, text = (torch.cat(part)[place_of] for part in zip(*encoded, strict=True))
    patches = network.model.vision_model(pixel_values=pixels).last_hidden_state
    image = network.cross_model(network.model.visual_projection(patches), words, allowed)[:, 0]
    cosine = (normalize(image.float(), dim=-1) * normalize(text.float(), dim=-1)).sum(dim=-1)
    return network.model.logit_scale.float().exp() * cosine


@dataclass
class MPS:
    """A loaded MPS with its threshold."""

    network: MPSNetwork
    tokenizer: PreTrainedTokenizerBase
    info: ScorerInfo
    image_size: int
    token_limit: int
    threshold: float
    batch_size: int = 16

    def open_image(self, image: ImageSource) -> Image:
        """Decoded, resized and cut to S x S."""
        return resize_and_center_crop(open_rgb(image), self.image_size, crop="floor")

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """B texts -> int64 (B, L): padded to L, cut at L with the end token kept last."""
        return padded_ids(self.tokenizer, prompts, self.token_limit)

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts have more tokens than the text tower reads, shape (N,)."""
        return longer_than(self.tokenizer, prompts, self.token_limit)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`."""
        device = next(self.network.parameters()).device
        condition = self.tokenize([CONDITION])[0].to(device)
        return score_in_batches(
            images,
            prompts,
            scorer=self.info.name,
            network=self.network,
            batch_size=self.batch_size,
            open_image=self.open_image,
            to_pixels=to_pixels,
            tokenize=self.tokenize,
            forward=partial(forward, condition=condition, threshold=self.threshold),
        )


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> MPS:
    """Load `mps`, with an optional `@variant`.

    Args:
        name: as typed.
        weights: None (hub), a file with the state dict (.safetensors or .pt), a folder, or a hub id.
        architecture: as `ARCHITECTURE`, dict or JSON file; default: architecture.json beside the weights, else the
            published sizes.
        device: torch device.
        dtype: of the network; the mask, the final product and rotary angles are float32 in any case.

    Raises: MissingWeightsError, UsageError.
    """
    base, _, variant = name.partition("@")
    variant = variant or DEFAULT_VARIANT
    if variant not in VARIANTS:
        raise unknown_name(f"variant of {base}", variant, list(VARIANTS))
    path = find_weights(weights, default=HUB, candidates=WEIGHT_FILES, scorer=name)
    folder = path.parent if weights is not None else None
    state = _read(path, name)  # before a large network is built for nothing
    config = read_architecture(architecture, folder, ARCHITECTURE)
    with SkipRandomInit():
        network = build(config)
    load_strict(network, state, scorer=name, source=path, ignore=IGNORED_KEYS)
    place(network, device, dtype)
    tokenizer = read_tokenizer(folder) if folder and has_tokenizer(folder) else bundled_tokenizer()
    check_tokenizer(network.model.text_model.config, tokenizer, name, path)
    info = _info(name, variant, network, config, tokenizer, path, dtype)
    return MPS(
        network,
        tokenizer,
        info,
        image_size=int(network.model.vision_model.config.image_size),
        token_limit=info.token_limit or 0,
        threshold=VARIANTS[variant],
    )


def _read(path: Path, name: str) -> dict[str, Tensor]:
    try:
        state = read_state_dict(path, name)
    except MissingWeightsError as error:
        if not isinstance(error.__cause__, UnpicklingError):
            raise
        raise MissingWeightsError(
            f"{error} The authors' MPS_overall_checkpoint.pth is such a pickle of a whole module; its state dict is on "
            f"the hub as {HUB.repo}, and in MPS_overall_state_dict.pt of other copies."
        ) from error
    if all(key.startswith(HUB_PREFIX) for key in state):
        state = {key.removeprefix(HUB_PREFIX): value for key, value in state.items()}
    return state


def _info(
    name: str,
    variant: str,
    network: MPSNetwork,
    config: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    dtype: str,
) -> ScorerInfo:
    size = network.model.vision_model.config.image_size
    limit = network.model.text_model.config.max_position_embeddings
    identity = {
        "scorer": "mps",
        "weights": sha256_of_file(path),
        "backbone": {**backbone_identity(network.model), "cross": config["cross"]},
        "decode": DECODE_RULE,
        "resize": f"pillow bicubic antialiased, short side {size}, centre crop (floor)",
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "dtype": dtype,
        "tokenizer": {
            "kind": TOKENIZER,
            "limit": limit,
            "vocabulary": vocabulary_hash(tokenizer),
            "padding": tokenizer.pad_token,
        },
        "condition": CONDITION,
        "threshold": VARIANTS[variant],
        "formula": FORMULA,
        "versions": library_versions(),
    }
    return ScorerInfo(
        name=name,
        variant=variant,
        licence=LICENCE,
        scale=SCALE,
        trained_on=TRAINED_ON,
        identity=identity,
        token_limit=limit,
    )


def save_folder(folder: Path, network: MPSNetwork, architecture: dict[str, Any]) -> None:
    """Write a folder that `load(weights=folder)` reads: architecture.json and model.safetensors (float16)."""
    write_json(folder / ARCHITECTURE_FILE, architecture)
    write_bytes(folder / "model.safetensors", half_bytes(network.state_dict()))
