"""ImageReward under its published names, against the model written out in plain torch from those names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers import imagereward
from prefbench.scorers.imagereward_keys import original_to_ours
from prefbench.scorers.registry import load_scorer

from .conftest import IMAGEREWARD, VOCABULARY

State = dict[str, Tensor]
VISION, TEXT = IMAGEREWARD["vision"], IMAGEREWARD["text"]


def original_state() -> State:
    """A small ImageReward.pt: the names and shapes of the published file, random values."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return 0.5 * torch.randn(shape, generator=generator)

    state: State = {}

    def dense(name: str, inside: int, outside: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = draw(outside, inside), draw(outside)

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + draw(width), draw(width)

    width, hidden, side, patch = (
        VISION[key] for key in ("hidden_size", "intermediate_size", "image_size", "patch_size")
    )
    eye = "blip.visual_encoder."
    state[eye + "cls_token"] = draw(1, 1, width)
    state[eye + "pos_embed"] = draw(1, (side // patch) ** 2 + 1, width)
    state[eye + "patch_embed.proj.weight"], state[eye + "patch_embed.proj.bias"] = (
        draw(width, 3, patch, patch),
        draw(width),
    )
    for i in range(VISION["num_hidden_layers"]):
        block = f"{eye}blocks.{i}."
        norm(block + "norm1", width)
        dense(block + "attn.qkv", width, 3 * width)
        dense(block + "attn.proj", width, width)
        norm(block + "norm2", width)
        dense(block + "mlp.fc1", width, hidden)
        dense(block + "mlp.fc2", hidden, width)
    norm(eye + "norm", width)

    words, inner = TEXT["hidden_size"], TEXT["intermediate_size"]
    book = "blip.text_encoder."
    state[book + "embeddings.position_ids"] = torch.arange(TEXT["max_position_embeddings"])[None]
    state[book + "embeddings.word_embeddings.weight"] = draw(TEXT["vocab_size"], words)
    state[book + "embeddings.position_embeddings.weight"] = draw(TEXT["max_position_embeddings"], words)
    norm(book + "embeddings.LayerNorm", words)
    for i in range(TEXT["num_hidden_layers"]):
        layer = f"{book}encoder.layer.{i}."
        for kind, source in (("attention", words), ("crossattention", width)):
            dense(f"{layer}{kind}.self.query", words, words)
            dense(f"{layer}{kind}.self.key", source, words)
            dense(f"{layer}{kind}.self.value", source, words)
            dense(f"{layer}{kind}.output.dense", words, words)
            norm(f"{layer}{kind}.output.LayerNorm", words)
        dense(layer + "intermediate.dense", words, inner)
        dense(layer + "output.dense", inner, words)
        norm(layer + "output.LayerNorm", words)
    dense("blip.vision_proj", width, 256)
    dense("blip.text_proj", words, 256)
    sizes = [words, *IMAGEREWARD["mlp"], 1]
    for place, inside, outside in zip((0, 2, 4, 6, 7), sizes, sizes[1:], strict=False):
        dense(f"mlp.layers.{place}", inside, outside)
    return state


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """softmax(q k / sqrt(d)) v, heads side by side."""

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    q, k, v = split(query), split(key), split(value)
    logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        logits = logits.masked_fill(mask[:, None, None] == 0, -1e4)
    return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)


def written_out(state: State, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The paper's model from the published names: ViT (pre-norm, eps 1e-6), BERT (post-norm, eps 1e-12), five
    linear layers."""

    def dense(name: str, x: Tensor) -> Tensor:
        return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: Tensor, eps: float) -> Tensor:
        return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    eye = "blip.visual_encoder."
    patches = conv2d(
        pixels,
        state[eye + "patch_embed.proj.weight"],
        state[eye + "patch_embed.proj.bias"],
        VISION["patch_size"],
    )
    x = torch.cat(
        [state[eye + "cls_token"].expand(len(pixels), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1
    )
    x = x + state[eye + "pos_embed"]
    for i in range(VISION["num_hidden_layers"]):
        block = f"{eye}blocks.{i}."
        q, k, v = dense(block + "attn.qkv", norm(block + "norm1", x, 1e-6)).chunk(3, dim=-1)
        x = x + dense(block + "attn.proj", attend(q, k, v, VISION["num_attention_heads"]))
        x = x + dense(block + "mlp.fc2", gelu(dense(block + "mlp.fc1", norm(block + "norm2", x, 1e-6))))
    image = norm(eye + "norm", x, 1e-6)

    book = "blip.text_encoder."
    x = state[book + "embeddings.word_embeddings.weight"][ids]
    x = norm(
        book + "embeddings.LayerNorm",
        x + state[book + "embeddings.position_embeddings.weight"][: ids.shape[1]],
        1e-12,
    )
    for i in range(TEXT["num_hidden_layers"]):
        layer = f"{book}encoder.layer.{i}."
        for kind in ("attention", "crossattention"):
            source, seen = (x, mask) if kind == "attention" else (image, None)
            parts = [
                dense(f"{layer}{kind}.self.{part}", s)
                for part, s in (("query", x), ("key", source), ("value", source))
            ]
            heads = attend(*parts, TEXT["num_attention_heads"], seen)
            x = norm(
                f"{layer}{kind}.output.LayerNorm", dense(f"{layer}{kind}.output.dense", heads) + x, 1e-12
            )
        grown = dense(layer + "output.dense", gelu(dense(layer + "intermediate.dense", x)))
        x = norm(layer + "output.LayerNorm", grown + x, 1e-12)
    reward = x[:, 0]
    for place in (0, 2, 4, 6, 7):
        reward = dense(f"mlp.layers.{place}", reward)
    return (reward[:, 0] - 0.16717362830052426) / 1.0333394966054072


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as people have it: ImageReward.pt, vocab.txt."""
    folder = tmp_path_factory.mktemp("imagereward")
    torch.save(original_state(), folder / "ImageReward.pt")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return folder


def test_score_equals_the_model_written_out_from_the_published_names(
    original: Path, pictures: list[Image.Image], prompts: list[str]
) -> None:
    scorer: Any = load_scorer("imagereward", weights=original / "ImageReward.pt", architecture=IMAGEREWARD)
    tokens = scorer.tokenize(prompts)
    expected = written_out(original_state(), scorer.preprocess(pictures), tokens[:, 0], tokens[:, 1])
    assert expected.std() > 0.05
    np.testing.assert_allclose(scorer.score(pictures, prompts), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_published_names_load_strictly(original: Path, tmp_path: Path) -> None:
    """Unused parts of BLIP may be there or not; anything else missing or added is an error that names it."""
    state = original_state()
    for key in [key for key in state if "vision_proj" in key or "text_proj" in key or "position_ids" in key]:
        del state[key]
    (tmp_path / "vocab.txt").write_bytes((original / "vocab.txt").read_bytes())
    torch.save(state, tmp_path / "ImageReward.pt")
    load_scorer("imagereward", weights=tmp_path, architecture=IMAGEREWARD)
    state["blip.text_encoder.pooler.dense.weight"] = state.pop(
        "blip.text_encoder.encoder.layer.1.crossattention.self.key.bias"
    )
    torch.save(state, tmp_path / "ImageReward.pt")
    with pytest.raises(MissingWeightsError) as error:
        load_scorer("imagereward", weights=tmp_path, architecture=IMAGEREWARD)
    assert "missing (1): text.encoder.layer.1.crossattention.self.key.bias" in str(error.value)
    assert "unexpected (1): text.pooler.dense.weight" in str(error.value)


def test_every_published_name_has_another_one_here() -> None:
    names = [key for key in original_state() if not key.startswith(("blip.vision_proj", "blip.text_proj"))]
    ours = [original_to_ours(key) for key in names]
    assert len(set(ours)) == len(names)
    assert not any(key.startswith(("blip.", "mlp.layers")) for key in ours)


def test_med_config_beside_the_weights_sets_the_text_sizes(original: Path, tmp_path: Path) -> None:
    """With the published vision sizes the tiny file cannot fit, but the text encoder's keys do: the file was
    read."""
    for file in original.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "med_config.json").write_text('{"vocab_size": 66}')
    with pytest.raises(MissingWeightsError, match=r"med_config\.json cannot be used"):
        load_scorer("imagereward", weights=tmp_path)


def test_prompts_beyond_35_tokens_are_flagged_and_cut_with_sep_last(folders: dict[str, Path]) -> None:
    scorer: Any = load_scorer("mini:imagereward", weights=folders["mini:imagereward"])
    fits, too_long = "cat " * 33, "cat " * 34
    assert scorer.truncated([fits, too_long, ""]).tolist() == [False, True, False]
    tokens = scorer.tokenize([fits, too_long, "dog"])
    assert tokens.shape == (3, 2, 35)
    assert torch.equal(tokens[0], tokens[1])
    separator, padding = VOCABULARY.index("[SEP]"), VOCABULARY.index("[PAD]")
    assert tokens[0, 0, -1] == separator
    assert tokens[2, 0, :4].tolist() == [
        VOCABULARY.index("[CLS]"),
        VOCABULARY.index("dog"),
        separator,
        padding,
    ]
    assert tokens[2, 1].tolist() == [1, 1, 1] + [0] * 32


def test_what_stands_behind_the_limit_has_no_say_and_what_stands_before_has(
    folders: dict[str, Path], pictures: list[Image.Image]
) -> None:
    scorer = load_scorer("mini:imagereward", weights=folders["mini:imagereward"])
    cats = "cat " * 33
    prompts = [cats + "dog", cats + "red", "dog " + cats]
    first, second, third = scorer.score([pictures[0]] * 3, prompts)
    assert first == second
    assert first != third


def test_a_vocabulary_that_is_none_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for file in folders["mini:imagereward"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(MissingWeightsError, match=r"not a BERT vocabulary: it lacks \[PAD\]"):
        load_scorer("mini:imagereward", weights=tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]))
    with pytest.raises(MissingWeightsError, match="tokens and the text encoder"):
        load_scorer("mini:imagereward", weights=tmp_path)


def test_published_sizes_are_blip_large_with_bert_base() -> None:
    """The text encoder is counted by hand; the MLP has as many parameters as LAION's v2 head, 927,969."""
    with torch.device("meta"):
        network = imagereward.build(imagereward.ARCHITECTURE)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert count["vision"] == 303_301_632
    assert count["mlp"] == 927_969
    embeddings = (30_524 + 512) * 768 + 2 * 768
    attention = 4 * (768 * 768 + 768) + 2 * 768
    cross = 2 * (768 * 768 + 768) + 2 * (1024 * 768 + 768) + 2 * 768
    feed_forward = 2 * 768 * 3072 + 3072 + 768 + 2 * 768
    assert count["text"] == embeddings + 12 * (attention + cross + feed_forward)
