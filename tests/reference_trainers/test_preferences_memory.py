"""Parquet shards of any size: the right row in any order, and memory that does not grow with the data."""

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from prefbench.reference_trainers.preferences import parquet_images
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences

MILLION = 1_000_000
LIMIT = 2 * 2**30
linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc"
)

MEASURE = """
import json, sys
from pathlib import Path
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences

pairs = open_preferences(sys.argv[1], DataConfig())
rows = json.loads(sys.argv[2])
sizes = [pairs.winner(row).size for row in rows]
digest = pairs.sha256 if len(sys.argv) > 3 else ""
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) * 1024  # not ru_maxrss, which remembers the process that started this one
print(json.dumps({"pairs": len(pairs), "dropped": pairs.counts.ties_dropped, "peak": peak, "sizes": sizes}))
"""


def measure(path: Path, rows: list[int], *more: str) -> dict[str, object]:
    """Open the data in a process of its own, read some winners, and report its largest resident memory."""
    command = [sys.executable, "-c", MEASURE, str(path), json.dumps(rows), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    return dict(json.loads(done.stdout.splitlines()[-1]))


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 2), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("row_group", [1, 7, 40])
@pytest.mark.parametrize("stretch", [1, 400, 10**9])
def test_any_order_gives_the_image_of_the_right_row(
    row_group: int, stretch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stretches of one row, of a few, and of whole row groups; forwards, backwards, at random, from threads."""
    monkeypatch.setattr(parquet_images, "STRETCH_BYTES", stretch)
    levels = np.arange(40)
    table = pa.table(
        {
            "caption": [str(i) for i in levels],
            "jpg_0": [png(int(i)) for i in levels],
            "jpg_1": [png(int(i) + 100) for i in levels],
            "label_0": [1.0] * 40,
        }
    )
    pq.write_table(table, tmp_path / "shard.parquet", row_group_size=row_group)
    pairs = open_preferences(str(tmp_path), DataConfig())

    def levels_of(row: int) -> tuple[int, int]:
        images = (pairs.winner(int(row)), pairs.loser(int(row)))
        return tuple(int(np.asarray(image)[0, 0, 0]) for image in images)  # type: ignore[return-value]

    order = np.random.default_rng(0).permutation(40)
    for rows in (levels, levels[::-1], order):
        assert [levels_of(row) for row in rows] == [(row, row + 100) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(levels_of, order)) == [(row, row + 100) for row in order]


def write_rows(path: Path, rows: int, chunk: int, image: bytes | None = None) -> None:
    """`rows` rows in row groups of `chunk`; the images are `image`, or noise that does not compress."""
    schema = pa.schema(
        [("caption", pa.string()), ("jpg_0", pa.binary()), ("jpg_1", pa.binary()), ("label_0", pa.float64())]
    )
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema, use_dictionary=False, write_batch_size=8) as writer:
        for start in range(0, rows, chunk):
            count = min(chunk, rows - start)
            images = [image] * count if image else [png(0) + rng.bytes(10**6) for _ in range(count)]
            captions = [f"a caption of ordinary length about row number {start + i}" for i in range(count)]
            labels = [(1.0, 0.0, 0.5)[(start + i) % 3] for i in range(count)]
            table = pa.table([captions, images, images, labels], schema=schema)
            writer.write_table(table, row_group_size=chunk)


@pytest.mark.slow
@linux
def test_a_million_rows_take_less_than_two_gigabytes(tmp_path: Path):
    """Captions and labels in memory, images in the file; with the hash of the data, which reads every name."""
    for shard in range(4):
        write_rows(tmp_path / f"{shard}.parquet", MILLION // 4, 10_000, png(1))
    places = [0, 1, MILLION // 2 - 1, 7, MILLION // 3]
    found = measure(tmp_path, places, "hash")
    dropped = 4 * len(range(2, MILLION // 4, 3))
    assert (found["dropped"], found["pairs"]) == (dropped, MILLION - dropped)
    assert found["sizes"] == [[2, 2]] * len(places)
    print(f"peak {found['peak'] / 2**20:.0f} MiB")  # type: ignore[operator]
    assert found["peak"] < LIMIT  # type: ignore[operator]


@pytest.mark.slow
@linux
def test_memory_follows_the_stretch_and_not_the_size_of_a_row_group(tmp_path: Path):
    """One row group of 600 MB against one of 6 MB: reading first, middle and last rows costs no such difference.

    Six stretches of 32 MiB are kept and one is being read: 224 MiB.
    """
    write_rows(tmp_path / "large.parquet", 300, 300)
    write_rows(tmp_path / "small.parquet", 3, 3)
    large = measure(tmp_path / "large.parquet", [0, 100, 199])
    small = measure(tmp_path / "small.parquet", [0, 1])
    print(f"peak {large['peak'] / 2**20:.0f} and {small['peak'] / 2**20:.0f} MiB")  # type: ignore[operator]
    assert large["peak"] - small["peak"] < 320 * 2**20  # type: ignore[operator]
