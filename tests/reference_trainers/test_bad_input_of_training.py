"""Bad input of `prefbench train`: refused before a network is opened where it can be known, or counted."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prefbench.bench.exceptions import DataError, PrefbenchError, UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.preferences.image_tensors import image_tensor
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.recipes import resolve_recipe


def train_with(data: Path, out: Path, backbone: str = "no/such-backbone", **values: Any) -> Any:
    """Whatever is raised before the backbone is missed was known before any network was opened."""
    given = {"steps": 1, "batch": 2, **values}
    recipe = resolve_recipe("diffusion_dpo", "miniature", {k: Constant(v, "test") for k, v in given.items()})
    return train(recipe, backbone=backbone, data=str(data), out=out)


@pytest.fixture
def rows(tmp_path: Path, write_manifest: Callable[..., Path]) -> Callable[..., Path]:
    """Six good pairs, of which row 3 is changed as asked."""

    def write(**changes: str) -> Path:
        path = write_manifest(tmp_path, 6)
        with path.open(encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        table[2] |= changes
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        return path

    return write


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_1": "images/gone.png"}, r"row 3: image .*gone\.png is missing"),
        ({"image_1": "pairs.csv"}, r"row 3: .*pairs\.csv is not an image"),
        ({"label_0": "0.7"}, r"row 3: label_0 is '0\.7', not 0, 0\.5 or 1"),
        ({"label_0": "yes"}, r"row 3: label_0 is 'yes', not 0, 0\.5 or 1"),
        ({"prompt": "  "}, r"row 3: the prompt is empty"),
    ],
    ids=["missing image", "no image", "label 0.7", "label yes", "empty caption"],
)
def test_a_row_that_cannot_be_used_is_named_before_training(
    changes: dict[str, str], message: str, rows: Callable[..., Path], tmp_path: Path
):
    with pytest.raises(DataError, match=message):
        train_with(rows(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


SCORES = "row,prompt,pickscore_0,pickscore_1\n" + "".join(
    f"{i + 1},a {('red', 'green', 'blue', 'grey')[i % 4]} square,0.{i + 1},0.05\n" for i in range(6)
)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"select": "margin", "keep": 7, "select_scorer": "pickscore"}, DataError, r"keep 7 pairs .* has 6"),
        (
            {"labels": "majority", "electorate": "pickscore,hpsv2.1"},
            UsageError,
            r"2 scorers can tie.*tie_rule",
        ),
        ({"labels": "scorer:pickscor"}, UsageError, r"Did you mean 'pickscore'"),
        (
            {"select": "margin", "keep": 2, "select_scorer": "pikscore"},
            UsageError,
            r"Did you mean 'pickscore'",
        ),
    ],
    ids=[
        "K larger than the data",
        "even electorate",
        "unknown scorer of labels",
        "unknown scorer of a selection",
    ],
)
def test_a_composition_that_cannot_be_is_refused_before_training(
    values: dict[str, Any],
    error: type[PrefbenchError],
    message: str,
    rows: Callable[..., Path],
    tmp_path: Path,
):
    path = rows()
    if "select" in values:
        (tmp_path / "scores.csv").write_text(SCORES, encoding="utf-8")
        values = {**values, "scores": str(tmp_path / "scores.csv"), "keep_of": "pairs"}
    with pytest.raises(error, match=message):
        train_with(path, tmp_path / "out", cache_dir=str(tmp_path / "cache"), **values)
    assert not (tmp_path / "out").exists()


def test_pairs_of_one_image_and_pairs_of_mixed_sizes_are_counted_and_trained(
    rows: Callable[..., Path], tiny_pipeline: Path, tmp_path: Path
):
    """A pair of one image with itself is left out; other sizes are resized and cropped, as in the released code."""
    path = rows(image_1="images/2_0.png")
    for name, size in (("0_0", (40, 24)), ("0_1", (9, 30))):
        Image.new("RGB", size, (200, 10, 10)).save(tmp_path / "images" / f"{name}.png")
    card = train_with(path, tmp_path / "out", str(tiny_pipeline)).card
    assert (card["data"]["rows"], card["data"]["identical_dropped"], card["data"]["pairs"]) == (6, 1, 5)
    pairs = open_preferences(str(path), DataConfig())
    for image in (pairs.winner(0), pairs.loser(0)):
        pixels = image_tensor(image, 16)
        assert pixels.shape == (3, 16, 16)
        assert np.allclose(pixels[0], 200 / 127.5 - 1)
