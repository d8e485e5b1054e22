"""From what the user writes after --data to preference pairs."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.registry import unknown_name
from prefbench.reference_trainers.preferences.hpdv2 import is_hpdv2, load_hpdv2
from prefbench.reference_trainers.preferences.imagereward import is_imagereward, load_imagereward
from prefbench.reference_trainers.preferences.labelled_pairs import (
    LabelledPairs,
    Ties,
    flip_labels,
    labelled_pairs,
)
from prefbench.reference_trainers.preferences.manifest import load_manifest, read_table
from prefbench.reference_trainers.preferences.miniature_lists import miniature_list_pairs
from prefbench.reference_trainers.preferences.pickapic import is_pickapic, load_pickapic
from prefbench.reference_trainers.preferences.rankings import Rankings
from prefbench.reference_trainers.preferences.rankings_table import is_rankings_table, load_rankings_table

__all__ = [
    "MINIATURE",
    "MINIATURE_LISTS",
    "DataConfig",
    "existing",
    "is_miniature",
    "open_preferences",
    "open_rankings",
]

MINIATURE = "miniature"
MINIATURE_LISTS = "miniature:500x4"
"""What "miniature" means for a method that ranks lists: 500 prompts, four renders of each, 3000 pairs."""
MINIATURE_PAIRS = 3000
RANKINGS = "rankings.csv"
"""In a folder given as data: the table of rankings."""
TABLES = (".csv", ".parquet", ".jsonl")


@dataclass(frozen=True)
class DataConfig:
    """What happens to labels, captions and pixels before the networks see them."""

    ties: Ties = "drop"
    """Rows with label 0.5: drop; first_wins (image 0 wins, as the Adaptive-DPO script does); keep, where the method
    accepts ties."""
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
    cache: bool | Literal["memory", "disk"] = False
    """Encode all images and prompts once, before training: "memory" (or true) holds them in memory, "disk" in
    `cache_dir`, for every run of the same data, encoders and resolution."""
    cache_dir: str | None = None
    """Where cache=disk puts them; None for $PREFBENCH_CACHE, else the user's cache folder."""
    image_folder: str | None = None
    """What image paths in the data are relative to; None for the data's own folder."""
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
        if self.flip_seed < 0:
            raise UsageError(f"flip_seed = {self.flip_seed} must not be negative.")
        if self.workers < 0:
            raise UsageError(f"workers = {self.workers} is negative. Give 0 to decode between the steps.")


def is_miniature(spec: str) -> bool:
    """Whether `spec` is "miniature", "miniature:PAIRS" or "miniature:PROMPTSxIMAGES"."""
    return spec == MINIATURE or spec.startswith(MINIATURE + ":")


def _miniature(spec: str, ties: Ties) -> LabelledPairs:
    from prefbench.bench.miniature.pairs import load_pairs

    lists = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", spec.partition(":")[2])
    if lists and int(lists[2]) > 1:
        return miniature_list_pairs(spec, int(lists[1]), int(lists[2]), ties)
    number = spec.partition(":")[2] or str(MINIATURE_PAIRS)
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise UsageError(
            f"{spec!r}: after 'miniature:' stands the number of pairs, such as miniature:{MINIATURE_PAIRS}, or numbers "
            f"of prompts and of images of each, two or more, such as {MINIATURE_LISTS}."
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


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON in UTF-8 ({error}). Fetch it again.") from None
    if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
        raise DataError(
            f"{path} is no JSON list of objects. Give HPD v2's or ImageReward's train.json, or a .jsonl manifest."
        )
    return entries


def _json_rankings(path: Path, folder: Path | None) -> Rankings:
    entries = _entries(path)
    if is_imagereward(entries[0]):
        return load_imagereward(path, entries, folder)
    if is_hpdv2(entries[0]):
        return load_hpdv2(path, entries, folder)
    raise DataError(
        f"{path}: the first entry has {', '.join(entries[0]) or 'no keys'}. HPD v2 has prompt, file_path and "
        "human_preference (or rank); ImageReward has prompt, generations and ranking."
    )


def _image_folder(config: DataConfig) -> Path | None:
    if config.image_folder is None:
        return None
    folder = Path(config.image_folder)
    if not folder.is_dir():
        raise DataError(f"image_folder = {folder}: there is no such folder. Check the path.")
    return folder


def _open(path: Path, config: DataConfig) -> LabelledPairs | Rankings:
    """Whatever a file or folder holds, told by its name and columns."""
    folder = _image_folder(config)
    if path.is_dir():
        if not (path / RANKINGS).is_file():
            return load_pickapic(path, config.ties)
        path = path / RANKINGS
    if path.suffix.lower() == ".json":
        return _json_rankings(path, folder)
    if path.suffix.lower() not in TABLES:
        raise DataError(
            f"{path} is none of .csv, .parquet, .jsonl and .json. Give a manifest, HPD v2's or ImageReward's JSON, or "
            "a folder of Parquet shards."
        )
    if path.suffix.lower() == ".parquet" and is_pickapic(path):
        return load_pickapic(path, config.ties)
    table = read_table(path)
    if is_rankings_table(table):
        return load_rankings_table(path, table, folder)
    return load_manifest(path, config.ties, folder, table)


def existing(spec: str, option: str = "--data") -> Path:
    """The file or folder that is named by `spec`; `option` is what the user gave it as.

    Raises:
        UsageError: no such name.
        DataError: no such file or folder.
    """
    path = Path(spec)
    if path.exists():
        return path
    if path.suffix or len(path.parts) > 1:
        raise DataError(f"{option} {spec}: there is no such file or folder. Check the path.")
    raise unknown_name("data source", spec, [MINIATURE])


def open_rankings(spec: str, config: DataConfig) -> Rankings:
    """Ranked images, for methods that look at more than two images of a prompt.

    Args:
        spec: HPD v2's or ImageReward's JSON, a table of rankings, or a folder that holds rankings.csv.
        config: for `image_folder`.

    Raises:
        UsageError: no such name.
        DataError: rows that cannot be used, each named, or data that holds pairs only.
    """
    found = Path(spec) if is_miniature(spec) else _open(existing(spec), config)
    if not isinstance(found, Rankings):
        raise DataError(
            f"--data {spec} holds pairs, not rankings of several images. Give HPD v2's test.json, ImageReward's "
            "train.json, or a table with columns instance, prompt, image, rank_1."
        )
    return found


def open_preferences(spec: str, config: DataConfig) -> LabelledPairs:
    """Preference pairs, with ties dealt with as asked and labels flipped on request.

    Args:
        spec: "miniature" (or "miniature:1000" for that many pairs, "miniature:500x4" for all pairs of four renders of
            each of 500 prompts); a manifest (CSV, Parquet or JSON lines with
            prompt, image_0, image_1, label_0); Pick-a-Pic style Parquet, one file or a folder; or anything that
            `open_rankings` reads, whose pairs are those of different rank.
        config: for `ties`, `image_folder`, `flip` and `flip_seed`.

    Raises:
        UsageError: no such name.
        DataError: no such file, or rows that cannot be used, each named.
    """
    found = _miniature(spec, config.ties) if is_miniature(spec) else _open(existing(spec), config)
    pairs = found.pairs(config.ties) if isinstance(found, Rankings) else found
    return flip_labels(pairs, config.flip, config.flip_seed) if config.flip else pairs
