"""The modules and sizes of ImageReward, on transformers' own BLIP."""

import json
from pathlib import Path
from typing import Any

from torch import nn
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from prefbench.bench.exceptions import MissingWeightsError

__all__ = ["ARCHITECTURE", "TOKEN_LIMIT", "ImageRewardNetwork", "with_med_config"]

MED_CONFIG_FILE = "med_config.json"
# ImageReward.py `score`: max_length=35 [CODE].
TOKEN_LIMIT = 35

# models/BLIP/blip.py `create_vit("large")` and med_config.json of the weights' repository [CODE].
ARCHITECTURE: dict[str, Any] = {
    "vision": {
        "image_size": 224,
        "patch_size": 16,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
    "text": {
        "vocab_size": 30524,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
    },
    "mlp": [1024, 128, 64, 16],
    "token_limit": TOKEN_LIMIT,
}
# models/BLIP/vit.py: partial(nn.LayerNorm, eps=1e-6); med_config.json: layer_norm_eps 1e-12 [CODE].
VISION_EPS = 1e-6
TEXT_EPS = 1e-12


class ImageRewardNetwork(nn.Module):
    """BLIP vision tower, BERT with cross-attention, and the reward head."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        vision, text = architecture["vision"], architecture["text"]
        # transformers' own initializer_range for this tower is 1e-10, which cannot be trained from.
        self.vision = BlipVisionModel(
            BlipVisionConfig(layer_norm_eps=VISION_EPS, initializer_range=0.02, **vision)
        )
        # is_decoder=True only makes transformers build the cross-attention; `forward` asks for a
        # bidirectional mask.
        self.text = BlipTextModel(
            BlipTextConfig(
                encoder_hidden_size=vision["hidden_size"],
                layer_norm_eps=TEXT_EPS,
                is_decoder=True,
                # Not read by an encoder; transformers' defaults lie outside a small vocabulary.
                bos_token_id=None,
                eos_token_id=None,
                sep_token_id=None,
                **text,
            ),
            add_pooling_layer=False,
        )
        first, second, third, fourth = architecture["mlp"]
        # The places of the dropouts matter: the weights' keys count them.
        self.mlp = nn.Sequential(
            nn.Linear(text["hidden_size"], first),
            nn.Dropout(0.2),
            nn.Linear(first, second),
            nn.Dropout(0.2),
            nn.Linear(second, third),
            nn.Dropout(0.1),
            nn.Linear(third, fourth),
            nn.Linear(fourth, 1),
        )


# med_config.json's words that BlipTextConfig shares.
MED_KEYS = tuple(ARCHITECTURE["text"])


def with_med_config(folder: Path | None) -> dict[str, Any]:
    """The published sizes, with the text encoder's from med_config.json where the weights' folder has one.

    Raises: MissingWeightsError if that file cannot be read or lacks a size.
    """
    if folder is None or not (folder / MED_CONFIG_FILE).is_file():
        return ARCHITECTURE
    try:
        med = json.loads((folder / MED_CONFIG_FILE).read_text(encoding="utf-8"))
        return {**ARCHITECTURE, "text": {key: med[key] for key in MED_KEYS}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissingWeightsError(
            f"{folder / MED_CONFIG_FILE} cannot be used ({error!r}). Restore the published file."
        ) from error
