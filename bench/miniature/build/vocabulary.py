"""Byte-pair merges that make every word of this world one token, for CLIPTokenizer and for open_clip's tokenizer."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

from open_clip.tokenizer import bytes_to_unicode
from transformers import CLIPTokenizer

from prefbench.bench.miniature.scenes import WORDS

__all__ = ["bert_vocabulary", "learn_merges", "write_clip_tokenizer"]

END_OF_WORD = "</w>"


def _apply(symbols: list[str], merges: Sequence[tuple[str, str]]) -> list[str]:
    rank = {pair: k for k, pair in enumerate(merges)}
    while len(symbols) > 1:
        pairs = list(itertools.pairwise(symbols))
        best = min(pairs, key=lambda pair: rank.get(pair, len(rank)))
        if best not in rank:
            break
        k = pairs.index(best)
        symbols = [*symbols[:k], best[0] + best[1], *symbols[k + 2 :]]
    return symbols


def learn_merges(words: Sequence[str] = WORDS) -> list[tuple[str, str]]:
    """Merges after which BPE turns each word into one token: run BPE, add the first missing merge, repeat."""
    merges: list[tuple[str, str]] = []
    for word in words:
        while True:
            symbols = _apply([*word[:-1], word[-1] + END_OF_WORD], merges)
            if len(symbols) == 1:
                break
            merges.append((symbols[0], symbols[1]))
    return merges


def write_clip_tokenizer(folder: Path, max_length: int) -> None:
    """A CLIPTokenizer folder; text outside the vocabulary still tokenizes, byte by byte."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges()
    symbols = list(bytes_to_unicode().values())
    tokens = [*symbols, *(s + END_OF_WORD for s in symbols), *("".join(m) for m in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab, text = folder / "vocab.json", folder / "merges.txt"
    vocab.write_text(json.dumps({t: k for k, t in enumerate(tokens)}, ensure_ascii=False), encoding="utf-8")
    text.write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    CLIPTokenizer(str(vocab), str(text), model_max_length=max_length).save_pretrained(folder)


def bert_vocabulary() -> list[str]:
    """WordPiece tokens: BERT's specials, the words, and letters so that other text tokenizes."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return tokens + [t for t in (*letters, *(f"##{c}" for c in letters)) if t not in tokens]
