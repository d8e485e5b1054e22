"""Ratings by a real `transformers serve` process with a tiny random model, against the model asked directly."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers_server import serving

from prefbench.bench.chat_server import ChatServer
from prefbench.bench.exceptions import UsageError
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.reference_trainers.selection.llm_ratings import TEMPLATE, UNPARSABLE, parse_reply, rate_by_llm

pytest.importorskip("fastapi")
pytest.importorskip("openai")
pytest.importorskip("uvicorn")

WRITTEN = {"address_in": "llm_url", "model_in": "text_quality"}
PROMPTS = [
    "a cat",
    "the sky over Kyoto",
    "dog",
    'fish "in" the sea',
    "asdf",
    "日本の城",
    "two red cubes",
    "9",
]
SAYINGS = [
    *(json.dumps({"clarity": i, "structure": 10 - i, "harmlessness": 7 * i % 11}) for i in range(8)),
    "I would rather not say.",
    "A fine prompt!",
    '{"clarity": 3',
]


def write_model(folder: Path) -> Path:
    """A random Llama of one layer that reads bytes and says one of SAYINGS, each a single token, and then stops."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    rules = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules)
    tokenizer.add_tokens(SAYINGS)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    said = list(range(len(letters), len(tokenizer)))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=1.0,
        bos_token_id=None,
        eos_token_id=said,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=said, pad_token_id=0, suppress_tokens=list(range(len(letters)))
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def said_directly(folder: Path, prompts: list[str]) -> list[str]:
    """What the model says to each prompt, greedily, without any server."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    replies = []
    for prompt in prompts:
        message = {"role": "user", "content": TEMPLATE + json.dumps(prompt, ensure_ascii=False)}
        inputs = tokenizer.apply_chat_template(
            [message], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, do_sample=False, max_new_tokens=8)
        replies.append(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return replies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny-llama")


@pytest.fixture
def served(folder: Path, tmp_path: Path) -> Iterator[str]:
    with serving(folder, tmp_path / "serve.log") as url:
        yield url


def test_ratings_are_those_of_the_model_and_a_second_run_needs_no_server(
    folder: Path, served: str, tmp_path: Path
):
    replies = [parse_reply(reply) for reply in said_directly(folder, PROMPTS)]
    expected = [np.nan if reply is None else np.mean(list(reply.values())) for reply in replies]
    assert any(reply is None for reply in replies), "the random model rates everything: take another seed"
    assert any(reply is not None for reply in replies), "the random model rates nothing: take another seed"
    with MeasureCache(tmp_path / "cache") as cache:
        server = ChatServer(served, str(folder), 2, 60.0, **WRITTEN)
        found = rate_by_llm(PROMPTS, server, cache, concurrency=2)
        np.testing.assert_allclose(found.rating, expected, rtol=1e-12)
        assert [reason == UNPARSABLE for reason in found.reason] == [reply is None for reply in replies]
        nowhere = ChatServer("http://127.0.0.1:9/v1", str(folder), 1, 1.0, **WRITTEN)
        again = rate_by_llm(PROMPTS, nowhere, cache, concurrency=2)
        np.testing.assert_equal(again.rating, found.rating)
        wrong_path = ChatServer(served.removesuffix("/v1"), str(folder), 2, 60.0, **WRITTEN)
        with pytest.raises(UsageError, match="answers 404.*Mend llm_url"):
            rate_by_llm(["another prompt"], wrong_path, cache, concurrency=1)
