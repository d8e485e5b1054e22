"""Scoring image files against the bare network on pixels that are ready."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prefbench.scorers import aesthetic, clip, hpsv2, imagereward, pickscore
from prefbench.scorers.open_clip_tower import save_clip_folder
from prefbench.scorers.registry import load_scorer

IMAGES, BATCH, SIDE, ROUNDS = 8, 4, 512, 25

# Networks of a realistic cost that still fit a test: ViT-B/32 for the CLIP family, BLIP with ViT-B/16 for
# ImageReward.
VIT_B_32 = {**clip.MODELS["openai-vit-b-32"].architecture, "quick_gelu": False}
CLIP_B_32: dict[str, Any] = {
    "projection_dim": 512,
    "text_config": {
        **pickscore.ARCHITECTURE["text_config"],
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "num_hidden_layers": 12,
        "projection_dim": 512,
    },
    "vision_config": {
        "hidden_act": "gelu",
        "hidden_size": 768,
        "image_size": 224,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "patch_size": 32,
        "projection_dim": 512,
    },
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "of", "##s"]
BLIP_B_16: dict[str, Any] = {
    **imagereward.ARCHITECTURE,
    "vision": {
        "image_size": 224,
        "patch_size": 16,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    "text": {**imagereward.ARCHITECTURE["text"], "vocab_size": len(WORDS) + 2},
}


def load_small(name: str, folder: Path) -> Any:
    """A scorer of ViT-B size, its random weights written to `folder`."""
    torch.manual_seed(0)
    if name == "pickscore":
        pickscore.save_folder(folder, pickscore.build(CLIP_B_32), CLIP_B_32)
    elif name == "imagereward":
        imagereward.save_folder(folder, imagereward.build(BLIP_B_16), BLIP_B_16, WORDS)
    elif name == "aesthetic.v2":
        aesthetic.save_folder(folder, aesthetic.build(VIT_B_32), VIT_B_32)
    else:
        save_clip_folder(folder, clip.build(VIT_B_32), VIT_B_32)
    return load_scorer(name, weights=folder)


FORWARDS: dict[str, Callable[..., torch.Tensor]] = {
    "pickscore": pickscore.forward,
    "imagereward": imagereward.forward,
    "hpsv2.1": hpsv2.forward,
    "clip:openai-vit-b-32:clipscore": clip.forward,
}


class BareNetwork:
    """The forward pass on pixels and tokens that were prepared before, in the scorer's batches."""

    def __init__(
        self, scorer: Any, forward: Callable[..., torch.Tensor], paths: list[Path], prompts: list[str]
    ) -> None:
        self.network, self.forward = scorer.network.eval(), forward
        size = scorer.batch_size
        self.batches = [
            (scorer.preprocess(paths[i : i + size]), scorer.tokenize(prompts[i : i + size]))
            for i in range(0, len(paths), size)
        ]
        self.seconds: list[float] = []

    def __call__(self) -> None:
        started = time.perf_counter()
        with torch.inference_mode():
            for pixels, tokens in self.batches:
                self.forward(self.network, pixels, tokens)
        self.seconds.append(time.perf_counter() - started)


@pytest.mark.parametrize("name", FORWARDS)
def test_scoring_files_against_the_bare_network(name: str, tmp_path: Path, benchmark: Any) -> None:
    """512-px PNG files, as a run stores them. Target: 0.9.

    Bare passes and scorings of a second each alternate, and every scoring is divided by the pass just before it, so that
    what else the machine does weighs on both; the median of these ratios counts.
    """
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    rng = np.random.default_rng(0)
    paths = []
    for i in range(IMAGES):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
        paths.append(tmp_path / f"{i}.png")
        coarse.save(paths[-1])
    prompts = [f"a photo of {i} cats on a red sofa, oil on canvas" for i in range(IMAGES)]
    scorer = load_small(name, tmp_path / "weights")
    scorer.batch_size = BATCH
    bare = BareNetwork(scorer, FORWARDS[name], paths, prompts)
    bare()
    scorer.score(paths, prompts)
    bare.seconds.clear()
    benchmark.pedantic(scorer.score, args=(paths, prompts), setup=bare, rounds=ROUNDS, iterations=1)
    shares = sorted(
        bare_s / ours_s for bare_s, ours_s in zip(bare.seconds, benchmark.stats.stats.data, strict=True)
    )
    benchmark.extra_info.update(
        what="scoring files: share of the bare network's rate",
        case=f"{name}, {IMAGES} files of {SIDE} px, ViT-B size",
        bare_s=bare.seconds,
        quartiles=[shares[len(shares) // 4], shares[-len(shares) // 4]],
        value=f"{median(shares):.3f}",
        target="at least 0.9",
    )
