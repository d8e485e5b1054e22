"""Scoring lists in batches: images are decoded by several threads, beside a GPU while it works on the batch before."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor, nn

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.scorers.image_io import image_name, open_rgb
from prefbench.scorers.protocol import ImageSource

__all__ = ["check_pairs", "score_in_batches"]

MOST_THREADS = 8
"""Images decoded at once, at most: enough for a GPU, and each holds a whole picture in memory."""


def check_pairs(images: Sequence[ImageSource], prompts: Sequence[str], scorer: str) -> None:
    """Refuse lists that cannot be scored pair by pair.

    Raises: DataError for an empty list, unequal lengths, or a prompt that is not text; UsageError for a bare
    string.
    """
    if isinstance(images, str) or isinstance(prompts, str):
        raise UsageError(
            f"Scorer {scorer}: images and prompts are lists; wrap a single one as [image], [prompt]."
        )
    if len(images) != len(prompts):
        raise DataError(
            f"Scorer {scorer}: {len(images)} images and {len(prompts)} prompts. Give one prompt for each "
            "image."
        )
    if not images:
        raise DataError(f"Scorer {scorer}: no images to score.")
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise DataError(f"Scorer {scorer}: prompt {index} is {type(prompt).__name__}, not text.")


def score_in_batches(
    images: Sequence[ImageSource],
    prompts: Sequence[str],
    *,
    scorer: str,
    network: nn.Module,
    batch_size: int,
    prepare: Callable[[Sequence[ImageSource], Sequence[str]], tuple[Tensor, ...]],
    forward: Callable[..., Tensor],
) -> NDArray[np.float64]:
    """Scores of N pairs, in order.

    Args:
        images: N of them.
        prompts: N texts.
        scorer: name for messages.
        network: put into eval mode; its first parameter gives device and dtype of the pixels.
        batch_size: pairs at once.
        prepare: batch of images and prompts -> (pixels float32 (B, 3, H, W), tokens ...), on the CPU.
        forward: (network, pixels, tokens ...) -> (B,), float32 or wider.

    Returns: float64 (N,).

    Raises: DataError as `check_pairs`, or naming the first image whose score is not finite.
    """
    check_pairs(images, prompts, scorer)
    if batch_size < 1:
        raise UsageError(f"Scorer {scorer}: batch_size is {batch_size}; it must be at least 1.")
    network.eval()
    parameter = next(network.parameters())
    starts = range(0, len(images), batch_size)
    scores = np.empty(len(images), dtype=np.float64)
    # Decoding is most of the work beside the network, and Pillow does it without the interpreter lock. Beside a GPU the
    # next batch is decoded while the network works; on a CPU the network has all the cores, and a thread that takes one
    # of them makes its threads wait for one another, so decoding comes between the batches, on all the cores.
    ahead = parameter.device.type != "cpu"
    with (
        ThreadPoolExecutor(max_workers=min(MOST_THREADS, os.cpu_count() or 1)) as pool,
        torch.inference_mode(),
    ):
        upcoming = _decode(pool, images[:batch_size])
        for start in starts:
            decoded = [future.result() for future in upcoming]
            stop = start + batch_size
            if ahead:
                upcoming = _decode(pool, images[stop : stop + batch_size])
            pixels, *tokens = prepare(decoded, prompts[start:stop])
            batch = forward(
                network,
                pixels.to(device=parameter.device, dtype=parameter.dtype),
                *(part.to(parameter.device) for part in tokens),
            )
            scores[start:stop] = batch.double().cpu().numpy()
            if not ahead:
                upcoming = _decode(pool, images[stop : stop + batch_size])
    broken = np.flatnonzero(~np.isfinite(scores))
    if broken.size:
        index = int(broken[0])
        raise DataError(
            f"Scorer {scorer} gave {scores[index]} for {image_name(images[index], index)} (item {index} of "
            f"{len(images)}, "
            f"{broken.size} not finite in all), prompt {prompts[index][:80]!r}. "
            "A score must be finite: check the weights, or use dtype float32."
        )
    return scores


def _decode(pool: ThreadPoolExecutor, images: Sequence[ImageSource]) -> list[Future[Image]]:
    return [pool.submit(open_rgb, image) for image in images]
