"""HPSv3 against the released code's computation, put together from transformers' whole Qwen2-VL and numpy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.scorers import hpsv3
from prefbench.scorers.hpsv3_network import PIXELS, target_size, to_patches
from prefbench.scorers.hpsv3_prompt import AFTER_IMAGE, BEFORE_IMAGE, INSTRUCTION, REWARD_TOKEN
from prefbench.scorers.registry import load_scorer

from .conftest import _loud, picture

try:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
        smart_resize,
    )
except ImportError:  # transformers 4, whose plain processor is the one on Pillow
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import (  # type: ignore[no-redef]
        Qwen2VLImageProcessor as Qwen2VLImageProcessorPil,
    )
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
SPECIALS += ["<|image_pad|>", "<|video_pad|>"]
# config.json of Qwen/Qwen2-VL-7B-Instruct, its layout and its names, smaller.
CONFIG: dict[str, Any] = {
    "model_type": "qwen2_vl",
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "max_position_embeddings": 4096,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
    "tie_word_embeddings": False,
    "vision_config": {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": 32,
        "mlp_ratio": 2,
        "num_heads": 4,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
    "vocab_size": 9999,
}
PROMPTS = [
    "a red cat",
    "",
    "x " * 300,
    "a caf\u00e9 \U0001f389 &amp; <b> {0}",
    "\u05d7\u05ea\u05d5\u05dc",
    "a red cat",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random weights in the published layout, a tokenizer of Qwen's kind without the reward token.

    The weights are bfloat16, as the published ones are. Not to be written to.
    """
    folder = tmp_path_factory.mktemp("hpsv3")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, special_tokens=SPECIALS, show_progress=False
    )
    tokenizer.train_from_iterator([AFTER_IMAGE] * 3, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(3)
    network = _loud(hpsv3.build({**CONFIG, "vocab_size": tokenizer.get_vocab_size() + 1}))
    state = {}
    for key, value in network.state_dict().items():
        key = f"model.{key.removeprefix('language_model.')}" if key.startswith("language_model.") else key
        state[key] = value.to(torch.bfloat16)
    state["lm_head.weight"] = torch.zeros(tokenizer.get_vocab_size() + 1, 32, dtype=torch.bfloat16)
    save_file(state, folder / "HPSv3.safetensors")
    return folder


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Any:
    return load_scorer("hpsv3", weights=folder)


# The computation, twice


def released(scorer: Any, folder: Path, images: list[Image.Image], prompts: list[str]) -> list[float]:
    """Steps of inference.py and qwen2vl_trainer.py in one padded batch: the text with one <|image_pad|> for each image
    token, image embeddings scattered over them, no position ids, the reward token's hidden state, the head.

    `.to(bfloat16)` is train.py's, and rounds nothing here but the rotary frequencies: the weights are bfloat16.
    """
    config: Any = Qwen2VLConfig(**{**CONFIG, "vocab_size": scorer.tokenizer.get_vocab_size()})
    config._attn_implementation = "eager"
    model: Any = Qwen2VLForConditionalGeneration(config).to(torch.bfloat16).float().eval()
    state = {key: value.float() for key, value in load_file(folder / "HPSv3.safetensors").items()}
    head = {key: state.pop(key).numpy() for key in list(state) if key.startswith("rm_head.")}
    renamed = {
        key
        if key.startswith("lm_head")
        else "model." + key
        if key.startswith("visual.")
        else key.replace("model.", "model.language_model.", 1): value
        for key, value in state.items()
    }
    model.load_state_dict(renamed, strict=True)
    processor = Qwen2VLImageProcessorPil(do_resize=False)
    cut = processor([scorer.open_image(image) for image in images], return_tensors="pt")
    pad = scorer.tokenizer.token_to_id("<|image_pad|>")
    rows = []
    for prompt, grid in zip(prompts, cut["image_grid_thw"], strict=True):
        places = "<|image_pad|>" * int(grid.prod() // 4)
        text = BEFORE_IMAGE + places + AFTER_IMAGE.format(text_prompt=prompt)
        rows.append(torch.tensor(scorer.tokenizer.encode(text).ids))
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)  # <|endoftext|>
    mask = torch.stack([torch.arange(ids.shape[1]) < len(row) for row in rows]).long()
    with torch.no_grad():
        seen = model.model.visual(cut["pixel_values"], grid_thw=cut["image_grid_thw"])
        seen = seen if isinstance(seen, torch.Tensor) else seen.pooler_output
        inputs = model.model.language_model.embed_tokens(ids)
        inputs = inputs.masked_scatter((ids == pad)[..., None].expand_as(inputs), seen)
        hidden = model.model.language_model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
    x = hidden[ids == scorer.tokenizer.token_to_id(REWARD_TOKEN)].double().numpy()
    assert len(x) == len(prompts)
    for layer in (0, 3):
        x = np.maximum(x @ head[f"rm_head.{layer}.weight"].T + head[f"rm_head.{layer}.bias"], 0)
    mu: list[float] = (x @ head["rm_head.5.weight"].T + head["rm_head.5.bias"])[:, 0].tolist()
    return mu


def test_score_equals_the_released_computation(
    scorer: Any, folder: Path, pictures: list[Image.Image]
) -> None:
    expected = released(scorer, folder, pictures, PROMPTS)
    assert np.ptp(expected) > 0.01  # images and prompts matter to these weights
    scores = scorer.score(pictures, PROMPTS)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_prompt_and_image_both_matter(scorer: Any) -> None:
    one, two = picture(40, 60), picture(64, 64)
    base, other_prompt, other_image = scorer.score([one, one, two], ["a cat", "a dog", "a cat"])
    assert abs(base - other_prompt) > 1e-4
    assert abs(base - other_image) > 1e-4


def test_frequencies_are_bfloat16s_and_attention_is_sdpa(scorer: Any) -> None:
    frequencies = {k: v for k, v in scorer.network.named_buffers() if k.endswith("rotary_emb.inv_freq")}
    assert len(frequencies) >= 1
    for value in frequencies.values():
        assert value.dtype == torch.float32
        assert torch.equal(value, value.bfloat16().float())
    for part in (scorer.network.visual, scorer.network.language_model):
        assert part.config._attn_implementation == "sdpa"
    assert scorer.info.identity["backbone"]["attention"] == "sdpa"


def test_template_is_the_trained_one() -> None:
    """Marks that are easy to lose: spaces at line ends, three empty lines, the tokens around the reward."""
    assert BEFORE_IMAGE.endswith("<|im_start|>user\n<|vision_start|>")
    assert AFTER_IMAGE.startswith("<|vision_end|>\nYou are tasked with")
    assert AFTER_IMAGE.count("**  \n") == 2
    assert "being the best. \n\n**Visual Quality:**" in AFTER_IMAGE
    assert AFTER_IMAGE.endswith(
        "Textual prompt - {text_prompt}\n\n\n\nPlease provide the overall ratings of this image: <|Reward|>\n\nEND\n"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    # In the released file the words after it stand at a place that leaves this many characters for the instruction.
    assert len(INSTRUCTION) == 2523


def test_text_is_cut_into_tokens_as_a_whole_would_be(scorer: Any) -> None:
    whole = BEFORE_IMAGE + "<|image_pad|>" + AFTER_IMAGE.format(text_prompt="a cat")
    ids = scorer.tokenizer.encode(whole).ids
    place = ids.index(scorer.tokenizer.token_to_id("<|image_pad|>"))
    assert scorer.tokenizer.encode(BEFORE_IMAGE).ids == ids[:place]
    assert scorer.tokenize(["a cat"])[0].tolist() == ids[place + 1 :]
    assert ids.count(scorer.tokenizer.token_to_id(REWARD_TOKEN)) == 1


# Images


@settings(max_examples=200, deadline=None)
@given(st.integers(28, 4000), st.integers(28, 4000))
def test_sizes_are_those_of_qwens_own_rule(width: int, height: int) -> None:
    """transformers' smart_resize with the budget as both bounds; below 28 pixels it differs by version."""
    assume(max(width, height) <= 200 * min(width, height))
    height_there, width_there = smart_resize(height, width, factor=28, min_pixels=PIXELS, max_pixels=PIXELS)
    assert target_size(width, height, 28) == (width_there, height_there)


def test_patches_are_those_of_qwens_own_processor() -> None:
    images = [picture(56, 84), picture(112, 28), picture(28, 28)]
    ours = to_patches(images, patch=14, merge=2, frames=2)
    theirs = Qwen2VLImageProcessorPil(do_resize=False)(images, return_tensors="pt")
    assert torch.equal(ours.grids, theirs["image_grid_thw"])
    torch.testing.assert_close(ours.values, theirs["pixel_values"], rtol=0, atol=1e-6)


def test_odd_images_are_scored_as_their_rgb(scorer: Any, pictures: list[Image.Image]) -> None:
    image = pictures[0]
    grey = image.convert("L")
    for other, same in (
        (image.convert("RGBA"), image),
        (grey, grey.convert("RGB")),
        (image.convert("CMYK"), image.convert("CMYK").convert("RGB")),
    ):
        np.testing.assert_array_equal(scorer.score([other], ["a cat"]), scorer.score([same], ["a cat"]))
    assert np.isfinite(scorer.score([picture(1, 150)], ["a cat"])).all()


def test_a_strip_beyond_200_to_1_is_refused_with_its_path(scorer: Any, tmp_path: Path) -> None:
    picture(1, 201).save(tmp_path / "strip.png")
    with pytest.raises(
        DataError, match=r"strip\.png has sides of 201 and 1 pixels, more than 200 to 1: crop it"
    ):
        scorer.score([tmp_path / "strip.png"], ["a cat"])
    scorer.score([picture(1, 200)], ["a cat"])


# What a scorer must be


@pytest.mark.parametrize("batch_size", [1, 2, 4, 16])
def test_score_does_not_depend_on_neighbours_or_order(
    scorer: Any, pictures: list[Image.Image], batch_size: int
) -> None:
    """Images of six sizes and texts from 600 to 1200 tokens in one batch."""
    scorer.batch_size = 1
    alone = scorer.score(pictures, PROMPTS)
    scorer.batch_size = batch_size
    order = [3, 1, 5, 0, 4, 2, 1, 1]
    try:
        together = scorer.score([pictures[i] for i in order], [PROMPTS[i] for i in order])
    finally:
        scorer.batch_size = 1
    np.testing.assert_allclose(together, alone[order], rtol=0, atol=1e-5 * np.abs(alone).max())


def test_truncation_marks_prompts_beyond_the_positions(scorer: Any) -> None:
    assert scorer.info.token_limit == 4096
    assert scorer.truncated(["a cat", "", "\U0001f389" * 2000]).tolist() == [False, False, True]


@pytest.mark.parametrize("token", ["<|Reward|>", "<|image_pad|>", "<|video_pad|>"])
def test_a_prompt_with_a_reserved_token_is_refused(scorer: Any, token: str) -> None:
    with pytest.raises(DataError, match=r"holds <\|"):
        scorer.check_prompts(["fine", f"a cat {token}"])
    with pytest.raises(DataError, match=r"holds <\|"):
        scorer.score([picture(40, 60)], [f"a cat {token}"])


def test_nan_weights_are_an_error_that_names_the_image(folder: Path, tmp_path: Path) -> None:
    scorer: Any = load_scorer("hpsv3", weights=folder)
    with torch.no_grad():
        scorer.network.visual.merger.mlp[0].weight.fill_(float("nan"))
    picture(40, 60).save(tmp_path / "one.png")
    with pytest.raises(DataError, match=r"gave nan for .*one\.png"):
        scorer.score([tmp_path / "one.png"], ["a cat"])


def test_bf16_is_a_variant_with_a_float32_head(
    folder: Path, scorer: Any, pictures: list[Image.Image]
) -> None:
    half: Any = load_scorer("hpsv3@bf16", weights=folder)
    assert {p.dtype for p in half.network.language_model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in half.network.rm_head.parameters()} == {torch.float32}
    assert (scorer.info.variant, half.info.variant) == (None, "bf16")
    assert half.info.fingerprint != scorer.info.fingerprint
    full, rounded = (one.score(pictures, PROMPTS) for one in (scorer, half))
    assert 0 < np.abs(full - rounded).max() < 0.1 * np.abs(full).max()
    alone = [half.score([image], [prompt])[0] for image, prompt in zip(pictures, PROMPTS, strict=True)]
    np.testing.assert_array_equal(rounded, alone)
    same: Any = load_scorer("hpsv3", weights=folder, dtype="bfloat16")
    assert same.info.fingerprint == half.info.fingerprint
    with pytest.raises(UsageError, match="leave out"):
        load_scorer("hpsv3@bf16", weights=folder, dtype="float16")
    with pytest.raises(UsageError, match="Unknown variant of hpsv3"):
        load_scorer("hpsv3@int4", weights=folder)


# Weights


def test_current_layout_and_shards_load_the_same(folder: Path, scorer: Any, tmp_path: Path) -> None:
    """transformers 4.52 and later save model.language_model.* and model.visual.*, and cut large models up."""
    names: dict[str, str] = {}
    shards: list[dict[str, torch.Tensor]] = [{}, {}]
    for i, (key, value) in enumerate(sorted(load_file(folder / "HPSv3.safetensors").items())):
        if key.startswith("visual."):
            key = f"model.{key}"
        elif key.startswith("model."):
            key = key.replace("model.", "model.language_model.", 1)
        shards[i % 2][key] = value
        names[key] = f"part-{i % 2}.safetensors"
    for i, shard in enumerate(shards):
        save_file(shard, tmp_path / f"part-{i}.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    for file in ("config.json", "tokenizer.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    other: Any = load_scorer("hpsv3", weights=tmp_path)
    np.testing.assert_array_equal(
        other.score([picture(40, 60)], ["a cat"]), scorer.score([picture(40, 60)], ["a cat"])
    )


def test_foreign_weights_are_an_error_that_lists_keys(folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / "HPSv3.safetensors")
    del state["rm_head.5.bias"]
    state["model.layers.7.mlp.up_proj.weight"] = torch.zeros(1)
    state["model.embed_tokens.weight"] = state["model.embed_tokens.weight"][:-1].clone()
    save_file(state, tmp_path / "HPSv3.safetensors")
    for file in ("config.json", "tokenizer.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    with pytest.raises(MissingWeightsError) as caught:
        load_scorer("hpsv3", weights=tmp_path)
    message = str(caught.value)
    assert "missing (1): rm_head.5.bias" in message
    assert "unexpected (1): language_model.layers.7" in message
    assert "other shape (1): language_model.embed_tokens" in message
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(MissingWeightsError, match="is not a tokenizer"):
        load_scorer("hpsv3", weights=tmp_path)


def test_full_size_network_has_the_published_number_of_weights() -> None:
    """Qwen2-VL-7B-Instruct's index states 16,582,751,232 bytes of bfloat16. Of these the output layer (152064 x 3584) is
    not built, the embedding has 151658 rows, and the head adds its own."""
    published = {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "vision_config": {
            "depth": 32,
            "embed_dim": 1280,
            "hidden_size": 3584,
            "mlp_ratio": 4,
            "num_heads": 16,
        },
        "vocab_size": 151658,
    }
    with torch.device("meta"):
        network = hpsv3.build(published)
    head = 3584 * 1024 + 1024 + 1024 * 16 + 16 + 16 * 2 + 2
    expected = 16_582_751_232 // 2 - 2 * 152064 * 3584 + 151658 * 3584 + head
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
