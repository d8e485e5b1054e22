"""CLIP's tokenizer as transformers has it: from a folder, or without a download from open_clip's merges.

And what scorers on transformers' towers do with one: pad, count, check.
"""

import gzip
import json
import tempfile
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from open_clip.tokenizer import bytes_to_unicode, default_bpe
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers.fingerprint import sha256_of_json

__all__ = [
    "bundled_tokenizer",
    "check_tokenizer",
    "has_tokenizer",
    "longer_than",
    "padded_ids",
    "read_tokenizer",
    "vocabulary_hash",
    "write_tokenizer",
]

# openai/CLIP clip/simple_tokenizer.py: 49152 - 256 - 2 merges follow the header line [CODE].
MERGES = 49152 - 256 - 2


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds tokenizer files."""
    return (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file()


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The CLIP tokenizer of a local folder."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    return tokenizer


@cache
def bundled_tokenizer() -> PreTrainedTokenizerBase:
    """CLIP's own 49,408 tokens, from the merges file inside the open_clip package."""
    with tempfile.TemporaryDirectory() as name:
        write_tokenizer(Path(name))
        return read_tokenizer(Path(name))


def write_tokenizer(folder: Path) -> None:
    """Write the files from which transformers makes CLIP's own tokenizer.

    Args:
        folder: exists.
    """
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : MERGES + 1]
    symbols = list(bytes_to_unicode().values())
    tokens = [
        *symbols,
        *(symbol + "</w>" for symbol in symbols),
        *("".join(merge.split()) for merge in merges),
    ]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 77,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


@lru_cache(maxsize=8)
def vocabulary_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of token -> id, for a fingerprint."""
    return sha256_of_json(tokenizer.get_vocab())


def padded_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], limit: int) -> Tensor:
    """B texts -> int64 (B, limit): padded to the limit, cut there with the end token kept last."""
    encoded = tokenizer(
        list(prompts), padding="max_length", truncation=True, max_length=limit, return_tensors="pt"
    )
    ids: Tensor = encoded["input_ids"]
    return ids


def longer_than(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], limit: int) -> NDArray[np.bool_]:
    """Which of N prompts have more tokens than `limit`, specials included, shape (N,)."""
    lengths = map(len, tokenizer(list(prompts), verbose=False)["input_ids"])
    return np.fromiter((length > limit for length in lengths), dtype=bool, count=len(prompts))


def check_tokenizer(text: Any, tokenizer: PreTrainedTokenizerBase, name: str, path: Path) -> None:
    """Refuse a tokenizer that is not the text tower's: `text` is its CLIPTextConfig, `path` that of the weights.

    Raises: MissingWeightsError.
    """
    # A configuration older than transformers 4.31 says 2 and means "the largest id", which is the end token.
    if len(tokenizer) > text.vocab_size or text.eos_token_id not in (2, tokenizer.eos_token_id):
        raise MissingWeightsError(
            f"Scorer {name}: the tokenizer has {len(tokenizer)} tokens, end token {tokenizer.eos_token_id}; "
            "the text "
            f"tower has {text.vocab_size} and reads the embedding at token {text.eos_token_id}. "
            f"Put the matching tokenizer files beside {path}."
        )
