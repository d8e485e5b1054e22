"""The modules of HPSv3: both halves of transformers' Qwen2-VL, and the reward head.

Upstream: MizzenAI/HPSv3@d232ff8 hpsv3/model/qwen2vl_trainer.py (`Qwen2VLRewardModelBT`), hpsv3/train.py, and the copy of
qwen-vl-utils in hpsv3/dataset/utils.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen2VLConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    Qwen2VisionTransformerPretrainedModel,
    Qwen2VLTextModel,
)

from prefbench.bench.exceptions import DataError, MissingWeightsError
from prefbench.scorers.preprocess import normalise, to_tensor

__all__ = [
    "NO_TOKEN",
    "PIXELS",
    "HPSv3Network",
    "Patches",
    "backbone_identity",
    "forward",
    "network_key",
    "target_size",
    "to_patches",
]

# The released configuration's choice (disable_flash_attn2: True). The released code would otherwise take whatever
# attention happens to be installed, and the number with it.
ATTENTION = "sdpa"

# inference.py: min_pixels = max_pixels = 256 * 28 * 28; dataset/utils.py: MAX_RATIO [CODE].
PIXELS = 256 * 28 * 28
MAX_RATIO = 200

NO_TOKEN = -1
"""Padding of the rows of tokens; it never reaches the network."""


def target_size(width: int, height: int, factor: int) -> tuple[int, int]:
    """Width and height near the pixel budget, both multiples of `factor`, the ratio kept as well as that allows.

    Raises: DataError for a strip with sides more than 200 to 1, which the original refuses too.

    >>> target_size(1024, 1024, 28)
    (448, 448)
    >>> target_size(1024, 768, 28)  # above the budget: both sides rounded down
    (504, 364)
    >>> target_size(20, 1, 28)  # below it: both rounded up
    (2016, 112)
    """
    if max(width, height) > MAX_RATIO * min(width, height):
        raise DataError(f"has sides of {width} and {height} pixels, more than {MAX_RATIO} to 1: crop it")
    near = [max(factor, round(side / factor) * factor) for side in (width, height)]
    if math.prod(near) > PIXELS:
        shrink = math.sqrt(height * width / PIXELS)
        near = [math.floor(side / shrink / factor) * factor for side in (width, height)]
    elif math.prod(near) < PIXELS:
        grow = math.sqrt(PIXELS / (height * width))
        near = [math.ceil(side * grow / factor) * factor for side in (width, height)]
    return near[0], near[1]


@dataclass(frozen=True)
class Patches:
    """Images of any sizes, cut into patches."""

    values: Tensor
    """(P, channels * frames * patch * patch), the patches of all images one after the other."""
    grids: Tensor
    """int64 (B, 3): frames, rows and columns of patches of each image."""

    def to(self, *, device: torch.device, dtype: torch.dtype) -> "Patches":
        """Moved; only the values have a dtype to change."""
        return Patches(self.values.to(device=device, dtype=dtype), self.grids.to(device))


def to_patches(images: Sequence[Image.Image], *, patch: int, merge: int, frames: int) -> Patches:
    """RGB images whose sides are multiples of patch * merge, as Qwen2-VL's image processor cuts them.

    Patches that will be merged (merge x merge) follow one another; a still picture is repeated in every frame.
    """
    values, grids = [], []
    for image in images:
        pixels = normalise(to_tensor(image))
        rows, columns = pixels.shape[1] // patch, pixels.shape[2] // patch
        cut = pixels.reshape(3, rows // merge, merge, patch, columns // merge, merge, patch)
        cut = cut.permute(1, 4, 2, 5, 0, 3, 6)[:, :, :, :, :, None]
        values.append(cut.expand(*cut.shape[:5], frames, patch, patch).reshape(rows * columns, -1))
        grids.append([1, rows, columns])
    return Patches(torch.cat(values), torch.tensor(grids))


# Only the fields that decide a score: config.json files of the same model differ in the others.
TEXT_FIELDS = (
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "vocab_size",
)
VISION_FIELDS = (
    "depth",
    "embed_dim",
    "hidden_act",
    "hidden_size",
    "mlp_ratio",
    "num_heads",
    "patch_size",
    "spatial_merge_size",
    "temporal_patch_size",
)


class HPSv3Network(nn.Module):
    """Qwen2-VL without its output layer, and the head on the reward token.

    Rotary frequencies are rounded to bfloat16 whatever the dtype: train.py casts the whole module, buffers included, for
    training and scoring alike, so these are the frequencies that the weights know. (In the image tower transformers 4.45
    rounded the angles too; current transformers multiplies in float32, and that is left so.)
    """

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        missing = {"hidden_size", "vision_config", "vocab_size"} - {
            *architecture,
            *architecture.get("text_config", {}),
        }
        if missing:
            raise MissingWeightsError(
                f"The HPSv3 architecture lacks {', '.join(sorted(missing))}. Give a Qwen2-VL config.json."
            )
        config: Any = Qwen2VLConfig(**architecture)
        config.vision_config._attn_implementation = config.text_config._attn_implementation = ATTENTION
        self.visual = Qwen2VisionTransformerPretrainedModel(config.vision_config)
        self.language_model = Qwen2VLTextModel(config.text_config)
        for name, frequencies in self.named_buffers():
            if name.endswith("inv_freq"):
                frequencies.copy_(frequencies.to(torch.bfloat16))
        # `rm_head_type: ranknet` without further settings [CODE].
        self.rm_head = nn.Sequential(
            nn.Linear(config.text_config.hidden_size, 1024),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(1024, 16),
            nn.ReLU(),
            nn.Linear(16, 2),
        )


def backbone_identity(network: HPSv3Network) -> dict[str, Any]:
    """Both halves, for a fingerprint."""
    text, vision = (part.config.to_dict() for part in (network.language_model, network.visual))
    return {
        "library": "transformers Qwen2-VL",
        "text": {field: text[field] for field in TEXT_FIELDS},
        "vision": {field: vision[field] for field in VISION_FIELDS},
        "frequencies": "rounded to bfloat16",
        "attention": ATTENTION,
    }


def network_key(key: str) -> str:
    """Name of a published tensor in `HPSv3Network`: transformers 4.45's layout, or that of 4.52 and later.

    >>> network_key("model.layers.0.mlp.up_proj.weight"), network_key("visual.merger.ln_q.weight")
    ('language_model.layers.0.mlp.up_proj.weight', 'visual.merger.ln_q.weight')
    >>> network_key("model.language_model.norm.weight"), network_key("model.visual.merger.ln_q.weight")
    ('language_model.norm.weight', 'visual.merger.ln_q.weight')
    """
    if key.startswith(("model.language_model.", "model.visual.")):
        return key.removeprefix("model.")
    return f"language_model.{key.removeprefix('model.')}" if key.startswith("model.") else key


def forward(
    network: HPSv3Network, patches: Patches, tokens: Tensor, *, before: Tensor, reward: int
) -> Tensor:
    """Scores of B pairs, differentiable.

    Args:
        network: Qwen2-VL and the head.
        patches: of B images.
        tokens: int64 (B, L), what follows the image, padded with NO_TOKEN on the right.
        before: int64 (K,), what precedes the image.
        reward: id of the reward token, once in each row of `tokens`.

    Returns: float32 (B,), mu.
    """
    seen = network.visual(patches.values, grid_thw=patches.grids)
    merged = seen if isinstance(seen, Tensor) else seen.pooler_output
    counts = patches.grids.prod(dim=-1) // network.visual.spatial_merge_size**2
    embed = network.language_model.embed_tokens
    start = embed(before.to(tokens.device))
    rows = [
        torch.cat((start, image.to(start.dtype), embed(row[row != NO_TOKEN])))
        for image, row in zip(merged.split(counts.tolist()), tokens, strict=True)
    ]
    lengths = torch.tensor([len(row) for row in rows], device=tokens.device)
    inputs = pad_sequence(rows, batch_first=True)
    places = torch.arange(inputs.shape[1], device=tokens.device)
    hidden = network.language_model(
        inputs_embeds=inputs,
        attention_mask=(places < lengths[:, None]).long(),
        # One after the other, image tokens too: the released code passes no position ids and no token ids, so that
        # transformers 4.45 counts; Qwen2-VL itself would give image tokens rows and columns.
        position_ids=places.expand(3, *inputs.shape[:2]),
        use_cache=False,
    ).last_hidden_state
    asked = len(before) + counts + (tokens == reward).long().argmax(dim=-1)
    answer: Tensor = network.rm_head(hidden[torch.arange(len(rows), device=tokens.device), asked].float())
    return answer[:, 0]
