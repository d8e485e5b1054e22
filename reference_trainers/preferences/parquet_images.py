"""Encoded images inside Parquet shards, by global row, with bounded memory."""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.image_files import decoded

__all__ = ["ShardImages", "readable_parquet"]

COLUMNS = ("jpg_0", "jpg_1")
STRETCH_BYTES = 32 * 2**20
"""Images are read in stretches of rows of about this size, never a whole large row group."""
STRETCHES_KEPT = 6
READ_BYTES = 2**20
"""Read ahead in a column; without it pyarrow reads the whole column of a row group at once."""


@contextmanager
def readable_parquet(file: Path) -> Iterator[None]:
    """Around whatever reads `file`.

    Raises:
        DataError: it is not Parquet, cut off or damaged.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{file} cannot be read as Parquet ({reason[:300]}). Fetch or write it again, or take it away."
        ) from None


class ShardImages:
    """Image bytes of columns jpg_0 and jpg_1 by row, through a small cache that several threads may share.

    Parquet cannot jump into a row group, so a row is reached by reading its row group from the start. The reader of
    the last stretch stays open: rows in order cost one pass over the file, rows in random order up to a row group
    each. Shards with small row groups (100 rows, as the `datasets` library writes images) are the fast ones.

    Args:
        files: the shards, in the order in which their rows count.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.sizes = [file.stat().st_size for file in files]
        self._parquets = [_opened(file) for file in files]
        self._groups = [(f, g) for f, part in enumerate(self._parquets) for g in range(part.num_row_groups)]
        rows, stretch = [], []
        for file, group in self._groups:
            metadata = self._parquets[file].metadata.row_group(group)
            rows.append(metadata.num_rows)
            mean = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
            stretch.append(int(np.clip(STRETCH_BYTES // mean, 1, max(1, metadata.num_rows))))
        self._starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self._stretch = stretch
        self._kept: OrderedDict[tuple[int, int], pa.RecordBatch] = OrderedDict()
        self._open: tuple[int, int, Iterator[pa.RecordBatch]] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _locate(self, row: int) -> tuple[int, int]:
        """(number of the row group, row within it)."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        return group, row - int(self._starts[group])

    def name(self, row: int, side: int) -> str:
        """File, its size, row group and row: what identifies an image in a hash of the data."""
        group, offset = self._locate(row)
        file, number = self._groups[group]
        return f"{self.files[file].name}:{self.sizes[file]}:{number}:{offset}:jpg_{side}"

    def null_rows(self) -> list[str]:
        """A sentence for each row without image bytes; reads only row groups that may have one."""
        found = []
        for index, (file, group) in enumerate(self._groups):
            metadata = self._parquets[file].metadata.row_group(group)
            leaves = {
                metadata.column(c).path_in_schema: metadata.column(c) for c in range(metadata.num_columns)
            }
            for column in COLUMNS:
                statistics = leaves[column].statistics if column in leaves else None
                if statistics is not None and statistics.has_null_count and statistics.null_count == 0:
                    continue
                row = int(self._starts[index])
                for batch in self._batches(index, [column]):
                    nulls = np.flatnonzero(batch.column(0).is_null())
                    found += [f"row {row + int(i) + 1}: {column} is empty" for i in nulls]
                    row += batch.num_rows
        return found

    def _batches(self, index: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        file, group = self._groups[index]
        with readable_parquet(self.files[file]):
            yield from self._parquets[file].iter_batches(
                batch_size=self._stretch[index], row_groups=[group], columns=columns, use_threads=False
            )

    def _stretch_of(self, index: int, place: int) -> pa.RecordBatch:
        """Stretch number `place` of a row group, from the cache or by reading on."""
        kept = self._kept.get((index, place))
        if kept is not None:
            self._kept.move_to_end((index, place))
            return kept
        if self._open is None or self._open[0] != index or self._open[1] > place:
            self._open = (index, 0, self._batches(index, list(COLUMNS)))
        _, reached, batches = self._open
        for number in range(reached, place + 1):
            batch = next(batches)
            self._open = (index, number + 1, batches)
        self._kept[index, place] = batch
        if len(self._kept) > STRETCHES_KEPT:
            self._kept.popitem(last=False)
        return batch

    def image(self, row: int, side: int) -> Image.Image:
        """The RGB image.

        Raises:
            UnreadableImageError: the bytes are no image.
            DataError: the shard is damaged.
        """
        index, offset = self._locate(row)
        place, offset = divmod(offset, self._stretch[index])
        with self._lock:
            data = self._stretch_of(index, place).column(f"jpg_{side}")[offset].as_py()
        shard = self.files[self._groups[index][0]]
        return decoded(io.BytesIO(data), f"{shard}: jpg_{side} of row {row + 1} (counted over all shards)")


def _opened(file: Path) -> pq.ParquetFile:
    with readable_parquet(file):
        return pq.ParquetFile(file, buffer_size=READ_BYTES, pre_buffer=False)
