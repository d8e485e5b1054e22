"""Tiny scorers with random weights: the real classes, tokenizers and folder layouts, milliseconds instead of
minutes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prefbench.scorers import aesthetic, clip, hpsv2, imagereward, pickscore

try:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
except ImportError:  # transformers 4, whose plain processor is the one on Pillow
    from transformers import CLIPImageProcessor as CLIPImageProcessorPil

__all__ = ["CLIPImageProcessorPil"]

SIDE = 32
MERGES = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>")]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "cat",
    "dog",
    ",",
    *LETTERS,
    *(f"##{c}" for c in LETTERS),
]

TOWER: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": False,
    "vision_cfg": {"image_size": SIDE, "patch_size": 8, "width": 32, "head_width": 8, "layers": 2},
    "text_cfg": {
        "context_length": 12,
        "vocab_size": 512 + len(MERGES) + 2,
        "width": 24,
        "heads": 4,
        "layers": 2,
    },
}
PICKSCORE: dict[str, Any] = {
    "projection_dim": 16,
    "text_config": {
        **pickscore.ARCHITECTURE["text_config"],
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "projection_dim": 16,
    },
    "vision_config": {
        "hidden_act": "gelu",
        "hidden_size": 32,
        "image_size": SIDE,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "patch_size": 8,
        "projection_dim": 16,
    },
}
IMAGEREWARD: dict[str, Any] = {
    "vision": {
        "image_size": SIDE,
        "patch_size": 8,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    "text": {
        "vocab_size": len(VOCABULARY) + 2,
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 40,
    },
    "mlp": [16, 12, 8, 4],
    "token_limit": 35,
}
NAMES = ("mini:pickscore", "mini:hpsv2", "mini:imagereward", "mini:clip", "mini:aesthetic")


def _loud(network: torch.nn.Module) -> torch.nn.Module:
    """Random weights large enough that every input matters: an initialised transformer hardly reacts to its
    input."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    return network


def write_pickscore(folder: Path) -> None:
    pickscore.save_folder(folder, _loud(pickscore.build(PICKSCORE)), PICKSCORE)


def write_hpsv2(folder: Path) -> None:
    hpsv2.save_folder(folder, _loud(hpsv2.build(TOWER)), TOWER, MERGES)


def write_clip(folder: Path) -> None:
    clip.save_folder(folder, _loud(clip.build(TOWER)), TOWER, MERGES)


def write_imagereward(folder: Path) -> None:
    imagereward.save_folder(folder, _loud(imagereward.build(IMAGEREWARD)), IMAGEREWARD, VOCABULARY)


def write_aesthetic(folder: Path) -> None:
    network = _loud(aesthetic.build(TOWER))
    torch.nn.init.normal_(network.weight)
    aesthetic.save_folder(folder, network, TOWER)


WRITERS: dict[str, Callable[[Path], None]] = {
    "mini:pickscore": write_pickscore,
    "mini:hpsv2": write_hpsv2,
    "mini:imagereward": write_imagereward,
    "mini:clip": write_clip,
    "mini:aesthetic": write_aesthetic,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """A second thread gains nothing on networks this small, and costs seconds where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scorer name -> folder with tiny random weights. Not to be written to."""
    root = tmp_path_factory.mktemp("tiny_scorers")
    found = {}
    for seed, (name, write) in enumerate(WRITERS.items()):
        torch.manual_seed(seed)
        found[name] = root / name.removeprefix("mini:")
        write(found[name])
    return found


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Noise of a coarse and a fine grain, so that resizing and cropping both matter."""
    rng = np.random.default_rng([seed, height, width])
    coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)).resize((width, height))
    fine = rng.integers(-40, 41, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse).astype(int) + fine, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    return [
        picture(h, w, i)
        for i, (h, w) in enumerate([(40, 60), (32, 32), (90, 31), (1, 20), (33, 47), (64, 64)])
    ]


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    return ["a red cat", "dog, dog", "x " * 90, "", "a caf\u00e9 \U0001f389 &amp; <b>", "a red cat"]
