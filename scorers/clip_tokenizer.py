"""CLIP's tokenizer as transformers has it: from a folder, or without a download from open_clip's merges."""

import gzip
import json
import tempfile
from functools import cache, lru_cache
from pathlib import Path

from open_clip.tokenizer import bytes_to_unicode, default_bpe
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from prefbench.scorers.fingerprint import sha256_of_json

__all__ = ["bundled_tokenizer", "has_tokenizer", "read_tokenizer", "vocabulary_hash"]

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
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : MERGES + 1]
    symbols = list(bytes_to_unicode().values())
    tokens = [
        *symbols,
        *(symbol + "</w>" for symbol in symbols),
        *("".join(merge.split()) for merge in merges),
    ]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vocab.json").write_text(
            json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8"
        )
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(
            json.dumps(
                {
                    "tokenizer_class": "CLIPTokenizer",
                    "bos_token": "<|startoftext|>",
                    "eos_token": "<|endoftext|>",
                    "unk_token": "<|endoftext|>",
                    "pad_token": "<|endoftext|>",
                    "model_max_length": 77,
                }
            ),
            encoding="utf-8",
        )
        return read_tokenizer(folder)


@lru_cache(maxsize=8)
def vocabulary_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of token -> id, for a fingerprint."""
    return sha256_of_json(tokenizer.get_vocab())
