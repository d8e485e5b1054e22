"""Random pipelines small enough to train within a second, and pairs to train them on."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines
from PIL import Image

SIDE = tiny_pipelines.TINY.side
COLOURS = ("red", "green", "blue", "grey")


def _write_manifest(folder: Path, count: int, labels: Callable[[int], object] = lambda i: i % 2) -> Path:
    """`count` pairs of random images, won by image 0 and image 1 in turn unless `labels` says otherwise."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        names = [f"images/{i}_{side}.png" for side in (0, 1)]
        for name in names:
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / name)
        rows.append([f"a {COLOURS[i % 4]} square", *names, labels(i)])
    path = folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["prompt", "image_0", "image_1", "label_0"], *rows])
    return path


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save_sd(tmp_path_factory.mktemp("tiny") / "pipeline")


@pytest.fixture(scope="session")
def tiny_v_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save_sd(tmp_path_factory.mktemp("tiny") / "v", prediction_type="v_prediction")


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save_sdxl(tmp_path_factory.mktemp("tiny") / "xl")


@pytest.fixture(scope="session")
def tiny_base_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save_sd(tmp_path_factory.mktemp("tiny") / "base", second=True)


@pytest.fixture(scope="session")
def tiny_backbones(
    tiny_pipeline: Path, tiny_v_pipeline: Path, tiny_base_pipeline: Path, tiny_sdxl: Path
) -> dict[str, Path]:
    """One folder for each kind of backbone: SD 1.5, 2.1 (v-prediction), 2.1-base (epsilon) and XL."""
    return {
        "sd-eps": tiny_pipeline,
        "sd-v": tiny_v_pipeline,
        "sd2-eps": tiny_base_pipeline,
        "sdxl": tiny_sdxl,
    }


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_manifest(tmp_path_factory.mktemp("pairs"), 10)


@pytest.fixture(scope="session")
def write_manifest() -> Callable[..., Path]:
    return _write_manifest
