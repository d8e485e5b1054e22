"""Ports against the original packages: published sizes, one file of random weights, the same threads, one run.

Slow and large: the original's ViT-H takes 8 GB beside the port's 4, and its weights 4 GB of disk.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prefbench.bench.atomic import write_text
from prefbench.scorers import imagereward
from prefbench.scorers.bert_tokenizer import EXTRA_TOKENS, VOCABULARY_FILE
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream.originals import open_original
from prefbench.scorers.upstream.parity_models import BERT_VOCABULARY
from prefbench.scorers.upstream.scorer import start_worker

pytestmark = [pytest.mark.slow, pytest.mark.upstream]

IMAGES, ROUNDS = 4, 3
PROMPT = "a photo of two cats on a red sofa, oil on canvas"


def _write_images(folder: Path) -> list[Path]:
    paths = [folder / f"{k}.png" for k in range(IMAGES)]
    for k, path in enumerate(paths):
        noise = np.random.default_rng(k).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((512, 512), Image.Resampling.BICUBIC).save(path)
    return paths


def _original_and_port(name: str, folder: Path) -> tuple[Any, Any]:
    """A worker of the original and the port, on one file that the original's own classes made."""
    weights = folder / {"hpsv2.1": "HPS_v2.1_compressed.pt", "imagereward": "ImageReward.pt"}[name]
    weights.touch()
    if name == "imagereward":  # as many tokens as bert-base-uncased has: the embedding table is its size
        missing = imagereward.ARCHITECTURE["text"]["vocab_size"] - len(EXTRA_TOKENS) - len(BERT_VOCABULARY)
        words = [*BERT_VOCABULARY, *(f"unused{k}" for k in range(missing))]
        write_text(folder / VOCABULARY_FILE, "\n".join(words) + "\n")
    (folder / "wanted").mkdir()
    original = open_original(f"{name}@upstream", weights, None, "cpu", folder / "wanted")
    with start_worker(original, "cpu", make=True, seed=0) as maker:
        maker.start()
    worker = start_worker(original, "cpu")
    worker.start()
    return worker, load_scorer(name, weights=weights)


def _in_one_list(worker: Any, paths: list[str]) -> None:
    worker.score(paths, [PROMPT] * len(paths))


def _image_by_image(worker: Any, paths: list[str]) -> None:
    for path in paths:
        worker.score([path], [PROMPT])


@pytest.mark.parametrize(
    ("name", "way", "target"),
    [
        ("hpsv2.1", _image_by_image, 1.25),
        ("hpsv2.1", _in_one_list, 1.1),
        ("imagereward", _in_one_list, 1.1),
    ],
)
def test_port_against_the_original_package(
    name: str, way: Callable[[Any, list[str]], None], target: float, tmp_path: Path, benchmark: Any
) -> None:
    """Rounds of the original and the port alternate. image-reward has no batches: its list is a loop.

    The bare pass beside them is the port's network on pixels and tokens that are ready: what no scorer can beat.
    """
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    paths = _write_images(tmp_path)
    worker, port = _original_and_port(name, tmp_path)
    theirs: list[float] = []

    def original() -> None:
        started = time.perf_counter()
        way(worker, [str(path) for path in paths])
        theirs.append(time.perf_counter() - started)

    with worker:
        port.score(paths[:1], [PROMPT])
        benchmark.pedantic(
            port.score, args=(paths, [PROMPT] * IMAGES), setup=original, rounds=ROUNDS, iterations=1
        )
    ours = list(benchmark.stats.stats.data)
    bare_s = _bare_pass(port, paths)
    benchmark.extra_info.update(
        what="port against the original package, images/s",
        case=f"{name}, {way.__name__.strip('_').replace('_', ' ')}, {IMAGES} files, {torch.get_num_threads()} threads; "
        f"bare pass {bare_s / IMAGES:.2f} s an image",
        theirs_s=theirs,
        bare_s=bare_s,
        value=f"{median(their_s / our_s for their_s, our_s in zip(theirs, ours, strict=True)):.2f}",
        target=f"at least {target}",
    )


def _bare_pass(port: Any, paths: list[Path]) -> float:
    pixels, tokens = port.preprocess(paths), port.tokenize([PROMPT] * IMAGES)
    forward = imagereward.forward if port.info.name == "imagereward" else _hps_forward
    started = time.perf_counter()
    with torch.inference_mode():
        forward(port.network, pixels, tokens)
    return time.perf_counter() - started


def _hps_forward(network: Any, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    from prefbench.scorers import hpsv2

    return hpsv2.forward(network, pixels, tokens)
