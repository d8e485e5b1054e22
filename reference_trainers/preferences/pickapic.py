"""Preference pairs from Pick-a-Pic style Parquet: columns caption, jpg_0, jpg_1 (bytes), label_0.

Captions and labels are held in memory; images stay in the files and are read by row group, a few of which are
kept. Random access over large row groups re-reads them: caching latents, which reads in order, avoids that.
"""

import io
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.labelled_pairs import (
    LabelledPairs,
    labelled_pairs,
    problems_error,
)
from prefbench.reference_trainers.preferences.manifest import checked_labels

__all__ = ["COLUMNS", "is_pickapic", "load_pickapic"]

COLUMNS = ("caption", "jpg_0", "jpg_1", "label_0")
ROW_GROUPS_KEPT = 8


def is_pickapic(path: Path) -> bool:
    """Whether a Parquet file has the columns of Pick-a-Pic."""
    return set(COLUMNS) <= set(pq.read_schema(path).names)


class _ShardImages:
    """Image bytes by global row, through a small cache of row groups that several threads may share."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.sizes = [file.stat().st_size for file in files]
        groups = [(f, g) for f, file in enumerate(files) for g in range(pq.ParquetFile(file).num_row_groups)]
        sizes = [pq.ParquetFile(files[f]).metadata.row_group(g).num_rows for f, g in groups]
        self.groups = groups
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def locate(self, row: int) -> tuple[int, int]:
        """(index of the row group, row within it)."""
        group = int(np.searchsorted(self.starts, row, side="right")) - 1
        return group, row - int(self.starts[group])

    def name(self, row: int, side: int) -> str:
        group, offset = self.locate(row)
        file, number = self.groups[group]
        return f"{self.files[file].name}:{self.sizes[file]}:{number}:{offset}:jpg_{side}"

    def null_rows(self) -> list[str]:
        """A sentence for each row without image bytes; reads only row groups that may have one."""
        found = []
        for group, (file, number) in enumerate(self.groups):
            parquet = pq.ParquetFile(self.files[file])
            for column in ("jpg_0", "jpg_1"):
                chunks = parquet.metadata.row_group(number)
                leaves = {
                    chunks.column(c).path_in_schema: chunks.column(c) for c in range(chunks.num_columns)
                }
                statistics = leaves[column].statistics if column in leaves else None
                if statistics is not None and statistics.has_null_count and statistics.null_count == 0:
                    continue
                nulls = parquet.read_row_group(number, columns=[column])[column].is_null().to_numpy()
                found += [
                    f"row {self.starts[group] + i + 1}: {column} is empty" for i in np.flatnonzero(nulls)
                ]
        return found

    def image(self, row: int, side: int) -> Image.Image:
        group, offset = self.locate(row)
        with self._lock:
            if group not in self._cache:
                file, number = self.groups[group]
                self._cache[group] = pq.ParquetFile(self.files[file]).read_row_group(
                    number, columns=["jpg_0", "jpg_1"]
                )
                if len(self._cache) > ROW_GROUPS_KEPT:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(group)
            table = self._cache[group]
        data = table[f"jpg_{side}"][offset].as_py()
        try:
            with Image.open(io.BytesIO(data)) as image:
                return image.convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(
                f"{self.files[self.groups[group][0]]}: jpg_{side} of row {row + 1} (counted over all shards) "
                f"cannot be decoded ({error}). Delete the row and start again."
            ) from None


def load_pickapic(path: Path) -> LabelledPairs:
    """Read captions and labels of one file or a folder of shards, in order of file name.

    Raises:
        DataError: no Parquet file, a missing column, or rows with an empty caption, a label outside {0, 0.5,
            1} or no image bytes; each is named by row.
    """
    files = sorted(path.glob("**/*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(
            f"The folder {path} has no .parquet file. Put the shards there, or give the path of a manifest."
        )
    for file in files:
        absent = set(COLUMNS) - set(pq.read_schema(file).names)
        if absent:
            raise DataError(
                f"{file} has no column {', '.join(sorted(absent))}. Pick-a-Pic has {', '.join(COLUMNS)}."
            )
    table = pd.concat(
        [pd.read_parquet(file, columns=["caption", "label_0"]) for file in files], ignore_index=True
    )
    images = _ShardImages(files)
    labels, problems = checked_labels(table["label_0"])
    prompts = [value if isinstance(value, str) else "" for value in table["caption"]]
    problems += [f"row {i + 1}: the caption is empty" for i, text in enumerate(prompts) if not text.strip()]
    problems += images.null_rows()
    if problems:
        raise problems_error(str(path), problems, len(table))
    return labelled_pairs(str(path), prompts, labels, images.image, images.name)
