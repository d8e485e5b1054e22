"""MPS against the released code's formulas, written out in numpy from the state dict."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.scorers import mps
from prefbench.scorers.registry import load_scorer

from .conftest import PICKSCORE, _loud, picture

CROSS = {"layers": 2, "heads": 3, "head_dim": 8, "ff_mult": 2}
ARCHITECTURE: dict[str, Any] = {"clip": PICKSCORE, "cross": CROSS}
Arrays = dict[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random weights. Not to be written to.

    One direction of the text embeddings is made long: in 16 dimensions a random word otherwise has some condition word
    so close to it that nothing is masked.
    """
    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("mps")
    network = _loud(mps.build(ARCHITECTURE))
    with torch.no_grad():
        network.model.text_projection.weight[1:] *= 0.01
    mps.save_folder(folder, network, ARCHITECTURE)
    return folder


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Any:
    return load_scorer("mps", weights=folder)


# The formula, twice


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def layer_norm(x: NDArray[np.float64], state: Arrays, name: str) -> NDArray[np.float64]:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def swiglu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    value, gate = np.split(x, 2, axis=-1)
    return value * gate / (1 + np.exp(-gate))


def rotate(x: NDArray[np.float64], frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pairs (x_k, x_k+half) are turned by place * frequency_k: complex multiplication."""
    half = x.shape[-1] // 2
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * np.outer(np.arange(len(x)), frequencies))
    return np.concatenate([turned.real, turned.imag], axis=-1)


def cross_model(
    image: NDArray[np.float64], words: NDArray[np.float64], allowed: NDArray[np.bool_], state: Arrays
) -> NDArray[np.float64]:
    """One pair, head by head: image (N, D), words (L, D)."""
    size = CROSS["head_dim"]
    for layer in range(CROSS["layers"]):
        first, second = (f"cross_model.layers.{layer}.{part}.fn" for part in (0, 1))
        x = layer_norm(image, state, f"{first}.norm")
        key, value = np.split(words @ state[f"{first}.to_kv.weight"].T, 2, axis=-1)
        query = x @ state[f"{first}.to_q.weight"].T
        heads = []
        for head in range(CROSS["heads"]):
            similarity = query[:, head * size : (head + 1) * size] @ key.T / np.sqrt(size)
            heads.append(softmax(similarity + np.where(allowed, 0, -np.inf)) @ value)
        image = image + np.concatenate(heads, axis=-1) @ state[f"{first}.to_out.weight"].T
        image = image + swiglu(x @ state[f"{first}.ff.0.weight"].T) @ state[f"{first}.ff.2.weight"].T

        x = layer_norm(image, state, f"{second}.norm")
        widths = np.cumsum([CROSS["heads"] * size, size, size])
        query, key, value, wide = np.split(
            x @ state[f"{second}.fused_attn_ff_proj.weight"].T, widths, axis=-1
        )
        frequencies = state[f"{second}.rotary_emb.inv_freq"]
        heads = [
            softmax(rotate(part, frequencies) @ rotate(key, frequencies).T / np.sqrt(size)) @ value
            for part in np.split(query, CROSS["heads"], axis=-1)
        ]
        image = image + np.concatenate(heads, axis=-1) @ state[f"{second}.attn_out.weight"].T
        image = image + swiglu(wide) @ state[f"{second}.ff_out.1.weight"].T
    return image


def written_out(
    scorer: Any, folder: Path, image: Image.Image, prompt: str, threshold: float
) -> tuple[float, int]:
    """The evaluation script's score of one pair, and how many words it allows.

    The towers are transformers', the rest is numpy in float64.
    """
    state = {key: value.double().numpy() for key, value in load_file(folder / "model.safetensors").items()}
    clip = scorer.network.model
    with torch.no_grad():
        text = clip.text_model(input_ids=scorer.tokenize([prompt]))
        condition = clip.text_model(input_ids=scorer.tokenize([mps.CONDITION])).last_hidden_state
        pixels = mps.to_pixels([scorer.open_image(image)])
        patches = clip.vision_model(pixel_values=pixels).last_hidden_state
    to_words = state["model.text_projection.weight"].T
    words = text.last_hidden_state[0].double().numpy() @ to_words
    caption = text.pooler_output[0].double().numpy() @ to_words
    similarity = (words @ (condition[0].double().numpy() @ to_words).T).max(axis=1)
    allowed = similarity / similarity.max() > threshold
    tokens = patches[0].double().numpy() @ state["model.visual_projection.weight"].T
    seen = cross_model(tokens, words, allowed, state)[0]
    cosine = seen @ caption / np.linalg.norm(seen) / np.linalg.norm(caption)
    return float(np.exp(state["model.logit_scale"]) * cosine), int(allowed.sum())


@pytest.mark.parametrize(("variant", "threshold"), [("", 0.3), ("@t0.3", 0.3), ("@t0.01", 0.01)])
def test_score_equals_the_formula_written_out(
    folder: Path, pictures: list[Image.Image], variant: str, threshold: float
) -> None:
    scorer: Any = load_scorer(f"mps{variant}", weights=folder)
    prompts = ["a red cat", "dog, dog and a very long street", "hair", "", "light, color", "x " * 90]
    expected, allowed = zip(
        *(
            written_out(scorer, folder, image, prompt, threshold)
            for image, prompt in zip(pictures, prompts, strict=True)
        ),
        strict=True,
    )
    assert min(allowed) < 77  # so that the mask is part of what is compared
    np.testing.assert_allclose(scorer.score(pictures, prompts), expected, rtol=2e-5)


def test_mask_by_hand() -> None:
    """Words (2,0), (0,1), (-1,0) against conditions (1,0), (0,.5): products 2|0, 0|.5, -1|0, so s = 2, .5, 0, and
    s / max = 1, .25, 0: the second word is beyond 0.01 and not beyond 0.3."""
    words = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    condition = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    assert mps.allowed_words(words, condition, 0.3).tolist() == [True, False, False]
    assert mps.allowed_words(words, condition, 0.01).tolist() == [True, True, False]


def test_a_word_at_the_threshold_is_masked() -> None:
    """`>` and not `>=`: 0.25 is exact in binary."""
    words = torch.tensor([[1.0], [0.25]])
    assert mps.allowed_words(words, torch.ones(1, 1), 0.25).tolist() == [True, False]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0.01, 1), min_size=2, max_size=6),
    st.floats(1.5, 1000),
    st.sampled_from([0.01, 0.3]),
)
def test_mask_does_not_see_another_prompts_words(sizes: list[float], louder: float, threshold: float) -> None:
    """The original divides by the maximum over the batch: a neighbour with longer vectors then masks this
    prompt's words."""
    own = torch.tensor(sizes)[:, None]
    topic = torch.ones(1, 1)
    alone = mps.allowed_words(own, topic, threshold)
    assert alone.any()
    expected = own[:, 0] / own.max() > threshold
    assert torch.equal(alone, expected)
    assert torch.equal(mps.allowed_words(own * louder, topic, threshold), alone)


def test_thresholds_differ_in_score_and_fingerprint(folder: Path, scorer: Any) -> None:
    loose: Any = load_scorer("mps@t0.01", weights=folder)
    image, prompt = picture(40, 60), "a red cat beside seven dogs, oil on canvas"
    assert abs(loose.score([image], [prompt])[0] - scorer.score([image], [prompt])[0]) > 1e-4
    assert (scorer.info.variant, loose.info.variant) == ("t0.3", "t0.01")
    assert scorer.info.identity["threshold"] == 0.3
    assert scorer.info.fingerprint != loose.info.fingerprint


def test_unknown_threshold_is_refused_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"Known: t0\.01, t0\.3"):
        load_scorer("mps@t0.1", weights=folder)


