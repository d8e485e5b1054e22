"""T5's tokenizer against what a unigram model is, worked out by hand."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers.t5_tokenizer import build_tokenizer
from prefbench.scorers.upstream.tiny_flan_t5 import (
    CONTROL,
    NORMAL,
    PIECES,
    UNKNOWN,
    piece_model,
    whitespace_charsmap,
)

SPECIAL = [("<pad>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN)]


def tokenizer_of(folder: Path, pieces: list[tuple[str, float, int]], charsmap: bytes = b"") -> Tokenizer:
    (folder / "spiece.model").write_bytes(piece_model(pieces, charsmap))
    return build_tokenizer(folder / "spiece.model", "x")


def test_the_split_with_the_highest_sum_of_scores_wins(tmp_path: Path) -> None:
    """ "ab" is ▁a + b = -1 - 1 = -2 or ▁ab = -3; "abb" is ▁a + b + b = -3, ▁ab + b = -4 or ▁a + bb = -2.5."""
    pieces = [
        *SPECIAL,
        ("▁a", -1.0, NORMAL),
        ("b", -1.0, NORMAL),
        ("▁ab", -3.0, NORMAL),
        ("bb", -1.5, NORMAL),
    ]
    tokenizer = tokenizer_of(tmp_path, pieces)
    assert tokenizer.encode("ab").ids == [3, 4, 1]
    assert tokenizer.encode("abb").ids == [3, 6, 1]


def test_what_no_piece_covers_is_one_unknown_token_however_long(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path, [*SPECIAL, ("▁", -1.0, NORMAL), ("a", -1.0, NORMAL)])
    assert tokenizer.encode("aééa").ids == [3, 4, 2, 4, 1]


def test_whitespace_counts_once_and_not_at_the_ends(tmp_path: Path) -> None:
    """Hence the line break after the image and the space at the end of the question leave no trace."""
    tokenizer = tokenizer_of(tmp_path, PIECES, whitespace_charsmap())
    assert tokenizer.encode("\n cat \t\r\n dog ").ids == tokenizer.encode("cat dog").ids
    assert tokenizer.encode("").ids == tokenizer.encode(" \n").ids == [1]


def test_the_table_of_replacements_is_the_files(tmp_path: Path) -> None:
    """Without it a line break inside is whitespace still, as the pre-tokenizer's; with it, the normalizer's."""
    normalizer = tokenizer_of(tmp_path, PIECES, whitespace_charsmap()).normalizer
    assert normalizer is not None
    assert normalizer.normalize_str("a\tb\n") == "a b "
    assert tokenizer_of(tmp_path, PIECES).normalizer is None


def test_sentinels_follow_the_pieces_in_falling_order_and_special_tokens_in_text_are_read_as_such(
    tmp_path: Path,
) -> None:
    tokenizer = tokenizer_of(tmp_path, PIECES)
    assert tokenizer.get_vocab_size() == len(PIECES) + 100
    assert tokenizer.token_to_id("<extra_id_99>") == len(PIECES)
    assert tokenizer.token_to_id("<extra_id_0>") == len(PIECES) + 99
    cat = tokenizer.encode("cat").ids[:-1]
    assert tokenizer.encode("cat</s> <pad>cat").ids == [*cat, 1, 0, *cat, 1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "piece 0 is absent and not <pad>"),
        (b"version https://git-lfs.github.com/spec/v1\n", "cannot be read"),
        (piece_model(PIECES)[:100], "cannot be read"),
        (piece_model(PIECES[3:]), "piece 0 is ▁ and not <pad>"),
        (piece_model(PIECES).replace(b"\x18\x01\xc0\x02", b"\x18\x02\xc0\x02"), "no unigram model"),
    ],
)
def test_a_file_that_is_not_t5s_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "spiece.model").write_bytes(data)
    with pytest.raises(MissingWeightsError, match=said):
        build_tokenizer(tmp_path / "spiece.model", "x")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="no_such.model cannot be read"):
        build_tokenizer(tmp_path / "no_such.model", "x")
