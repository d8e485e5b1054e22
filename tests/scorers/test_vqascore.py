"""CLIP-FlanT5 against its formula, worked out pair by pair from the published tensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Config, T5ForConditionalGeneration

from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.scorers import vqascore
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream import tiny_flan_t5 as tiny
from prefbench.scorers.vqascore_network import build
from prefbench.scorers.vqascore_weights import TOWER_SIZES

from .conftest import CLIPImageProcessorPil, picture

NAME = "vqascore.clip-flant5-xl"
QUESTION = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
    'polite answers to the user\'s questions. USER: <image>\nDoes this figure show "{}"? Please answer yes or no. '
    "ASSISTANT: "
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_original(tmp_path_factory.mktemp("flan") / "own")


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Any:
    return load_scorer(NAME, weights=folder)


def by_hand(state: dict[str, Tensor], pixels: Tensor, parts: list[list[int]]) -> float:
    """The released code's computation for one pair, on transformers' layers, one after the other."""
    t5 = T5ForConditionalGeneration(T5Config(**tiny.T5, attn_implementation="eager")).eval()
    t5.lm_head = torch.nn.Linear(tiny.T5["d_model"], tiny.TOKENS, bias=False)
    t5.load_state_dict(
        {
            **{k: v for k, v in state.items() if k in t5.state_dict()},
            "lm_head.weight": state["lm_head.weight"][: tiny.TOKENS],
        }
    )
    tower = CLIPVisionModel(CLIPVisionConfig(**tiny.VISION)).eval()
    prefix = "vision_tower.vision_tower.vision_model."
    tower.load_state_dict(
        {key: state[prefix + key.removeprefix("vision_model.")] for key in tower.state_dict()}
    )
    tower = getattr(tower, "vision_model", tower)
    with torch.no_grad():
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        for layer in tower.encoder.layers[:-1]:
            out = layer(hidden, attention_mask=None)
            hidden = out[0] if isinstance(out, tuple) else out
        inner = hidden[:, 1:] @ state["mm_projector.0.weight"].T + state["mm_projector.0.bias"]
        image = (
            torch.nn.functional.gelu(inner) @ state["mm_projector.2.weight"].T + state["mm_projector.2.bias"]
        )
        front, back = (state["shared.weight"][torch.tensor(ids)][None] for ids in parts)
        labels = torch.tensor([[tiny.YES, 1]])
        shifted = torch.tensor([[0, tiny.YES]])
        logits = t5(inputs_embeds=torch.cat([front, image, back], dim=1), decoder_input_ids=shifted).logits
        return float((-torch.nn.CrossEntropyLoss()(logits[0], labels[0])).exp())


def test_score_equals_the_formula_worked_out_pair_by_pair(
    scorer: Any, pictures: list[Image.Image], prompts: list[str]
) -> None:
    state = tiny.published_state()
    for image, prompt, score in zip(pictures, prompts, scorer.score(pictures, prompts), strict=True):
        parts = [scorer.tokenizer.encode(part).ids for part in QUESTION.format(prompt).split("<image>")]
        assert score == pytest.approx(by_hand(state, scorer.preprocess([image]), parts), abs=1e-6)


def test_scores_lie_inside_0_to_1_and_react_to_image_and_prompt(
    scorer: Any, pictures: list[Image.Image]
) -> None:
    images = [pictures[0], pictures[0], pictures[2]]
    scores = scorer.score(images, ["a cat", "a dog", "a cat"])
    assert ((scores > 0.05) & (scores < 0.95)).all()
    assert len(set(np.round(scores, 5))) == 3


@settings(max_examples=5)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_score_does_not_depend_on_batch_neighbours(scorer: Any, order: list[int], batch_size: int) -> None:
    images = [
        picture(h, w, i)
        for i, (h, w) in enumerate([(40, 60), (32, 32), (90, 31), (1, 20), (33, 47), (64, 64)])
    ]
    prompts = ["a cat", "dog, dog", "x " * 100, "", "café 🎉 &amp; <b>", "שלום"]
    scorer.batch_size = batch_size
    scores = scorer.score([images[i] for i in order], [prompts[i] for i in order])
    scorer.batch_size = 1
    alone = [scorer.score([images[i]], [prompts[i]])[0] for i in order[:2]]
    np.testing.assert_allclose(scores[:2], alone, rtol=1e-5)


def test_the_part_before_the_image_has_an_end_token_of_its_own(scorer: Any) -> None:
    """The original tokenizes each part alone: </s> (1) stands right before the image and at the end, nowhere else."""
    before, after = scorer.tokenizer.encode(vqascore.BEFORE_IMAGE).ids, scorer.tokenize(["a cat"])[0].tolist()
    assert before[-1] == after[-1] == 1
    assert (before + after).count(1) == 2
    assert scorer.tokenizer.encode(vqascore.ANSWER).ids == [tiny.YES, 1]


def test_unused_rows_of_the_output_layer_are_no_part_of_the_softmax(folder: Path, tmp_path: Path) -> None:
    """The original cuts the network to the tokenizer's tokens; Flan-T5 has 28 rows more."""
    scores = []
    for loud in (False, True):
        state = tiny.published_state()
        if loud:
            state["lm_head.weight"][tiny.TOKENS :] = 1e3
        scores.append(_single(tmp_path / str(loud), folder, state).score([picture(9, 9)], ["a cat"])[0])
    assert scores[0] == scores[1]


