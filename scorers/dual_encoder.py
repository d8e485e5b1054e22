"""Scoring by two towers: each image and each distinct prompt passes through its tower once, whoever asks for it.

PickScore, HPSv2, CLIP score and the aesthetic predictors look at an image without its prompt. So the text of ten images
of one prompt is encoded once, and two scorers on the same image tower and preprocessing (`aesthetic.v2` and
`clip:openai-vit-l-14:cos`) share one pass over the images, where a command gives both the same `EmbeddingStore`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor, nn

from prefbench.bench.store.keys import pixels_sha256
from prefbench.scorers.batching import check_pairs, finite_scores, in_batches
from prefbench.scorers.fingerprint import sha256_of_json
from prefbench.scorers.protocol import ImageSource

__all__ = ["EmbeddingStore", "SharesEmbeddings", "embedding_fingerprint", "score_embeddings", "tower_of"]

ImageKey = tuple[Any, ...]


class EmbeddingStore:
    """Image embeddings of the towers that several scorers of one command have in common.

    Args:
        towers: the tower of every scorer of the command; None for a scorer that has none to share.
    """

    def __init__(self, towers: Iterable[str | None]) -> None:
        counts = Counter(tower for tower in towers if tower is not None)
        # A million embeddings are 4 GB: those that nobody will ask for again are not kept.
        self._kept: dict[str, dict[ImageKey, Tensor]] = {tower: {} for tower, n in counts.items() if n > 1}

    def of(self, tower: str) -> dict[ImageKey, Tensor] | None:
        """Image -> embedding (D,), to read and to fill; None where no second scorer has this tower."""
        return self._kept.get(tower)


@runtime_checkable
class SharesEmbeddings(Protocol):
    """A scorer whose image embeddings another scorer may use."""

    tower: str
    """sha256 of all that decides an image's embedding: equal for two scorers that may share."""
    embeddings: EmbeddingStore | None
    """Set by a command that runs several scorers on the same images."""


def tower_of(scorer: object) -> str | None:
    """The hash of a scorer's image tower, None where it has none to share."""
    return scorer.tower if isinstance(scorer, SharesEmbeddings) else None


def embedding_fingerprint(identity: Mapping[str, Any], tower: Mapping[str, Any]) -> str:
    """What decides an image's embedding, as a hash.

    Args:
        identity: of the scorer; what it says of images, number types and library versions counts.
        tower: the image tower alone: its weights and sizes.
    """
    fields = ("decode", "resize", "mean", "std", "dtype", "versions")
    return sha256_of_json({"tower": tower, **{field: identity[field] for field in fields}})


def score_embeddings(
    images: Sequence[ImageSource],
    prompts: Sequence[str],
    *,
    scorer: str,
    network: nn.Module,
    batch_size: int,
    open_image: Callable[[ImageSource], Image],
    to_pixels: Callable[[Sequence[Image]], Tensor],
    embed_images: Callable[[Tensor], Tensor],
    kept: dict[ImageKey, Tensor] | None = None,
    tokenize: Callable[[Sequence[str]], Tensor] | None = None,
    embed_texts: Callable[[Tensor], Tensor] | None = None,
    product: Callable[..., Tensor],
) -> NDArray[np.float64]:
    """Scores of N pairs, in order.

    Args:
        images: N of them.
        prompts: N texts.
        scorer: name for messages.
        network: put into eval mode; its first parameter gives device and dtype of the pixels.
        batch_size: images, and texts, at once.
        open_image: what Pillow does, see `score_in_batches`.
        to_pixels: B opened images -> float32 (B, 3, H, W), on the CPU.
        embed_images: pixels -> float32 (B, D).
        kept: embeddings of this tower that were made before; new ones are added.
        tokenize: T prompts -> tokens (T, ...); None for a scorer that reads no prompt.
        embed_texts: tokens -> float32 (T, D); None likewise.
        product: (images (N, D), texts (N, D)) -> (N,); without texts (images) alone. In float32, on the CPU.

    Returns: float64 (N,).

    Raises: DataError as `check_pairs`, or naming the first image whose score is not finite.
    """
    check_pairs(images, prompts, scorer)
    keys = [_key(image) for image in images] if kept is not None else [(k,) for k in range(len(images))]
    known: dict[ImageKey, Tensor] = kept if kept is not None else {}
    fresh = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
    batches = in_batches(
        list(fresh.values()),
        scorer=scorer,
        network=network,
        batch_size=batch_size,
        open_image=open_image,
        to_pixels=to_pixels,
        forward=lambda pixels, _: embed_images(pixels),
    )
    embedded = [row for batch in batches for row in batch]
    known.update(zip(fresh, embedded, strict=True))
    parts = [torch.stack([known[key] for key in keys])]
    with torch.inference_mode():
        if tokenize is not None and embed_texts is not None:
            parts.append(_embed_prompts(prompts, network, batch_size, tokenize, embed_texts))
        return finite_scores(product(*parts), images, prompts, scorer)


def _embed_prompts(
    prompts: Sequence[str],
    network: nn.Module,
    batch_size: int,
    tokenize: Callable[[Sequence[str]], Tensor],
    embed_texts: Callable[[Tensor], Tensor],
) -> Tensor:
    """Embeddings (N, D) of N prompts, each distinct one made once."""
    device = next(network.parameters()).device
    place = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
    distinct = list(place)
    batches = (distinct[start : start + batch_size] for start in range(0, len(distinct), batch_size))
    table = torch.cat([embed_texts(tokenize(batch).to(device)).cpu() for batch in batches])
    return table[[place[prompt] for prompt in prompts]]


def _key(image: ImageSource) -> ImageKey:
    """Equal for two images only if their pixels are: what lies at a path now, or the pixels in memory."""
    if isinstance(image, Image):
        return (pixels_sha256(image),)
    try:
        status = os.stat(image)
    except OSError:
        return (os.fspath(image),)  # opening it says what is wrong
    return (os.path.abspath(image), status.st_mtime_ns, status.st_size)
