"""Scoring lists in batches: images are made ready by several threads, beside a GPU while it works on the batch before."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor, nn

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.scorers.image_io import image_name
from prefbench.scorers.protocol import ImageSource

__all__ = ["Movable", "check_pairs", "score_in_batches"]

MOST_THREADS = 8
"""Images made ready at once, at most: enough for a GPU, and each holds a whole picture in memory."""


class Movable(Protocol):
    """A tensor, or what holds tensors for one batch."""

    def to(self, *, device: torch.device, dtype: torch.dtype) -> Any:
        """The same on another device, floating-point values in another dtype."""
        ...


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
    open_image: Callable[[ImageSource], Image],
    to_pixels: Callable[[Sequence[Image]], Movable],
    tokenize: Callable[[Sequence[str]], Tensor],
    forward: Callable[..., Tensor],
) -> NDArray[np.float64]:
    """Scores of N pairs, in order, by a network that reads image and text together.

    Args:
        images: N of them.
        prompts: N texts.
        scorer: name for messages.
        network: put into eval mode; its first parameter gives device and dtype of the pixels.
        batch_size: pairs at once.
        open_image: what Pillow does: decode, resize; called by several threads. No torch in it: its threads would
            have threads of their own, which stand in the way of the network's.
        to_pixels: B opened images -> float32 (B, 3, H, W), on the CPU; or an object of its own where images differ in
            size.
        tokenize: B prompts -> tokens (B, ...), on the CPU.
        forward: (network, pixels, tokens) -> (B,), float32 or wider.

    Returns: float64 (N,).

    Raises: DataError as `check_pairs`, or naming the first image whose score is not finite.
    """
    check_pairs(images, prompts, scorer)
    parameter = next(network.parameters())

    def score_rows(pixels: Any, rows: slice) -> Tensor:
        return forward(network, pixels, tokenize(prompts[rows]).to(parameter.device))

    scores = torch.cat(
        list(
            in_batches(
                images,
                scorer=scorer,
                network=network,
                batch_size=batch_size,
                open_image=open_image,
                to_pixels=to_pixels,
                forward=score_rows,
            )
        )
    )
    return finite_scores(scores, images, prompts, scorer)


def in_batches(
    images: Sequence[ImageSource],
    *,
    scorer: str,
    network: nn.Module,
    batch_size: int,
    open_image: Callable[[ImageSource], Image],
    to_pixels: Callable[[Sequence[Image]], Movable],
    forward: Callable[[Any, slice], Tensor],
) -> Iterator[Tensor]:
    """What a network makes of N images, a batch at a time, in order, on the CPU; arguments as of `score_in_batches`.

    Args:
        images: N of them.
        scorer: name for messages.
        network: put into eval mode.
        batch_size: images at once.
        open_image: see above.
        to_pixels: see above.
        forward: (pixels on the network's device and in its dtype, rows of the batch) -> (B, ...).
    """
    if batch_size < 1:
        raise UsageError(f"Scorer {scorer}: batch_size is {batch_size}; it must be at least 1.")
    network.eval()
    parameter = next(network.parameters())
    # Decoding and resizing are most of the work beside the network, and Pillow does them without the interpreter lock.
    # Beside a GPU the next batch is made ready while the network works; on a CPU the network has all the cores, and a
    # thread that takes one of them makes its threads wait for one another, so this comes between the batches, on all.
    ahead = parameter.device.type != "cpu"
    with (
        ThreadPoolExecutor(max_workers=min(MOST_THREADS, os.cpu_count() or 1)) as pool,
        torch.inference_mode(),
    ):

        def submit(start: int) -> list[Future[Image]]:
            return [pool.submit(open_image, image) for image in images[start : start + batch_size]]

        upcoming = submit(0)
        for start in range(0, len(images), batch_size):
            opened = [future.result() for future in upcoming]
            stop = start + batch_size
            if ahead:
                upcoming = submit(stop)
            pixels = to_pixels(opened).to(device=parameter.device, dtype=parameter.dtype)
            yield forward(pixels, slice(start, stop)).cpu()
            if not ahead:
                upcoming = submit(stop)


def finite_scores(
    scores: Tensor, images: Sequence[ImageSource], prompts: Sequence[str], scorer: str
) -> NDArray[np.float64]:
    """The scores (N,) as float64. Raises DataError that names the first image whose score is not finite."""
    values: NDArray[np.float64] = scores.double().cpu().numpy()
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        index = int(broken[0])
        raise DataError(
            f"Scorer {scorer} gave {values[index]} for {image_name(images[index], index)} (item {index} of "
            f"{len(images)}, {broken.size} not finite in all), prompt {prompts[index][:80]!r}. "
            "A score must be finite: check the weights, or use dtype float32."
        )
    return values