def test_the_output_layer_is_the_files_and_not_the_embedding(scorer: Any) -> None:
    state = tiny.published_state()
    assert torch.equal(scorer.network.t5.lm_head.weight, state["lm_head.weight"])
    assert torch.equal(scorer.network.t5.shared.weight, state["shared.weight"])


def test_the_word_image_in_a_prompt_is_text(scorer: Any) -> None:
    """The original asks for a second image there. Here the prompt's tokens are those of its letters."""
    tokens = scorer.tokenize(["an <image> of {} and {0}"])[0].tolist()
    expected = scorer.tokenizer.encode(vqascore.AFTER_IMAGE.replace("{}", "an <image> of {} and {0}", 1)).ids
    assert tokens == expected
    assert np.isfinite(scorer.score([picture(9, 9)], ["<image>"])).all()


def test_questions_beyond_2048_tokens_are_flagged_and_cut(scorer: Any) -> None:
    """The image counts as one token. "a" is one token, so n of them make the empty question longer by n."""
    empty = len(scorer.tokenizer.encode(vqascore.BEFORE_IMAGE).ids) + 1 + scorer.tokenize([""])[0].numel()
    many = ["a"] * (2048 - empty)
    prompts = [" ".join(many), " ".join([*many, "a"]), "", "a " * 300]
    assert scorer.truncated(prompts).tolist() == [False, True, False, False]
    lengths = (
        (scorer.tokenize(prompts) != 0).sum(dim=1)
        + len(scorer.tokenizer.encode(vqascore.BEFORE_IMAGE).ids)
        + 1
    )
    assert lengths[:2].tolist() == [2048, 2048]


def test_pictures_are_padded_with_the_mean_colour_to_a_square() -> None:
    """3 x 1: one row above and one below; 1 x 4: the spare column comes last. 122, 116, 104 = int(255 * CLIP's mean)."""
    white = (255, 255, 255)
    wide = np.asarray(vqascore.pad_to_square(Image.new("RGB", (3, 1), white)))
    assert wide.shape == (3, 3, 3)
    assert (wide[1] == 255).all()
    assert (wide[[0, 2]] == (122, 116, 104)).all()
    tall = np.asarray(vqascore.pad_to_square(Image.new("RGB", (1, 4), white)))
    assert [(tall[:, x] == 255).all() for x in range(4)] == [False, True, False, False]


@pytest.mark.parametrize("size", [(60, 40), (32, 32), (20, 1), (47, 33), (31, 90)])
def test_preprocessing_equals_transformers_clip_processor_on_the_square(
    scorer: Any, size: tuple[int, int]
) -> None:
    image = picture(size[1], size[0])
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    square = vqascore.pad_to_square(image)
    expected = processor([square], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(scorer.preprocess([image]), expected, rtol=0, atol=2e-6)


def test_every_mode_of_image_is_scored_as_the_rgb_it_stands_for(scorer: Any, tmp_path: Path) -> None:
    image = picture(20, 30)
    opaque = image.copy()
    opaque.putalpha(255)
    opaque.save(tmp_path / "a.png")
    image.convert("L").save(tmp_path / "l.png")
    image.convert("CMYK").save(tmp_path / "c.tif")
    paths = [tmp_path / name for name in ("a.png", "l.png", "c.tif")]
    plain = [image, image.convert("L").convert("RGB"), image.convert("CMYK").convert("RGB")]
    np.testing.assert_array_equal(scorer.score(paths, ["a cat"] * 3), scorer.score(plain, ["a cat"] * 3))


def test_a_strip_whose_square_would_fill_the_memory_is_refused(scorer: Any) -> None:
    with pytest.raises(DataError, match="20000 x 1 pixels would be padded to 20000 x 20000"):
        scorer.score([Image.new("RGB", (20000, 1))], ["a cat"])


def _single(folder: Path, like: Path, state: dict[str, Tensor], **options: Any) -> Any:
    """A scorer over one safetensors file, with configuration and tokenizer of `like`."""
    folder.mkdir()
    for file in ("config.json", "spiece.model"):
        (folder / file).write_bytes((like / file).read_bytes())
    save_file({key: value.clone().contiguous() for key, value in state.items()}, folder / "model.safetensors")
    return load_scorer(
        NAME, weights=folder, architecture={**tiny.CONFIG, "vision_config": tiny.VISION}, **options
    )


def test_one_file_without_the_embeddings_other_names_gives_the_shards_score(
    scorer: Any, folder: Path, tmp_path: Path
) -> None:
    state = {
        key: value for key, value in tiny.published_state().items() if not key.endswith("embed_tokens.weight")
    }
    single = _single(tmp_path / "one", folder, state)
    assert single.score([picture(9, 9)], ["a cat"]) == scorer.score([picture(9, 9)], ["a cat"])


def test_a_tower_beside_the_weights_gives_the_score_of_one_inside(scorer: Any, tmp_path: Path) -> None:
    apart = load_scorer(NAME, weights=tiny.save_original(tmp_path / "apart", tower_inside=False))
    assert apart.score([picture(9, 9)], ["a cat"]) == scorer.score([picture(9, 9)], ["a cat"])
    assert apart.info.fingerprint != scorer.info.fingerprint


def test_half_precision_is_near_and_has_another_fingerprint(scorer: Any, folder: Path) -> None:
    half = load_scorer(NAME, weights=folder, dtype="bfloat16")
    assert half.score([picture(9, 9)], ["a cat"]) == pytest.approx(
        scorer.score([picture(9, 9)], ["a cat"]), abs=0.05
    )
    assert half.info.fingerprint != scorer.info.fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lm_head.weight": None}, r"missing \(1\): t5.lm_head.weight"),
        (
            {"mm_projector.2.bias": None, "extra": torch.zeros(1)},
            r"missing \(1\): mm_projector.2.bias; unexpected \(1\): t5.extra",
        ),
        ({"mm_projector.0.weight": torch.zeros(3, 3)}, r"other shape \(1\): mm_projector.0.weight \(3, 3\)"),
        ({"decoder.embed_tokens.weight": torch.zeros(3, 3)}, "two different embeddings"),
    ],
)
def test_weights_that_do_not_fit_are_listed(
    folder: Path, tmp_path: Path, change: dict[str, Tensor | None], said: str
) -> None:
    state = {key: value for key, value in {**tiny.published_state(), **change}.items() if value is not None}
    with pytest.raises(MissingWeightsError, match=said):
        _single(tmp_path / "bad", folder, state)