# What a scorer must be


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_score_does_not_depend_on_neighbours_or_order(
    scorer: Any, pictures: list[Image.Image], prompts: list[str], batch_size: int
) -> None:
    alone = np.concatenate(
        [scorer.score([image], [prompt]) for image, prompt in zip(pictures, prompts, strict=True)]
    )
    scorer.batch_size = batch_size
    order = [3, 1, 5, 0, 4, 2, 1, 1]
    together = scorer.score([pictures[i] for i in order], [prompts[i] for i in order])
    np.testing.assert_allclose(together, alone[order], rtol=1e-5)


def test_odd_images_are_scored_as_their_rgb(scorer: Any, pictures: list[Image.Image]) -> None:
    image = pictures[0]
    grey = image.convert("L")
    for other, same in (
        (image.convert("RGBA"), image),
        (grey, grey.convert("RGB")),
        (image.convert("CMYK"), image.convert("CMYK").convert("RGB")),
        (picture(1, 60), picture(1, 60)),
    ):
        np.testing.assert_array_equal(scorer.score([other], ["a cat"]), scorer.score([same], ["a cat"]))


def test_odd_prompts_are_scored_and_long_ones_marked(scorer: Any) -> None:
    prompts = [
        "",
        "cat " * 75,
        "cat " * 76,
        "\U0001f389" * 5,
        "\u05d7\u05ea\u05d5\u05dc \u0623\u062d\u0645\u0631",
        "&amp; <b>",
    ]
    assert scorer.truncated(prompts).tolist() == [False, False, True, False, False, False]
    scores = scorer.score([picture(40, 60)] * len(prompts), prompts)
    assert np.isfinite(scores).all()
    assert scores[1] == scores[2]  # what is cut off is not read
    assert len(set(scores.round(6))) == len(prompts) - 1


