"""Small random models of the originals' classes, for comparison with the ports."""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from prefbench.bench.atomic import write_json, write_text
from prefbench.scorers.bert_tokenizer import EXTRA_TOKENS, SPECIAL_TOKENS, VOCABULARY_FILE
from prefbench.scorers.pickscore import CONFIG_FILE, WEIGHT_FILES
from prefbench.scorers.upstream.tiny_flan_t5 import save_original

__all__ = ["SUBJECTS", "Subject"]


@dataclass(frozen=True)
class Subject:
    """An original, its port, and what they are compared on."""

    package: str
    scorer: str
    limit: float
    """Largest absolute difference of a printed score that is allowed."""
    architecture: dict[str, Any] | None
    """Sizes; None where they lie beside the weights."""
    prepare: Callable[[Path], Path]
    """Writes what lies beside the weights into a folder and returns where the weights are to be."""
    departures: Mapping[str, str]
    """Image -> what the original does with it, where the port does something else on purpose."""
    as_the_port_sees: Callable[[Image.Image], Image.Image] = field(default=lambda image: image)
    """A decoded image, as it must be handed to the original to be treated as the port treats it."""
    made_by_worker: bool = True
    """Whether the original's own classes make the weights (else `prepare` does)."""


WORDS = ("cat", "dog", "and", "a", "the", "in", "on", "rain", "red", "wall", "photo", "black", "white")
BERT_VOCABULARY = (
    *SPECIAL_TOKENS,
    *string.punctuation,
    *string.digits,
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase + string.digits),
    *WORDS,
)

HPSV2_SIZES: dict[str, Any] = {
    "embed_dim": 64,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "head_width": 16, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}
IMAGE_REWARD_SIZES: dict[str, Any] = {
    "vision": {
        "image_size": 224,
        "patch_size": 16,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    "text": {
        "vocab_size": len(BERT_VOCABULARY) + len(EXTRA_TOKENS),
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
    },
    "mlp": [1024, 128, 64, 16],
    "token_limit": 35,
}

PICKSCORE_SIZES: dict[str, Any] = {
    "model_type": "clip",
    "projection_dim": 48,
    "logit_scale_init_value": 4.6052,  # ln 100: the published scores' scale
    "text_config": {
        "hidden_act": "gelu",
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
    },
    "vision_config": {
        "hidden_act": "gelu",
        "hidden_size": 64,
        "image_size": 224,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "patch_size": 14,
    },
}

NOT_TURNED = "the original shows it lying; the port applies the EXIF orientation"
CLIPPED = "the original cuts values above 255 to white; the port divides by 257"


def _pad_to_square(image: Image.Image) -> Image.Image:
    """What HPSv2's preprocessing leaves undone where the long side is 224 already: black borders, the odd pixel last."""
    side = max(image.size)
    if side != HPSV2_SIZES["vision_cfg"]["image_size"]:
        return image
    square = Image.new("RGB", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _resize_short_side(image: Image.Image) -> Image.Image:
    """What the port's resize makes of an image whose rows PickScore's processor takes for colour channels."""
    size = PICKSCORE_SIZES["vision_config"]["image_size"]
    if image.height not in (1, 3):
        return image
    return image.resize((size * image.width // image.height, size), Image.Resampling.BICUBIC)


def _prepare_pickscore(folder: Path) -> Path:
    write_json(folder / CONFIG_FILE, PICKSCORE_SIZES)
    (folder / WEIGHT_FILES[0]).touch()
    return folder


def _prepare_hpsv2(folder: Path) -> Path:
    path = folder / "HPS_v2.1_compressed.pt"
    path.touch()
    return path


def _prepare_image_reward(folder: Path) -> Path:
    write_text(folder / VOCABULARY_FILE, "\n".join(BERT_VOCABULARY) + "\n")
    path = folder / "ImageReward.pt"
    path.touch()
    return path


SUBJECTS = {
    "pickscore": Subject(
        package="pickscore",
        scorer="pickscore",
        limit=2e-3,
        architecture=None,
        prepare=_prepare_pickscore,
        departures={
            "one pixel high": "the original takes the row for one colour channel and fails; the port shows it",
            "transparent": "the original shows the colours under the transparency; the port shows it over white",
            "16-bit greyscale": CLIPPED,
            "EXIF-rotated": NOT_TURNED,
        },
        as_the_port_sees=_resize_short_side,
    ),
    "hpsv2": Subject(
        package="hpsv2",
        scorer="hpsv2.1",
        limit=2e-5,
        architecture=HPSV2_SIZES,
        prepare=_prepare_hpsv2,
        departures={
            "one side 224, 160 x 224": "the original does not pad it and fails; the port pads it to a square",
            "transparent": "the original fails on four channels; the port shows it over white",
            "16-bit greyscale": CLIPPED,
            "EXIF-rotated": NOT_TURNED,
        },
        as_the_port_sees=_pad_to_square,
    ),
    "image-reward": Subject(
        package="image-reward",
        scorer="imagereward",
        limit=5e-4,
        architecture=IMAGE_REWARD_SIZES,
        prepare=_prepare_image_reward,
        departures={
            "palette": "the original resizes the palette's indices; the port resizes colours",
            "transparent": "the original shows the colours under the transparency; the port shows it over white",
            "16-bit greyscale": CLIPPED,
            "EXIF-rotated": NOT_TURNED,
        },
    ),
    "t2v-metrics": Subject(
        package="t2v-metrics",
        scorer="vqascore.clip-flant5-xl",
        limit=1e-6,
        architecture=None,
        prepare=save_original,
        departures={
            "transparent": "the original shows the colours under the transparency; the port shows it over white",
            "16-bit greyscale": CLIPPED,
            "EXIF-rotated": NOT_TURNED,
        },
        made_by_worker=False,
    ),
}
"""Package -> what is compared."""
