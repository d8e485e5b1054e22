"""bert-base-uncased's WordPiece tokenizer with BLIP's two extra tokens, from a vocabulary file alone."""

import json
import shutil
import tempfile
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from prefbench.bench.exceptions import MissingWeightsError

__all__ = ["EXTRA_TOKENS", "SPECIAL_TOKENS", "VOCABULARY_FILE", "build_tokenizer"]

VOCABULARY_FILE = "vocab.txt"
# ImageReward models/BLIP/blip.py `init_tokenizer`: [DEC] as bos_token, [ENC] as an additional one [CODE].
EXTRA_TOKENS = ("[DEC]", "[ENC]")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_tokenizer(vocabulary: Path) -> PreTrainedTokenizerBase:
    """The tokenizer on a vocabulary file.

    Args:
        vocabulary: one token a line; [PAD], [UNK], [CLS], [SEP], [MASK] among them.

    Returns: a lower-casing tokenizer with two tokens more than the file has lines.

    Raises: MissingWeightsError if a special token is missing or the file is not text.
    """
    try:
        tokens = vocabulary.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MissingWeightsError(
            f"Vocabulary {vocabulary} cannot be read ({error}). Restore the file."
        ) from error
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing:
        raise MissingWeightsError(f"{vocabulary} is not a BERT vocabulary: it lacks {', '.join(missing)}.")
    # From a folder of its own, so that no other file beside the vocabulary has a say.
    with tempfile.TemporaryDirectory() as name:
        shutil.copyfile(vocabulary, Path(name) / VOCABULARY_FILE)
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        (Path(name) / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, local_files_only=True)
    tokenizer.add_special_tokens({"bos_token": EXTRA_TOKENS[0]})
    tokenizer.add_special_tokens({"additional_special_tokens": [EXTRA_TOKENS[1]]})
    return tokenizer