def test_nan_weights_are_an_error_that_names_the_image(folder: Path, tmp_path: Path) -> None:
    scorer: Any = load_scorer("mps", weights=folder)
    with torch.no_grad():
        scorer.network.cross_model.layers[0][0]["fn"].to_out.weight.fill_(float("nan"))
    picture(40, 60).save(tmp_path / "one.png")
    with pytest.raises(DataError, match=r"gave nan for .*one\.png"):
        scorer.score([tmp_path / "one.png"], ["a cat"])


# Weights


def test_published_layouts_load(folder: Path, scorer: Any, tmp_path: Path) -> None:
    """The hub's copy has every key under "mps."; a `.pt` state dict of transformers 4 has position ids."""
    state = load_file(folder / "model.safetensors")
    (tmp_path / "hub").mkdir()
    save_file({f"mps.{key}": value for key, value in state.items()}, tmp_path / "hub" / "model.safetensors")
    state["model.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(state, tmp_path / "MPS_overall_state_dict.pt")
    expected = scorer.score([picture(40, 60)], ["a cat"])
    for weights in (tmp_path / "hub", tmp_path / "MPS_overall_state_dict.pt"):
        other: Any = load_scorer("mps", weights=weights, architecture=ARCHITECTURE)
        np.testing.assert_array_equal(other.score([picture(40, 60)], ["a cat"]), expected)


def test_pickled_module_is_refused_with_reason_and_way_out(tmp_path: Path) -> None:
    """The authors' file is torch.save(model): loading it would run code."""
    torch.save(torch.nn.Linear(2, 2), tmp_path / "MPS_overall_checkpoint.pth")
    with pytest.raises(MissingWeightsError, match=r"run code.*refused.*whole module.*RE-N-Y/mpsv1"):
        load_scorer("mps", weights=tmp_path)


def test_foreign_weights_are_an_error_that_lists_keys(folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["cross_model.layers.1.0.fn.to_kv.weight"]
    state["cross_model.layers.9.0.fn.to_kv.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(
        MissingWeightsError, match=r"missing \(1\): .*1\.0\.fn\.to_kv.*unexpected \(1\): .*9\.0"
    ):
        load_scorer("mps", weights=tmp_path, architecture=ARCHITECTURE)
    for part in ({"clip": PICKSCORE}, {"clip": PICKSCORE, "cross": {"layers": 2}}):
        with pytest.raises(MissingWeightsError, match="architecture"):
            load_scorer("mps", weights=folder, architecture=part)


def test_full_size_network_has_the_released_shapes() -> None:
    """trainer/models/cross_modeling.py by hand: one key and one value head of 64, 16 query heads, feed-forward 4096
    twice for its gate: 1024 + 64 + 64 + 8192 = 9344."""
    with torch.device("meta"):
        state = mps.build(mps.ARCHITECTURE).state_dict()
    shapes = {
        key: tuple(value.shape) for key, value in state.items() if key.startswith("cross_model.layers.3")
    }
    assert shapes == {
        "cross_model.layers.3.0.fn.norm.weight": (1024,),
        "cross_model.layers.3.0.fn.norm.bias": (1024,),
        "cross_model.layers.3.0.fn.to_q.weight": (1024, 1024),
        "cross_model.layers.3.0.fn.to_kv.weight": (128, 1024),
        "cross_model.layers.3.0.fn.to_out.weight": (1024, 1024),
        "cross_model.layers.3.0.fn.ff.0.weight": (8192, 1024),
        "cross_model.layers.3.0.fn.ff.2.weight": (1024, 4096),
        "cross_model.layers.3.1.fn.norm.weight": (1024,),
        "cross_model.layers.3.1.fn.norm.bias": (1024,),
        "cross_model.layers.3.1.fn.rotary_emb.inv_freq": (32,),
        "cross_model.layers.3.1.fn.fused_attn_ff_proj.weight": (9344, 1024),
        "cross_model.layers.3.1.fn.attn_out.weight": (1024, 1024),
        "cross_model.layers.3.1.fn.ff_out.1.weight": (1024, 4096),
    }
    assert "cross_model.layers.4.0.fn.to_q.weight" not in state
    assert len(mps.CONDITION.split(", ")) == 22
