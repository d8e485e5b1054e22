"""Preference pairs from tables and shards: ties, flips, bad rows, pixels."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.preferences.image_tensors import image_tensor
from prefbench.reference_trainers.preferences.labelled_pairs import flip_labels
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences

PLAIN = DataConfig()


def solid(value: int) -> Image.Image:
    return Image.new("RGB", (16, 16), (value, value, value))


def level(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


def jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    solid(value).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


def write_rows(folder: Path, rows: list[list[object]], header: tuple[str, ...] | None = None) -> Path:
    path = folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header or ("prompt", "image_0", "image_1", "label_0"), *rows])
    return path


@pytest.fixture
def two_images(tmp_path: Path) -> Path:
    solid(10).save(tmp_path / "dark.png")
    solid(200).save(tmp_path / "light.png")
    return tmp_path


def test_label_1_means_that_image_0_won_and_ties_are_dropped_and_counted(two_images: Path):
    rows = [["a", "dark.png", "light.png", label] for label in (1, 0, 0.5, "1.0")]
    pairs = open_preferences(str(write_rows(two_images, rows)), PLAIN)
    assert [level(pairs.winner(i)) for i in range(len(pairs))] == [10, 200, 10]
    assert [level(pairs.loser(i)) for i in range(len(pairs))] == [200, 10, 200]
    assert (pairs.counts.rows, pairs.counts.ties_dropped) == (4, 1)


def test_every_bad_row_is_named_at_once(two_images: Path):
    (two_images / "text.png").write_text("no image")
    rows = [
        ["a", "dark.png", "light.png", 1],
        ["  ", "dark.png", "light.png", 1],
        ["b", "dark.png", "absent.png", 1],
        ["c", "dark.png", "light.png", 0.7],
        ["d", "text.png", "light.png", "left"],
    ]
    with pytest.raises(DataError) as caught:
        open_preferences(str(write_rows(two_images, rows)), PLAIN)
    text = str(caught.value)
    assert "row 2: the prompt is empty" in text
    assert "row 3: image" in text
    assert "absent.png is missing" in text
    assert "row 4: label_0 is '0.7'" in text
    assert "row 5: label_0 is 'left'" in text
    assert "text.png is not an image" in text
    assert "row 1:" not in text


def test_missing_columns_and_only_ties_are_refused(two_images: Path):
    path = write_rows(
        two_images, [["a", "dark.png", "light.png", 1]], ("caption", "image_0", "image_1", "label_0")
    )
    with pytest.raises(DataError, match="no column prompt"):
        open_preferences(str(path), PLAIN)
    path = write_rows(two_images, [["a", "dark.png", "light.png", 0.5]])
    with pytest.raises(DataError, match="1 row read, each a tie"):
        open_preferences(str(path), PLAIN)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("miniatur", UsageError, "Did you mean 'miniature'"),
        ("no/such/folder", DataError, "no such file or folder"),
        ("pairs.csv", DataError, "no such file or folder"),
        ("miniature:many", UsageError, "number of pairs"),
    ],
)
def test_a_source_that_does_not_exist_is_named(spec: str, error: type, message: str):
    with pytest.raises(error, match=message):
        open_preferences(spec, PLAIN)


def test_a_parquet_manifest_reads_like_a_csv(two_images: Path):
    rows = [["a", "dark.png", "light.png", 1.0], ["b", "light.png", "dark.png", 0.5]]
    frame = pd.DataFrame(rows, columns=["prompt", "image_0", "image_1", "label_0"])
    frame.to_parquet(two_images / "pairs.parquet")
    pairs = open_preferences(str(two_images / "pairs.parquet"), PLAIN)
    assert (len(pairs), pairs.prompt(0), level(pairs.winner(0))) == (1, "a", 10)


def write_shards(folder: Path, rows: list[tuple[str, bytes | None, bytes, float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows, columns=["caption", "jpg_0", "jpg_1", "label_0"])
    half = len(rows) // 2
    for number, part in enumerate((frame[:half], frame[half:])):
        part.to_parquet(folder / f"train-{number:05d}.parquet", row_group_size=2, index=False)


def test_pickapic_shards_give_the_image_of_the_right_row(tmp_path: Path):
    rows = [(f"p{i}", jpeg(10 * i), jpeg(10 * i + 100), (1.0, 0.0, 0.5)[i % 3]) for i in range(11)]
    write_shards(tmp_path / "shards", rows)
    pairs = open_preferences(str(tmp_path / "shards"), PLAIN)
    assert (pairs.counts.rows, pairs.counts.ties_dropped, len(pairs)) == (11, 3, 8)
    for i in range(len(pairs)):
        row = int(pairs.prompt(i)[1:])
        expected = 10 * row + (100 if row % 3 == 1 else 0)
        assert abs(level(pairs.winner(i)) - expected) <= 1
        assert abs(level(pairs.winner(i)) - level(pairs.loser(i))) >= 99


def test_pickapic_rows_without_image_or_caption_are_named(tmp_path: Path):
    rows = [("p", jpeg(1), jpeg(2), 1.0)] * 4 + [("p", None, jpeg(2), 1.0), ("", jpeg(1), jpeg(2), 2.0)]
    write_shards(tmp_path / "shards", rows)
    with pytest.raises(DataError) as caught:
        open_preferences(str(tmp_path / "shards"), PLAIN)
    for part in ("row 5: jpg_0 is empty", "row 6: the caption is empty", "row 6: label_0 is"):
        assert part in str(caught.value)


def test_a_folder_without_shards_says_what_to_put_there(tmp_path: Path):
    with pytest.raises(DataError, match=r"no \.parquet file"):
        open_preferences(str(tmp_path), PLAIN)


def test_flips_turn_exactly_the_asked_share_and_keep_the_truth(
    tmp_path: Path, write_manifest: Callable[..., Path]
):
    path = str(write_manifest(tmp_path, 10))
    plain, flipped = open_preferences(path, PLAIN), open_preferences(path, DataConfig(flip=0.3, flip_seed=1))
    assert flipped.flipped.sum() == flipped.counts.flipped == 3
    assert np.array_equal(plain.winner_side != flipped.winner_side, flipped.flipped)
    i = int(np.flatnonzero(flipped.flipped)[0])
    assert np.array_equal(np.asarray(plain.winner(i)), np.asarray(flipped.loser(i)))
    assert plain.sha256 != flipped.sha256


def test_flips_depend_on_their_seed_only_and_twice_is_back(
    tmp_path: Path, write_manifest: Callable[..., Path]
):
    pairs = open_preferences(str(write_manifest(tmp_path, 10)), PLAIN)
    once, other = flip_labels(pairs, 0.5, 0), flip_labels(pairs, 0.5, 1)
    assert np.array_equal(once.flipped, flip_labels(pairs, 0.5, 0).flipped)
    assert not np.array_equal(once.flipped, other.flipped)
    twice = flip_labels(once, 0.5, 0)
    assert np.array_equal(twice.winner_side, pairs.winner_side)
    assert not twice.flipped.any()


@pytest.mark.parametrize("size", [(16, 16), (40, 24), (24, 41), (33, 33), (8, 20), (10, 9)])
def test_pixels_are_those_of_torchvision(size: tuple[int, int]):
    """Resize, CenterCrop, ToTensor, Normalize([.5], [.5]): what the released code does."""
    from torchvision import transforms

    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    reference = transforms.Compose(
        [
            transforms.Resize(16, transforms.InterpolationMode.BILINEAR),
            transforms.CenterCrop(16),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )
    assert torch.allclose(image_tensor(image, 16), reference(image), atol=1e-6)
    assert torch.equal(image_tensor(image, 16, mirror=True), image_tensor(image, 16).flip(2))
