"""The build's parts that can be checked without training for an hour."""

from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer
from transformers import CLIPTokenizer

from prefbench.bench.miniature.build.vocabulary import bert_vocabulary, learn_merges, write_clip_tokenizer
from prefbench.bench.miniature.scenes import WORDS, sample_scenes
from prefbench.scorers.open_clip_tower import write_bpe


def test_every_word_is_one_token_and_other_text_still_tokenizes(tmp_path: Path) -> None:
    write_clip_tokenizer(tmp_path, 24)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    # CLIP cuts digits from letters before any merge, so the junk word "8k" stays two tokens.
    assert {word for word in WORDS if len(tokenizer.tokenize(word)) != 1} == {"8k"}
    assert len(tokenizer.tokenize("zebra")) > 1
    assert tokenizer.decode(tokenizer("zebra").input_ids, skip_special_tokens=True).strip() == "zebra"


def test_both_clip_tokenizers_read_the_same_merges_alike(tmp_path: Path) -> None:
    """transformers and open_clip order the 512 byte symbols alike, so ids agree."""
    import numpy as np

    write_clip_tokenizer(tmp_path / "hf", 24)
    write_bpe(tmp_path / "bpe.txt.gz", learn_merges())
    ours = CLIPTokenizer.from_pretrained(tmp_path / "hf")
    theirs = SimpleTokenizer(bpe_path=str(tmp_path / "bpe.txt.gz"), context_length=24)
    for scene in sample_scenes(50, np.random.default_rng(0)):
        assert ours(scene.caption).input_ids[1:-1] == theirs.encode(scene.caption)


def test_no_caption_exceeds_the_text_limit_of_24_tokens() -> None:
    """Two objects: a size colour shape, relation (2 words at most), a size colour shape, on a colour background."""
    import numpy as np

    words = [len(s.caption.split()) for s in sample_scenes(500, np.random.default_rng(0))]
    assert max(words) + 2 <= 24
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS} <= set(bert_vocabulary())
