"""Every test of labels and selection has its own cache on disk, and pairs whose scores are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs, labelled_pairs
from prefbench.scorers.info import ScorerInfo


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PREFBENCH_CACHE", str(folder))
    return folder


class GreyScorer:
    """The mean grey of an image, over 255; counts how many images it was asked for."""

    batch_size = 8

    def __init__(
        self, name: str = "grey", sign: float = 1.0, scale: str = "raw cosine", direction: str = "higher"
    ):
        self.sign, self.asked = sign, 0
        self.info = ScorerInfo(
            name=name,
            variant=None,
            licence="none",
            scale=scale,
            trained_on="nothing",
            identity={"name": name, "sign": sign},
            direction=direction,
        )

    def score(self, images, prompts):
        self.asked += len(images)
        return np.array([self.sign * np.asarray(image).mean() / 255 for image in images])

    def truncated(self, prompts):
        return np.zeros(len(prompts), bool)


@pytest.fixture
def grey_scorer() -> type[GreyScorer]:
    return GreyScorer


@pytest.fixture
def grey_pairs() -> Callable[..., LabelledPairs]:
    """pairs(greys, label_0, prompts): pair i shows two flat images of these grey values."""

    def make(greys, label_0=None, prompts=None) -> LabelledPairs:
        greys = np.asarray(greys, dtype=np.uint8)
        labels = np.ones(len(greys)) if label_0 is None else np.asarray(label_0, dtype=np.float64)
        return labelled_pairs(
            source="greys",
            prompts=prompts or [f"grey {i}" for i in range(len(greys))],
            label_0=labels,
            image=lambda row, side: Image.new("RGB", (8, 8), (int(greys[row, side]),) * 3),
            image_names=lambda row, side: f"{row}:{side}:{greys[row, side]}",
        )

    return make
