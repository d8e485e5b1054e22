"""PickScore against transformers' own CLIPModel and processor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import SimpleTokenizer
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers import pickscore
from prefbench.scorers.clip_tokenizer import bundled_tokenizer
from prefbench.scorers.image_io import open_rgb
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream.parity_inputs import IMAGES, write_images

from .conftest import PICKSCORE, SIDE, CLIPImageProcessorPil


@pytest.fixture(scope="module")
def scorer(folders: dict[str, Path]) -> Any:
    return load_scorer("mini:pickscore", weights=folders["mini:pickscore"])


def test_score_equals_transformers_logits_per_image(
    scorer: Any, folders: dict[str, Path], pictures: list[Image.Image], prompts: list[str]
) -> None:
    """The README's computation: processor, CLIPModel, exp(logit_scale) * cosine = the diagonal of
    logits_per_image."""
    model = CLIPModel.from_pretrained(folders["mini:pickscore"], torch_dtype=torch.float32).eval()
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    pixels = processor([image.convert("RGB") for image in pictures], return_tensors="pt")["pixel_values"]
    text = bundled_tokenizer()(prompts, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        logits = model(pixel_values=pixels, **text).logits_per_image
    np.testing.assert_allclose(
        scorer.score(pictures, prompts), logits.diagonal().numpy(), rtol=1e-5, atol=1e-5
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("title", list(IMAGES))
def test_pixels_of_every_kind_of_file_are_those_of_transformers_processor(
    title: str, scorer: Any, files: dict[str, Path]
) -> None:
    """Where both see the same picture: transparent, 16-bit and turned files are decoded by our rule first (image_io.py).

    The layout is stated: left to itself the processor takes a picture of 1 or 3 rows for one of 1 or 3 colour channels.
    """
    path = files[title]
    decoded = title in ("transparent", "16-bit greyscale", "EXIF-rotated")
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    theirs = processor(
        open_rgb(path) if decoded else Image.open(path),
        return_tensors="pt",
        input_data_format="channels_last",
    )
    torch.testing.assert_close(scorer.preprocess([path]), theirs["pixel_values"], rtol=0, atol=1e-6)


def test_bundled_tokenizer_has_clips_ids() -> None:
    """Published ids: "a photo of a cat" is 320 1125 539 320 2368 between 49406 and 49407."""
    tokenizer = bundled_tokenizer()
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&<>"), max_size=60))
def test_bundled_tokenizer_equals_open_clips_on_plain_text(text: str) -> None:
    """Two implementations of one vocabulary; they part ways only on HTML entities, odd quotes and control
    characters."""
    ours = bundled_tokenizer()(text)["input_ids"][1:-1]
    assert ours == ORIGINAL.encode(text)


ORIGINAL = SimpleTokenizer()


def test_prompts_beyond_77_tokens_are_flagged_and_cut_with_the_end_token_last(scorer: Any) -> None:
    fits, too_long = "cat " * 75, "cat " * 76
    assert scorer.truncated([fits, too_long, ""]).tolist() == [False, True, False]
    tokens = scorer.tokenize([fits, too_long])
    assert tokens.shape == (2, 77)
    assert tokens[:, -1].tolist() == [49407, 49407]
    assert torch.equal(tokens[0], tokens[1])


def test_original_checkpoints_with_position_ids_load(folders: dict[str, Path], tmp_path: Path) -> None:
    """The published file was written by transformers 4, which saved these buffers."""
    state = load_file(folders["mini:pickscore"] / "model.safetensors")
    state["text_model.embeddings.position_ids"] = torch.arange(77).expand(1, -1).contiguous()
    state["vision_model.embeddings.position_ids"] = torch.arange(17).expand(1, -1).contiguous()
    save_file(state, tmp_path / "model.safetensors")
    scorer = load_scorer("pickscore", weights=tmp_path, architecture=PICKSCORE)
    assert scorer.info.licence == pickscore.LICENCE


def test_fingerprint_does_not_depend_on_where_the_sizes_come_from(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """config.json beside the weights or architecture=: the same network, the same fingerprint."""
    data = (folders["mini:pickscore"] / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data)
    by_argument = load_scorer("pickscore", weights=tmp_path, architecture=PICKSCORE)
    by_file = load_scorer("pickscore", weights=folders["mini:pickscore"])
    assert by_argument.info.fingerprint == by_file.info.fingerprint


def test_a_tokenizer_that_does_not_end_where_the_tower_reads_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    other = {**PICKSCORE, "text_config": {**PICKSCORE["text_config"], "eos_token_id": 100}}
    with pytest.raises(MissingWeightsError, match="reads the embedding at token 100"):
        load_scorer("pickscore", weights=folders["mini:pickscore"], architecture=other)


def test_published_sizes_are_vit_h_14s() -> None:
    """986,109,441 parameters, as open_clip's ViT-H-14 has; counted without allocating them."""
    with torch.device("meta"):
        network = pickscore.build(pickscore.ARCHITECTURE)
    assert sum(parameter.numel() for parameter in network.parameters()) == 986_109_441


def test_forward_has_gradients_for_both_towers(scorer: Any, pictures: list[Image.Image]) -> None:
    network = pickscore.build(PICKSCORE)
    pickscore.forward(
        network, scorer.preprocess(pictures[:2]), scorer.tokenize(["a cat", "a dog"])
    ).sum().backward()
    for tower in (
        network.vision_model.embeddings.patch_embedding,
        network.text_model.embeddings.token_embedding,
    ):
        assert tower.weight.grad.abs().sum() > 0
