"""The originals themselves, in their environments, beside the ports. Needs uv, an index and 1 GB: marked `upstream`."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prefbench.bench.exceptions import DataError
from prefbench.scorers.image_io import open_rgb
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream.originals import open_original
from prefbench.scorers.upstream.parity import Parity, run_parity
from prefbench.scorers.upstream.parity_inputs import write_images
from prefbench.scorers.upstream.parity_models import SUBJECTS
from prefbench.scorers.upstream.scorer import start_worker

pytestmark = pytest.mark.upstream

SCORERS_PAGE = Path(__file__).parents[3] / "docs" / "scorers.md"


@pytest.fixture(scope="module", params=list(SUBJECTS))
def parity(request: pytest.FixtureRequest) -> Parity:
    return run_parity(request.param)


def test_the_port_gives_the_originals_score_for_every_image_and_prompt(parity: Parity) -> None:
    assert parity.failures == []
    assert parity.largest <= parity.limit, parity.worst


def test_the_comparison_could_fail(parity: Parity) -> None:
    """Scores move with images and with prompts by far more than the allowed difference."""
    assert min(parity.spread) > 20 * parity.limit


def test_a_stated_departure_is_one(parity: Parity) -> None:
    """Where a departure is stated, the original gives no score, or another one."""
    for departure in parity.departures:
        assert (
            isinstance(departure.original, str) or abs(departure.original - departure.port) > parity.limit
        ), departure


def test_the_published_table_is_not_better_than_what_is_measured(parity: Parity) -> None:
    """docs/scorers.md states an upper bound of the largest difference."""
    row = next(
        line for line in SCORERS_PAGE.read_text().splitlines() if line.startswith(f"| {parity.package} ")
    )
    stated = float(re.findall(r"\d(?:\.\d)?e-\d+", row)[0])
    assert parity.largest <= stated


@pytest.fixture(scope="module")
def hpsv2_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights made by the original's own classes, as it stores them."""
    folder = tmp_path_factory.mktemp("hpsv2")
    subject = SUBJECTS["hpsv2"]
    weights = subject.prepare(folder)
    original = open_original("hpsv2.1@upstream", weights, subject.architecture, "cpu", folder)
    with start_worker(original, "cpu", make=True, seed=1) as maker:
        maker.start()
    return weights


def test_the_upstream_backend_scores_what_the_original_alone_would_crash_on(
    hpsv2_weights: Path, tmp_path: Path
) -> None:
    """RGBA, a palette and an image in memory are decoded by our rule first; port and original then agree."""
    images = write_images(tmp_path)
    sources = [images["transparent"], images["palette"], images["512 x 512"], open_rgb(images["greyscale"])]
    prompts = ["a cat", "a dog", "a cat and a dog", ""]
    sizes = SUBJECTS["hpsv2"].architecture
    original = load_scorer("hpsv2.1@upstream", weights=hpsv2_weights, architecture=sizes)
    port = load_scorer("hpsv2.1", weights=hpsv2_weights, architecture=sizes)
    np.testing.assert_allclose(
        original.score(sources, prompts), port.score(sources, prompts), rtol=0, atol=2e-5
    )
    assert original.info.fingerprint != port.info.fingerprint
    assert list(original.truncated(["cat", "cat " * 90])) == [False, True]


def test_an_image_that_the_original_cannot_score_is_named(hpsv2_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "narrow.png"
    Image.new("RGB", (160, 224), (200, 10, 10)).save(path)
    original = load_scorer(
        "hpsv2.1@upstream", weights=hpsv2_weights, architecture=SUBJECTS["hpsv2"].architecture
    )
    with pytest.raises(DataError, match=r"narrow\.png.*size of tensor"):
        original.score([path], ["a cat"])


def test_a_thread_count_is_handed_on(hpsv2_weights: Path, tmp_path: Path) -> None:
    subject = SUBJECTS["hpsv2"]
    original = open_original("hpsv2.1@upstream", hpsv2_weights, subject.architecture, "cpu", tmp_path)
    assert start_worker(original, "cpu").variables["OMP_NUM_THREADS"] == str(torch.get_num_threads())
