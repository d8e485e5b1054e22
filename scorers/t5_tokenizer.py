"""T5's tokenizer, from its `spiece.model` alone.

The original reads this file with the sentencepiece library. transformers 5 reads it with that library too, or from a
converted tokenizer.json. Here the few fields that matter are read from the file itself (it is a protocol buffer,
google/sentencepiece src/sentencepiece_model.proto) and handed to the `tokenizers` library, as transformers'
converter does: the same unigram model, the same table of character replacements.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from prefbench.bench.exceptions import MissingWeightsError

__all__ = ["EXTRA_IDS", "PAD", "PIECES_FILE", "build_tokenizer"]

PIECES_FILE = "spiece.model"
# transformers T5Tokenizer: <extra_id_99> ... <extra_id_0> follow the pieces [CODE].
EXTRA_IDS = 100
PAD, END, UNKNOWN = 0, 1, 2
SPECIAL = {PAD: "<pad>", END: "</s>", UNKNOWN: "<unk>"}

# Field numbers of sentencepiece_model.proto [CODE].
MODEL_PIECES, MODEL_TRAINER, MODEL_NORMALIZER = 1, 2, 3
PIECE_TEXT, PIECE_SCORE = 1, 2
TRAINER_MODEL_TYPE, UNIGRAM = 3, 1
NORMALIZER_CHARSMAP, NORMALIZER_DUMMY_PREFIX, NORMALIZER_TRIM = 2, 3, 4


def build_tokenizer(file: Path, scorer: str) -> Tokenizer:
    """The tokenizer of a `spiece.model`.

    Args:
        file: a sentencepiece unigram model whose first pieces are <pad>, </s>, <unk>, as T5's.
        scorer: name for messages.

    Returns: a tokenizer that ends every text with </s> and cuts nothing; 100 ids more than the file has pieces.

    Raises: MissingWeightsError if the file is missing, damaged or another kind of model.
    """
    try:
        model = list(_fields(file.read_bytes()))
        pieces = [_piece(value) for number, value in model if number == MODEL_PIECES]
        trainer = _last(model, MODEL_TRAINER)
        rules = _last(model, MODEL_NORMALIZER)
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise MissingWeightsError(
            f"Scorer {scorer}: tokenizer file {file} cannot be read ({type(error).__name__}: {error}). Put T5's "
            f"{PIECES_FILE} there."
        ) from error
    problems = [
        f"piece {i} is {pieces[i][0] if i < len(pieces) else 'absent'} and not {token}"
        for i, token in SPECIAL.items()
        if i >= len(pieces) or pieces[i][0] != token
    ]
    if trainer.get(TRAINER_MODEL_TYPE, UNIGRAM) != UNIGRAM:
        problems.append("it is no unigram model")
    if not (rules.get(NORMALIZER_DUMMY_PREFIX, 1) and rules.get(NORMALIZER_TRIM, 1)):
        problems.append("it keeps the whitespace that T5's model trims")
    if problems:
        raise MissingWeightsError(f"Scorer {scorer}: {file} is not T5's tokenizer: {'; '.join(problems)}.")
    charsmap = rules.get(NORMALIZER_CHARSMAP, b"")
    return _assemble(pieces, charsmap if isinstance(charsmap, bytes) else b"")


def _assemble(pieces: list[tuple[str, float]], charsmap: bytes) -> Tokenizer:
    extra = [f"<extra_id_{i}>" for i in reversed(range(EXTRA_IDS))]
    tokenizer = Tokenizer(Unigram([*pieces, *((token, 0.0) for token in extra)], unk_id=UNKNOWN))
    if charsmap:
        tokenizer.normalizer = normalizers.Precompiled(charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", SPECIAL[END]], special_tokens=[(SPECIAL[END], END)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (*SPECIAL.values(), *extra)]
    )
    return tokenizer


def _piece(data: int | bytes) -> tuple[str, float]:
    fields = dict(_fields(data if isinstance(data, bytes) else b""))
    text, score = fields.get(PIECE_TEXT, b""), fields.get(PIECE_SCORE, b"\0" * 4)
    if not isinstance(text, bytes) or not isinstance(score, bytes):
        raise ValueError("a piece is not text with a score")
    return text.decode("utf-8"), struct.unpack("<f", score)[0]


def _last(model: list[tuple[int, int | bytes]], number: int) -> dict[int, int | bytes]:
    found = [value for field, value in model if field == number and isinstance(value, bytes)]
    return dict(_fields(found[-1])) if found else {}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of one protocol buffer message: varints as int, everything else as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + length > len(data):
            raise ValueError(f"{length} bytes announced at byte {at} of {len(data)}")
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
