"""Images and files that are broken are named, all of them, before the first step."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.preferences.decoding import check_images
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.progress import SilentProgress
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe

PLAIN = DataConfig()


def recipe_of(**values: Any) -> Recipe:
    given = {"steps": 4, "batch": 2, **values}
    return resolve_recipe("diffusion_dpo", "miniature", {k: Constant(v, "test") for k, v in given.items()})


def cut(path: Path) -> bytes:
    """Cut the file off behind its header; returns the whole."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize("cache", [False, True])
def test_every_image_that_is_cut_off_is_named_before_the_first_step(
    cache: bool, tmp_path: Path, tiny_pipeline: Path, write_manifest: Callable[..., Path]
):
    """Rows 2 and 7 of 8, in a run of 4 steps of 2 pairs; mended, the same command trains."""
    path, out = write_manifest(tmp_path, 8), tmp_path / "out"
    broken = [tmp_path / "images" / name for name in ("1_0.png", "6_1.png")]
    whole = [cut(image) for image in broken]
    places = {"backbone": str(tiny_pipeline), "data": str(path), "out": out}
    with pytest.raises(DataError) as caught:
        train(recipe_of(cache=cache), **places)
    text = str(caught.value)
    assert "2 problems in 8 rows" in text
    for row, image in zip((2, 7), broken, strict=True):
        assert f"; row {row}: {image} cannot be read" in text.replace("): row", "); row")
    assert not out.exists()
    for image, content in zip(broken, whole, strict=True):
        image.write_bytes(content)
    notes = Notes()
    assert train(recipe_of(cache=cache), **places, progress=notes).resumed_from == 0
    assert any("once, before training" in text for text in notes.texts)


def test_an_image_of_several_rows_is_decoded_once_and_named_with_each(tmp_path: Path):
    for name, value in (("a", 10), ("b", 20), ("c", 30)):
        Image.effect_noise((32, 32), value).save(tmp_path / f"{name}.png")
    (tmp_path / "pairs.csv").write_text(
        "prompt,image_0,image_1,label_0\np,a.png,b.png,1\np,b.png,c.png,1\np,a.png,c.png,0\n"
    )
    pairs = open_preferences(str(tmp_path / "pairs.csv"), PLAIN)
    images = [(pair, side) for pair in range(3) for side in (0, 1)]
    check_images(pairs, images)
    cut(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"2 problems in 3 rows.*row 1: .*b\.png.*; row 2: .*b\.png"):
        check_images(open_preferences(str(tmp_path / "pairs.csv"), PLAIN), images)


def shard(path: Path, broken: tuple[int, ...] = ()) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for row in range(6):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "JPEG")
        data = buffer.getvalue()
        rows.append(["p", data[: len(data) // 2] if row in broken else data, data, 1.0])
    columns = ["caption", "jpg_0", "jpg_1", "label_0"]
    pd.DataFrame(rows, columns=columns).to_parquet(path, row_group_size=2)


def test_damaged_images_inside_parquet_are_named_by_row(tmp_path: Path):
    shard(tmp_path / "a.parquet", broken=(1, 4))
    pairs = open_preferences(str(tmp_path / "a.parquet"), PLAIN)
    with pytest.raises(DataError, match=r"2 problem.*jpg_0 of row 2 .*jpg_0 of row 5 "):
        check_images(pairs, [(pair, side) for pair in range(6) for side in (0, 1)])


def test_a_file_that_is_no_parquet_or_damaged_is_named(tmp_path: Path):
    shard(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    torn = {"short": b"PAR", "text": b"no Parquet at all", "cut": whole[: len(whole) // 2]}
    for name, content in torn.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.parquet").write_bytes(content)
        for spec in (folder, folder / "a.parquet"):
            with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
                open_preferences(str(spec), PLAIN)
    (tmp_path / "b.parquet").write_bytes(whole[:4] + bytes(2000) + whole[2004:])
    with pytest.raises(DataError, match=r"b\.parquet"):
        pairs = open_preferences(str(tmp_path / "b.parquet"), PLAIN)
        check_images(pairs, [(pair, side) for pair in range(6) for side in (0, 1)])


def test_a_name_with_a_nul_byte_and_an_image_far_too_large_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Pillow refuses more than twice MAX_IMAGE_PIXELS: 16 x 16 where 100 are allowed."""
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "large.png")
    rows = '{"prompt": "p", "image_0": "good.png", "image_1": "a\\u0000b.png", "label_0": 1}\n'
    rows += '{"prompt": "p", "image_0": "good.png", "image_1": "large.png", "label_0": 1}\n'
    (tmp_path / "pairs.jsonl").write_text(rows)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"row 1: .*null byte.*row 2: .*large\.png.* exceeds limit"):
        open_preferences(str(tmp_path / "pairs.jsonl"), PLAIN)
