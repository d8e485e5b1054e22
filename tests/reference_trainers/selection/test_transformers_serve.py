"""Ratings by a real `transformers serve` process with a tiny random model, against the model asked directly."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from prefbench.bench.exceptions import UsageError
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.reference_trainers.selection.llm_ratings import TEMPLATE, UNPARSABLE, parse_reply, rate_by_llm
from prefbench.reference_trainers.selection.llm_server import LlmServer

pytest.importorskip("fastapi")
pytest.importorskip("openai")
pytest.importorskip("uvicorn")

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
    """The address of a `transformers serve` that has no way to any hub."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = Path(sys.executable).with_name("transformers")
    log = tmp_path / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [command, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"},
        )
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2, trust_env=False).is_success:
                    break
            except httpx.TransportError:
                pass  # it is still starting: the deadline and the process are looked at below
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_ratings_are_those_of_the_model_and_a_second_run_needs_no_server(
    folder: Path, served: str, tmp_path: Path
):
    replies = [parse_reply(reply) for reply in said_directly(folder, PROMPTS)]
    expected = [np.nan if reply is None else np.mean(list(reply.values())) for reply in replies]
    assert any(reply is None for reply in replies), "the random model rates everything: take another seed"
    assert any(reply is not None for reply in replies), "the random model rates nothing: take another seed"
    with MeasureCache(tmp_path / "cache") as cache:
        server = LlmServer(served, str(folder), 2, 60.0)
        found = rate_by_llm(PROMPTS, server, cache, concurrency=2)
        np.testing.assert_allclose(found.rating, expected, rtol=1e-12)
        assert [reason == UNPARSABLE for reason in found.reason] == [reply is None for reply in replies]
        nowhere = LlmServer("http://127.0.0.1:9/v1", str(folder), 1, 1.0)
        again = rate_by_llm(PROMPTS, nowhere, cache, concurrency=2)
        np.testing.assert_equal(again.rating, found.rating)
        wrong_path = LlmServer(served.removesuffix("/v1"), str(folder), 2, 60.0)
        with pytest.raises(UsageError, match="answers 404.*Mend llm_url"):
            rate_by_llm(["another prompt"], wrong_path, cache, concurrency=1)
