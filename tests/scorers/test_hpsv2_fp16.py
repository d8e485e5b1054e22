"""HPSv2's variants that round as a GPU's autocast does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import normalize

from prefbench.bench.exceptions import UsageError
from prefbench.scorers.hpsv2 import half_cosine
from prefbench.scorers.registry import load_scorer


def load(variant: str, folders: dict[str, Path], **options: Any) -> Any:
    return load_scorer(f"mini:hpsv2{variant}", weights=folders["mini:hpsv2"], **options)


def test_product_by_hand() -> None:
    """float16 has 0.6 as 0.60009765625 and 0.8 as 0.7998046875; twice their product is 0.95992184, and between 0.5 and
    1 the step is 1/2048: 0.95992184 * 2048 = 1965.92, so 1966 / 2048."""
    image, text = torch.tensor([[0.6, 0.8]]), torch.tensor([[0.8, 0.6]])
    assert half_cosine(image, text).tolist() == [1966 / 2048]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.26, 0.49))
def test_product_lies_on_the_grid_near_the_cosine(seed: int, wanted: float) -> None:
    """Between 0.25 and 0.5 the step is 1/4096, the 0.00024 that users met as exact ties.

    Rounding the factors moves a sum of 1024 products by less than 2^-11 of the sum of their sizes, which is at most 1.
    """
    generator = torch.Generator().manual_seed(seed)
    image, other = (
        normalize(torch.randn(1, 1024, generator=generator), dim=-1),
        torch.randn(1, 1024, generator=generator),
    )
    other = normalize(other - (other * image).sum() * image, dim=-1)
    text = wanted * image + (1 - wanted**2) ** 0.5 * other
    score = half_cosine(image, text).item()
    assert score * 4096 == round(score * 4096)
    assert abs(score - wanted) < 2**-10 + 2**-13


@pytest.mark.parametrize(("half", "full"), [("@fp16", "@antialias"), ("@legacy-noaa-fp16", "@legacy-noaa")])
def test_on_a_cpu_the_full_variants_embeddings_are_rounded(
    half: str, full: str, folders: dict[str, Path], pictures: list[Image.Image], prompts: list[str]
) -> None:
    """numpy's float16 from the float32 variant's embeddings; the sum of products of float16 numbers is exact in
    float64."""
    reference, scorer = load(full, folders), load(half, folders)
    with torch.no_grad():
        image = normalize(reference.network.encode_image(reference.preprocess(pictures)), dim=-1)
        text = normalize(reference.network.encode_text(reference.tokenize(prompts)), dim=-1)
    rounded = (part.numpy().astype(np.float16).astype(np.float64) for part in (image, text))
    expected = np.multiply(*rounded).sum(axis=1).astype(np.float16)
    scores = scorer.score(pictures, prompts)
    np.testing.assert_array_equal(scores, expected.astype(np.float64))
    assert not np.array_equal(scores, reference.score(pictures, prompts))


def test_identity_says_what_is_rounded_and_where(folders: dict[str, Path]) -> None:
    scorers = [load(v, folders) for v in ("@antialias", "@legacy-noaa", "@fp16", "@legacy-noaa-fp16")]
    assert len({scorer.info.fingerprint for scorer in scorers}) == 4
    assert len({scorer.tower for scorer in scorers}) == 4  # no embedding of one is taken for another's
    full, _, half, _ = (scorer.info.identity for scorer in scorers)
    assert {key for key in full if full[key] != half[key]} == {"dtype", "formula"}
    assert half["dtype"] == "float32 towers"
    assert scorers[2].info.variant == "fp16"


def test_another_dtype_beside_the_variant_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="says itself where it rounds"):
        load("@fp16", folders, dtype="bfloat16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="autocast to float16 is a GPU's")
def test_on_a_gpu_scores_are_those_of_the_released_lines(
    folders: dict[str, Path], pictures: list[Image.Image], prompts: list[str]
) -> None:
    """img_score.py: under autocast, normalised features of the whole batch, their matrix product, its diagonal."""
    scorer: Any = load("@fp16", folders, device="cuda")
    assert scorer.info.identity["dtype"] == "float16 by autocast"
    pixels, tokens = scorer.preprocess(pictures).cuda(), scorer.tokenize(prompts).cuda()
    with torch.no_grad(), torch.autocast("cuda", torch.float16):
        image = normalize(scorer.network.encode_image(pixels), dim=-1)
        text = normalize(scorer.network.encode_text(tokens), dim=-1)
        product = image @ text.T
    assert product.dtype == torch.float16
    # One step of float16 where a sum lies between two numbers: the product adds in another order.
    step = 2.0 ** (np.floor(np.log2(np.abs(product.diagonal().double().cpu().numpy()))) - 10)
    difference = np.abs(scorer.score(pictures, prompts) - product.diagonal().double().cpu().numpy())
    assert (difference <= step).all()