def test_weights_that_are_not_numbers_are_an_error_with_the_image(folder: Path, tmp_path: Path) -> None:
    state = tiny.published_state()
    state["mm_projector.0.bias"][0] = torch.nan
    broken = _single(tmp_path / "nan", folder, state)
    picture(9, 9).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"gave nan for .*x\.png"):
        broken.score([tmp_path / "x.png"], ["a cat"])


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "pytorch_model-00002-of-00002.bin",
            None,
            "these are not beside it: pytorch_model-00002-of-00002.bin",
        ),
        ("pytorch_model.bin.index.json", "{}", "is not an index of shards"),
        ("pytorch_model.bin.index.json", '{"weight_map": {"a": "../a.bin"}}', "not beside it: ../a.bin"),
        ("pytorch_model.bin.index.json", None, "has no weights: looked for model.safetensors"),
        ("pytorch_model-00001-of-00002.bin", "cut", "a text file, not weights"),
        ("config.json", None, "has no config.json"),
        ("spiece.model", "cut", "cannot be read"),
    ],
)
def test_an_incomplete_folder_is_refused_by_name(
    tmp_path: Path, file: str, text: str | None, said: str
) -> None:
    folder = tiny.save_original(tmp_path / "own")
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(MissingWeightsError, match=said):
        load_scorer(NAME, weights=folder)


def test_an_unknown_tower_or_projector_is_refused(folder: Path, tmp_path: Path) -> None:
    config = {**tiny.CONFIG, "mm_vision_tower": "someone/tower"}
    with pytest.raises(
        MissingWeightsError, match="'someone/tower'.* is neither openai/clip-vit-large-patch14-336"
    ):
        load_scorer(NAME, weights=folder, architecture=config)
    (tmp_path / "config.json").write_text(
        json.dumps({**tiny.CONFIG, "mm_projector_type": "qformer"}), encoding="utf-8"
    )
    with pytest.raises(MissingWeightsError, match="mm_projector_type 'qformer'"):
        load_scorer(
            NAME,
            weights=folder,
            architecture={**tiny.CONFIG, "vision_config": tiny.VISION, "mm_projector_type": "qformer"},
        )


def test_a_variant_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="has no variants"):
        load_scorer(f"{NAME}@bf16", weights=folder)


def test_published_sizes_make_the_published_files_size() -> None:
    """3,159,560,192 parameters of 2 bytes are 6.32 GB; public code quotes 6.33 GB for the whole xl repository. The 28
    rows beyond the tokenizer are among them, and the tower is: without it the file would have 5.71 GB."""
    architecture = {
        **tiny.CONFIG,
        "vocab_size": 32128,
        "d_model": 2048,
        "d_kv": 64,
        "d_ff": 5120,
        "num_layers": 24,
        "num_decoder_layers": 24,
        "num_heads": 32,
        "relative_attention_num_buckets": 32,
        "vision_config": TOWER_SIZES,
    }
    with torch.device("meta"):
        network = build(architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_159_560_192
