"""LAION's heads on real embeddings, and the predictor around them."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers import aesthetic
from prefbench.scorers.aesthetic_head import V2_LAYERS, affine_head, fold_head
from prefbench.scorers.open_clip_tower import build_clip, half_bytes
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.weights import read_state_dict

from .conftest import TOWER

SIZES = (16, 24, 8, 6, 4, 1)


def v2_head() -> nn.Sequential:
    """The original's module, in small: five linear layers with dropout between the first four, no
    activation."""
    a, b, c, d, e, f = SIZES
    layers = [
        nn.Linear(a, b),
        nn.Dropout(0.2),
        nn.Linear(b, c),
        nn.Dropout(0.2),
        nn.Linear(c, d),
        nn.Dropout(0.1),
    ]
    return nn.Sequential(*layers, nn.Linear(d, e), nn.Linear(e, f)).eval()


def test_real_heads_give_the_reference_scores_on_real_embeddings(reference_data: Path) -> None:
    """30 scores of 20 real CLIP embeddings under the published heads, computed in numpy float64
    beforehand."""
    folder = reference_data / "laion_aesthetic"
    with (folder / "reference_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    for row in rows:
        weight, bias = fold_head(read_state_dict(folder / row["weights"], "aesthetic"))
        embedding = torch.from_numpy(np.load(folder / row["embedding"]).reshape(1, -1)).float()
        # As the scorer does it: the folded head rounded to float32, the product in float32.
        score = affine_head(embedding, weight.float(), bias.float()).item()
        assert score == pytest.approx(float(row["score"]), abs=1e-5), row


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("aesthetic.v1@vit-l-14", 768),
        ("aesthetic.v1@vit-b-32", 512),
        ("aesthetic.v1@vit-b-16", 512),
        ("aesthetic.v2", 768),
    ],
)
def test_published_head_files_load_beside_a_tower(
    name: str, width: int, reference_data: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    """The real files under their real names, with a small tower of the right embedding width."""
    for file in (reference_data / "laion_aesthetic").glob("*.pth"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tower = {**TOWER, "embed_dim": width}
    torch.manual_seed(0)
    (tmp_path / "model.safetensors").write_bytes(half_bytes(build_clip(tower).state_dict()))
    scorer = load_scorer(name, weights=tmp_path, architecture=tower)
    assert np.isfinite(scorer.score(pictures, [""] * len(pictures))).all()
    assert scorer.info.variant == (name.partition("@")[2] or "vit-l-14")


def test_folded_head_equals_the_layers_one_by_one() -> None:
    torch.manual_seed(1)
    head = v2_head().double()
    weight, bias = fold_head({f"layers.{key}": value for key, value in head.state_dict().items()})
    embedding = nn.functional.normalize(torch.randn(50, SIZES[0], dtype=torch.float64), dim=-1)
    with torch.no_grad():
        torch.testing.assert_close(
            affine_head(embedding, weight, bias), head(embedding)[:, 0], rtol=0, atol=1e-12
        )


def test_v2_layer_numbers_are_the_originals() -> None:
    assert [i for i, layer in enumerate(v2_head()) if isinstance(layer, nn.Linear)] == list(V2_LAYERS)


@settings(max_examples=50, deadline=None)
@given(length=st.floats(0.01, 1000), seed=st.integers(0, 1000))
def test_score_does_not_depend_on_the_embeddings_length(length: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    embedding, weight = torch.randn(1, 8, generator=generator), torch.randn(1, 8, generator=generator)
    bias = torch.zeros(1)
    expected = affine_head(embedding, weight, bias).item()
    assert affine_head(embedding * length, weight, bias).item() == pytest.approx(expected, abs=1e-5)


def test_head_by_hand() -> None:
    """e = (3, 4) has length 5, so (0.6, 0.8) . (10, 5) + 1 = 6 + 4 + 1 = 11."""
    score = affine_head(torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0, 5.0]]), torch.tensor([1.0]))
    assert score.item() == pytest.approx(11.0, abs=1e-6)


def test_a_head_with_other_tensors_is_refused() -> None:
    with pytest.raises(MissingWeightsError, match=r"layers\.0\.weight"):
        fold_head({"linear.weight": torch.zeros(1, 4)})


def test_the_prompt_has_no_say_and_nothing_is_truncated(
    folders: dict[str, Path], pictures: list[Image.Image]
) -> None:
    scorer = load_scorer("mini:aesthetic", weights=folders["mini:aesthetic"])
    assert scorer.info.prompt_blind
    scores = [scorer.score(pictures, [prompt] * len(pictures)) for prompt in ("", "a cat", "cat " * 500)]
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[0], scores[2])
    assert not scorer.truncated(["cat " * 500]).any()


def test_fingerprint_follows_the_head(folders: dict[str, Path], tmp_path: Path) -> None:
    for file in folders["mini:aesthetic"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({"weight": torch.ones(1, 16), "bias": torch.zeros(1)}, tmp_path / "sa_0_4_vit_l_14_linear.pth")
    own, other = (load_scorer(name, weights=tmp_path) for name in ("mini:aesthetic", "aesthetic.v1"))
    assert own.info.identity["weights"]["tower"] == other.info.identity["weights"]["tower"]
    assert own.info.fingerprint != other.info.fingerprint


def test_a_head_of_another_width_than_the_tower_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for file in folders["mini:aesthetic"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({"weight": torch.ones(1, 8), "bias": torch.zeros(1)}, tmp_path / "sa_0_4_vit_l_14_linear.pth")
    with pytest.raises(MissingWeightsError, match=r"weight \(1, 8\) instead of \(1, 16\)"):
        load_scorer("aesthetic.v1", weights=tmp_path)


@pytest.mark.parametrize("name", ["aesthetic.v1", "aesthetic.v2"])
def test_without_weights_the_error_says_where_the_head_is(name: str) -> None:
    with pytest.raises(MissingWeightsError, match=r"github\.com/.*aesthetic-predictor") as error:
        load_scorer(name)
    assert aesthetic.HEADS[name, "vit-l-14"][0] in str(error.value)


def test_a_folder_without_head_or_without_tower_says_which(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="has no head: looked for"):
        load_scorer("aesthetic.v2", weights=folders["mini:clip"])
    (tmp_path / "head.safetensors").write_bytes(b"")
    with pytest.raises(MissingWeightsError, match="has no CLIP tower"):
        load_scorer("aesthetic.v2", weights=tmp_path)


def test_gradients_reach_head_and_tower(folders: dict[str, Path], pictures: list[Image.Image]) -> None:
    scorer: Any = load_scorer("mini:aesthetic", weights=folders["mini:aesthetic"])
    aesthetic.forward(scorer.network, scorer.preprocess(pictures[:2])).sum().backward()
    assert scorer.network.weight.grad.abs().sum() > 0
    assert scorer.network.visual.conv1.weight.grad.abs().sum() > 0
