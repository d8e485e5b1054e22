"""Rows of named tensors on disk, by a 63-bit key: files that are whole or absent, read row by row.

A shard is a safetensors file with `keys` (K,) int64, `crc32` (K,) int64 and each named tensor with leading dimension K.
Its name is a hash of its keys, so two processes that write the same rows write the same file. What is held in memory is
16 bytes a row, whatever the rows are.
"""

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from prefbench.bench.atomic import write_bytes
from prefbench.bench.exceptions import DataError

__all__ = ["ShardStore"]

OPEN_SHARDS = 32
KEYS, CRC = "keys", "crc32"


class ShardStore:
    """The shards `KIND-*.safetensors` of a folder.

    Args:
        folder: made if absent.
        kind: what the rows are; part of the file names.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        folder.mkdir(parents=True, exist_ok=True)
        self._open: OrderedDict[int, Any] = OrderedDict()
        self.scan()

    def scan(self) -> None:
        """Look at the folder anew.

        Raises:
            DataError: a shard cannot be read.
        """
        self._shards = sorted(self.folder.glob(f"{self.kind}-*.safetensors"))
        self._open.clear()
        keys = [self._opened(i).get_tensor(KEYS).numpy() for i in range(len(self._shards))]
        sizes = [len(part) for part in keys]
        together = np.concatenate([np.empty(0, np.int64), *keys])
        order = np.argsort(together, kind="stable")
        self._keys = together[order]
        self._shard = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]
        self._row = np.concatenate([np.empty(0, np.int32), *(np.arange(n, dtype=np.int32) for n in sizes)])[
            order
        ]

    def has(self, keys: Sequence[int]) -> bool:
        """Whether all of these rows are there."""
        if not len(self._keys):
            return not len(keys)
        wanted = np.asarray(keys, np.int64)
        found = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        return bool((self._keys[found] == wanted).all())

    def write(self, keys: Sequence[int], rows: Mapping[str, Tensor]) -> None:
        """One shard, whole or not at all; seen by the next `scan`."""
        contents = {name: value.detach().cpu().contiguous() for name, value in rows.items()}
        key = torch.tensor(list(keys), dtype=torch.int64)
        checks = torch.tensor([_crc({n: v[i] for n, v in contents.items()}) for i in range(len(key))])
        name = hashlib.sha256(key.numpy().tobytes()).hexdigest()[:20]
        data = safetensors.torch.save({**contents, KEYS: key, CRC: checks})
        write_bytes(self.folder / f"{self.kind}-{name}.safetensors", data)

    def read(self, keys: Sequence[int]) -> dict[str, Tensor]:
        """The rows in this order; every one is compared with its checksum.

        Raises:
            DataError: a row is damaged, or its file is.
        """
        places = np.searchsorted(self._keys, np.asarray(keys, np.int64))
        rows = [self._row_of(int(self._shard[place]), int(self._row[place])) for place in places]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _row_of(self, shard: int, row: int) -> dict[str, Tensor]:
        opened = self._opened(shard)
        try:
            values = {name: opened.get_slice(name)[row : row + 1] for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, RuntimeError) as error:
            raise self._damaged(shard, str(error)) from error
        contents = {name: value[0] for name, value in values.items() if name not in (KEYS, CRC)}
        if _crc(contents) != int(values[CRC]):
            raise self._damaged(shard, f"the checksum of row {row + 1} is wrong")
        return contents

    def _opened(self, shard: int) -> Any:
        if shard not in self._open:
            try:
                self._open[shard] = safe_open(self._shards[shard], framework="pt")
            except (SafetensorError, OSError) as error:
                raise self._damaged(shard, str(error)) from error
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]

    def _damaged(self, shard: int, reason: str) -> DataError:
        return DataError(
            f"The cache file {self._shards[shard]} is damaged ({' '.join(reason.split())}). Delete this file and start "
            "again: what it held is encoded anew, all other files are kept."
        )


def _crc(row: Mapping[str, Tensor]) -> int:
    value = 0
    for name in sorted(row):
        value = zlib.crc32(row[name].reshape(-1).contiguous().view(torch.uint8).numpy().data, value)
    return value
