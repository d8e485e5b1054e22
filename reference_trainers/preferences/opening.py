"""From what the user writes after --data to preference pairs."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.registry import unknown_name
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs, flip_labels, labelled_pairs
from prefbench.reference_trainers.preferences.manifest import load_manifest
from prefbench.reference_trainers.preferences.pickapic import is_pickapic, load_pickapic

__all__ = ["MINIATURE", "DataConfig", "is_miniature", "open_preferences"]

MINIATURE = "miniature"
MINIATURE_PAIRS = 3000


@dataclass(frozen=True)
class DataConfig:
    """What happens to labels, captions and pixels before the networks see them."""

    flip: float = 0.0
    """Share of the labels to turn round, 0 to 1; the truth is kept."""
    flip_seed: int = 0
    """Which labels are turned round."""
    caption_dropout: float = 0.0
    """Probability of an empty caption, for both images of a pair together."""
    hflip: bool = False
    """Mirror each image with probability 1/2, winner and loser independently; excludes `cache`."""
    resolution: int | None = None
    """Side in pixels after resize and centre crop; None for the backbone's own."""
    cache: bool = False
    """Encode all images and prompts once, before training, and hold them in memory."""
    workers: int = 0
    """Threads that decode images ahead of the network, where nothing is cached."""

    def __post_init__(self) -> None:
        for name in ("flip", "caption_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    f"{name} = {getattr(self, name)} is not a probability. Give a number from 0 to 1."
                )
        if self.hflip and self.cache:
            raise UsageError(
                "hflip and cache exclude each other: a cached latent cannot be mirrored. Set cache=false to "
                "mirror images, or hflip=false to cache."
            )
        if self.resolution is not None and self.resolution < 1:
            raise UsageError(f"resolution = {self.resolution} is not a number of pixels. Give 512, say.")
        if self.workers < 0:
            raise UsageError(f"workers = {self.workers} is negative. Give 0 to decode between the steps.")


def is_miniature(spec: str) -> bool:
    """Whether `spec` is "miniature" or "miniature:PAIRS"."""
    return spec == MINIATURE or spec.startswith(MINIATURE + ":")


def _miniature(spec: str) -> LabelledPairs:
    from prefbench.bench.miniature.pairs import load_pairs

    number = spec.partition(":")[2] or str(MINIATURE_PAIRS)
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise UsageError(
            f"{spec!r}: after 'miniature:' stands the number of pairs, such as miniature:{MINIATURE_PAIRS}."
        )
    world = load_pairs(n=int(number))
    images = (world.images_0, world.images_1)
    digests = [hashlib.sha256(array.tobytes()).hexdigest() for array in images]
    return labelled_pairs(
        source=spec,
        prompts=list(world.prompts),
        label_0=np.asarray(world.label_0, dtype=np.float64),
        image=lambda row, side: Image.fromarray(images[side][row]),
        image_names=lambda row, side: f"{digests[side]}:{row}",
    )


def open_preferences(spec: str, config: DataConfig) -> LabelledPairs:
    """Preference pairs, ties dropped, labels flipped on request.

    Args:
        spec: "miniature" (or "miniature:1000" for that many pairs), a manifest (CSV or Parquet with columns
            prompt, image_0, image_1, label_0), a Pick-a-Pic style Parquet file, or a folder of such files.
        config: for `flip` and `flip_seed`.

    Raises:
        UsageError: no such file or name.
        DataError: rows that cannot be used, each named.
    """
    path = Path(spec)
    if is_miniature(spec):
        pairs = _miniature(spec)
    elif path.is_dir():
        pairs = load_pickapic(path)
    elif path.is_file():
        if path.suffix.lower() not in (".csv", ".parquet"):
            raise DataError(
                f"{path} is neither .csv nor .parquet. Give a manifest, or a folder of Parquet shards."
            )
        parquet = path.suffix.lower() == ".parquet"
        pairs = load_pickapic(path) if parquet and is_pickapic(path) else load_manifest(path)
    elif path.suffix or len(path.parts) > 1:
        raise DataError(f"--data {spec}: there is no such file or folder. Check the path.")
    else:
        raise unknown_name("data source", spec, [MINIATURE])
    return flip_labels(pairs, config.flip, config.flip_seed) if config.flip else pairs
