"""Preference pairs from Pick-a-Pic v1 and v2 (Kirstain et al., arXiv 2305.01569), as published in Parquet.

Columns caption, jpg_0, jpg_1 (bytes), label_0; where image_0_uid and image_1_uid are there too, they say which rows show
the same image (for methods of single images and of lists), and rows of one image with itself are left out. Captions and
labels are held in memory, images stay in the files: a million rows take well
under 2 GB. Pixels are decoded when they are needed; decoding.py looks at all of them before training.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.labelled_pairs import (
    LabelledPairs,
    Ties,
    labelled_pairs,
    problems_error,
)
from prefbench.reference_trainers.preferences.manifest import checked_labels, checked_prompts
from prefbench.reference_trainers.preferences.parquet_images import ShardImages, readable_parquet

__all__ = ["COLUMNS", "is_pickapic", "load_pickapic"]

COLUMNS = ("caption", "jpg_0", "jpg_1", "label_0")
UIDS = ("image_0_uid", "image_1_uid")


def is_pickapic(path: Path) -> bool:
    """Whether a Parquet file has the columns of Pick-a-Pic."""
    return set(COLUMNS) <= _columns(path)


def _columns(file: Path) -> set[str]:
    with readable_parquet(file):
        return set(pq.read_schema(file).names)


def _captions(file: Path) -> pd.DataFrame:
    with readable_parquet(file):
        return pd.read_parquet(file, columns=["caption", "label_0"])


def _uid_keys(file: Path) -> np.ndarray:
    """(rows, 2) uint64: a digest of each image's uid, because a million texts are large; 0 where there is none."""
    with readable_parquet(file):
        parquet = pq.ParquetFile(file)
        keys = np.zeros((parquet.metadata.num_rows, 2), dtype=np.uint64)
        if set(UIDS) <= set(parquet.schema_arrow.names):
            for side, column in enumerate(UIDS):
                uids = parquet.read(columns=[column]).column(0)
                keys[:, side] = [0 if uid is None else _digest(str(uid)) for uid in uids.to_pylist()]
    return keys


def _digest(uid: str) -> int:
    return int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=8).digest(), "big")


def load_pickapic(path: Path, ties: Ties = "drop") -> LabelledPairs:
    """Read captions and labels of one file or a folder of shards, in order of file name.

    Args:
        path: a Parquet file, or a folder that holds them at any depth.
        ties: what to do with label 0.5.

    Raises:
        DataError: no Parquet file, a damaged one, a missing column, or rows with an empty caption, a label outside {0, 0.5,
            1} or no image bytes; each is named by row.
    """
    files = sorted(path.glob("**/*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(
            f"The folder {path} has no .parquet file and no rankings.csv. Put the data there, or give the path of a "
            "manifest."
        )
    for file in files:
        absent = set(COLUMNS) - _columns(file)
        if absent:
            raise DataError(
                f"{file} has no column {', '.join(sorted(absent))}. Pick-a-Pic has {', '.join(COLUMNS)}."
            )
    table = pd.concat([_captions(file) for file in files], ignore_index=True)
    images = ShardImages(files)
    labels, problems = checked_labels(table["label_0"])
    prompts, empty = checked_prompts(table["caption"], "caption")
    problems += [*empty, *images.null_rows()]
    if problems:
        raise problems_error(str(path), problems, len(table))
    keys = np.concatenate([_uid_keys(file) for file in files])

    def name(row: int, side: int) -> str:
        key = int(keys[row, side])
        return f"uid:{key:016x}" if key else images.name(row, side)

    identical = (keys[:, 0] != 0) & (keys[:, 0] == keys[:, 1])
    return labelled_pairs(str(path), prompts, labels, images.image, name, ties=ties, identical=identical)
