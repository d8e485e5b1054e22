"""HPSv2 and the CLIP scores against open_clip's own logits and hand-made formulas."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers import clip, hpsv2
from prefbench.scorers.image_io import open_rgb
from prefbench.scorers.open_clip_tower import build_clip, open_tokenizer, save_clip_folder, write_bpe
from prefbench.scorers.preprocess import letterbox, normalise
from prefbench.scorers.registry import load_scorer

from .conftest import MERGES, SIDE, TOWER

PUBLISHED_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
SMALL = {**TOWER, "text_cfg": PUBLISHED_TEXT}


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network in HPSv2's own file format, with CLIP's own tokenizer."""
    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("hps") / "HPS_v2.1_compressed.pt"
    torch.save({"state_dict": build_clip(SMALL).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def hps(folders: dict[str, Path]) -> Any:
    return load_scorer("mini:hpsv2", weights=folders["mini:hpsv2"])


def test_hpsv2_equals_the_cosine_of_open_clips_features(
    hps: Any, pictures: list[Image.Image], prompts: list[str]
) -> None:
    pixels = normalise(torch.stack([letterbox(open_rgb(image), SIDE, antialias=True) for image in pictures]))
    with torch.no_grad():
        image, text, _ = hps.network(pixels, hps.tokenize(prompts))
    expected = (normalize(image, dim=-1) @ normalize(text, dim=-1).T).diagonal()
    np.testing.assert_allclose(hps.score(pictures, prompts), expected.numpy(), atol=1e-6)


def test_hpsv2_does_not_read_the_logit_scale(
    hps: Any, pictures: list[Image.Image], prompts: list[str]
) -> None:
    expected = hps.score(pictures, prompts)
    with torch.no_grad():
        hps.network.logit_scale.add_(1)
    np.testing.assert_array_equal(hps.score(pictures, prompts), expected)


def test_hpsv2_loads_its_own_file_format_by_version(small_file: Path, pictures: list[Image.Image]) -> None:
    scorers = [
        load_scorer(name, weights=weights, architecture=SMALL)
        for name, weights in (
            ("hpsv2.1", small_file),
            ("hpsv2.1", small_file.parent),
            ("hpsv2.0", small_file),
        )
    ]
    scores = [scorer.score(pictures[:2], ["a cat", "a dog"]) for scorer in scorers]
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[0], scores[2])
    with pytest.raises(MissingWeightsError, match=r"HPS_v2_compressed\.pt"):
        load_scorer("hpsv2.0", weights=small_file.parent, architecture=SMALL)


def test_hpsv2_variants_differ_by_the_resize_alone(small_file: Path, pictures: list[Image.Image]) -> None:
    default, named, legacy = (
        load_scorer(name, weights=small_file, architecture=SMALL)
        for name in ("hpsv2.1", "hpsv2.1@antialias", "hpsv2.1@legacy-noaa")
    )
    assert default.info.fingerprint == named.info.fingerprint
    assert (default.info.variant, legacy.info.variant) == ("antialias", "legacy-noaa")
    assert legacy.info.name == "hpsv2.1@legacy-noaa"
    differing = {
        key for key in default.info.identity if default.info.identity[key] != legacy.info.identity[key]
    }
    assert differing == {"resize"}
    large, exact = pictures[5], pictures[1]
    prompts = ["a cat", "a cat"]
    before, after = default.score([large, exact], prompts), legacy.score([large, exact], prompts)
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_prompts_beyond_77_tokens_are_flagged_and_keep_their_end_token(small_file: Path) -> None:
    scorer: Any = load_scorer("hpsv2.1", weights=small_file, architecture=SMALL)
    fits, too_long = "cat " * 75, "cat " * 76
    assert scorer.truncated([fits, too_long]).tolist() == [False, True]
    assert scorer.tokenize([too_long])[0, -1] == scorer.tokenizer.eot_token_id == 49407


CLIP_FILE = {"openai-vit-l-14": True, "openai-vit-b-32": True, "vit-h-14-laion2b": False}


def clip_scorer(name: str, folder: Path) -> Any:
    """A clip:... name on a small network whose activation is the one that the table states for the published
    weights."""
    quick = CLIP_FILE[name.split(":")[1]]
    return load_scorer(name, weights=folder, architecture={**SMALL, "quick_gelu": quick})


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(12)
    folder = tmp_path_factory.mktemp("clip")
    save_clip_folder(folder, build_clip(SMALL), SMALL)
    return folder


def test_cos100_is_a_hundred_times_cos(
    clip_folder: Path, pictures: list[Image.Image], prompts: list[str]
) -> None:
    cos, cos100 = (clip_scorer(f"clip:openai-vit-l-14:{form}", clip_folder) for form in ("cos", "cos100"))
    np.testing.assert_allclose(cos100.score(pictures, prompts), 100 * cos.score(pictures, prompts), rtol=1e-6)
    assert cos.info.fingerprint != cos100.info.fingerprint


def test_clipscore_is_2_5_times_the_clamped_cosine_with_the_prefix(
    clip_folder: Path, pictures: list[Image.Image]
) -> None:
    scorer = clip_scorer("clip:openai-vit-b-32:clipscore", clip_folder)
    plain = clip_scorer("clip:openai-vit-l-14:cos", clip_folder)
    images = pictures * 4
    prompts = [f"{word} {i}" for i, word in enumerate(["cat", "dog", "red", "sky"] * 6)]
    cosines = plain.score(images, ["A photo depicts " + prompt for prompt in prompts])
    assert (cosines < 0).any()
    assert (cosines > 0).any()
    np.testing.assert_allclose(
        scorer.score(images, prompts), 2.5 * np.maximum(cosines, 0), rtol=1e-5, atol=1e-7
    )


def test_clipscores_prefix_counts_towards_the_limit(clip_folder: Path) -> None:
    """ "A photo depicts" is 3 tokens: 72 of 75 places are left."""
    scorer = clip_scorer("clip:openai-vit-b-32:clipscore", clip_folder)
    assert scorer.truncated(["cat " * 72, "cat " * 73]).tolist() == [False, True]


def test_letterbox_form_equals_hpsv2_on_the_same_weights(
    clip_folder: Path, pictures: list[Image.Image], prompts: list[str]
) -> None:
    as_clip = clip_scorer("clip:vit-h-14-laion2b:letterbox", clip_folder)
    as_hps = load_scorer("hpsv2.1", weights=clip_folder)
    np.testing.assert_array_equal(as_clip.score(pictures, prompts), as_hps.score(pictures, prompts))
    cropped = clip_scorer("clip:openai-vit-l-14:cos", clip_folder)
    assert not np.allclose(as_clip.score(pictures[:1], prompts[:1]), cropped.score(pictures[:1], prompts[:1]))


def test_quick_gelu_is_stated_with_the_weights_and_changes_the_score(
    clip_folder: Path, pictures: list[Image.Image], prompts: list[str]
) -> None:
    assert {
        name: model.architecture["quick_gelu"] for name, model in clip.MODELS.items() if name in CLIP_FILE
    } == CLIP_FILE
    assert hpsv2.ARCHITECTURE["quick_gelu"] is False
    quick, plain = (
        load_scorer(
            "clip:openai-vit-l-14:cos", weights=clip_folder, architecture={**SMALL, "quick_gelu": flag}
        )
        for flag in (True, False)
    )
    assert not np.allclose(quick.score(pictures, prompts), plain.score(pictures, prompts))
    assert quick.info.fingerprint != plain.info.fingerprint


@pytest.mark.parametrize("gone", ["quick_gelu", "embed_dim", "vision_cfg"])
def test_an_architecture_without_a_field_is_refused_not_guessed(gone: str, small_file: Path) -> None:
    lacking = {key: value for key, value in SMALL.items() if key != gone}
    with pytest.raises(MissingWeightsError, match=f"Scorer hpsv2.1 .*{small_file.name}.*lacks {gone}"):
        load_scorer("hpsv2.1", weights=small_file, architecture=lacking)


def test_architecture_may_be_a_file_and_a_broken_one_is_named(small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(MissingWeightsError, match=r"a\.json"):
        load_scorer("hpsv2.1", weights=small_file, architecture=tmp_path / "a.json")
    (tmp_path / "a.json").write_text(
        '{"embed_dim": 1, "quick_gelu": true, "vision_cfg": {"odd": 1}, "text_cfg": {}}'
    )
    with pytest.raises(MissingWeightsError, match="odd"):
        load_scorer("hpsv2.1", weights=small_file, architecture=str(tmp_path / "a.json"))


def test_openai_state_dicts_with_their_sizes_load(clip_folder: Path, tmp_path: Path) -> None:
    """openai/CLIP's own state dict carries three integers that are no parameters."""
    state = build_clip(SMALL).state_dict()
    sizes = {"input_resolution": SIDE, "context_length": 77, "vocab_size": 49408}
    torch.save({**state, **{key: torch.tensor(value) for key, value in sizes.items()}}, tmp_path / "ViT.pt")
    load_scorer("clip:openai-vit-l-14:cos", weights=tmp_path / "ViT.pt", architecture=SMALL)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("openai-vit-l-14", 427_616_513), ("openai-vit-b-32", 151_277_313), ("vit-h-14-laion2b", 986_109_441)],
)
def test_published_sizes_have_the_known_number_of_parameters(name: str, parameters: int) -> None:
    """Counts that open_clip documents for these models."""
    with torch.device("meta"):
        network = build_clip(clip.MODELS[name].architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


# The tokenizer's own merges


def test_own_merges_make_512_plus_merges_plus_2_tokens(tmp_path: Path) -> None:
    write_bpe(tmp_path / "bpe.txt.gz", MERGES)
    tokenizer = open_tokenizer(TOWER, tmp_path, "s")
    assert tokenizer.vocab_size == 512 + len(MERGES) + 2
    assert tokenizer.sot_token_id == tokenizer.vocab_size - 2
    assert tokenizer.eot_token_id == tokenizer.vocab_size - 1
    assert tokenizer.encode("cat dog") == [512 + 1, 512 + 3]
    assert tokenizer(["cat"])[0, :4].tolist() == [tokenizer.sot_token_id, 513, tokenizer.eot_token_id, 0]


def test_every_text_tokenizes_with_own_merges(tmp_path: Path, prompts: list[str]) -> None:
    write_bpe(tmp_path / "bpe.txt.gz", MERGES)
    tokenizer = open_tokenizer(TOWER, tmp_path, "s")
    for prompt in prompts:
        assert all(0 <= token < tokenizer.vocab_size - 2 for token in tokenizer.encode(prompt))


def test_merges_file_is_the_same_for_the_same_merges(tmp_path: Path) -> None:
    for part in ("a", "b"):
        write_bpe(tmp_path / part, MERGES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert gzip.decompress((tmp_path / "a").read_bytes()).decode().splitlines()[1] == "c a"


def test_a_tokenizer_of_another_size_than_the_tower_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for file in folders["mini:clip"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    write_bpe(tmp_path / "bpe.txt.gz", MERGES[:3])
    with pytest.raises(MissingWeightsError, match="517 tokens and the text tower 520"):
        load_scorer("mini:clip", weights=tmp_path)
