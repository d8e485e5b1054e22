"""A tiny random CLIP-FlanT5 in the original's own format, which t2v-metrics 3.0 and the port both load.

`save_original(folder)` writes

    config.json, pytorch_model-0000?-of-00002.bin, pytorch_model.bin.index.json    zhiqiulin/clip-flant5-xl
    spiece.model, tokenizer_config.json, special_tokens_map.json                   google/flan-t5-xl
    clip-vit-large-patch14-336/{config.json, preprocessor_config.json, pytorch_model.bin}

The weights are exact in bfloat16, through which the original sends them. The names of the tensors are written out here
and not taken from the port.
"""

import json
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Config, T5ForConditionalGeneration

TOWER = "openai/clip-vit-large-patch14-336"
SIDE = 32
WORDS = (
    "▁Yes",
    "▁No",
    "▁a",
    "▁cat",
    "▁dog",
    "▁image",
    "▁show",
    "▁USER",
    "▁Please",
    "▁answer",
    "ing",
    "er",
    "the",
)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'\"<>/-{}"
CONTROL, UNKNOWN, NORMAL = 3, 2, 1
PIECES = [
    ("<pad>", 0.0, CONTROL),
    ("</s>", 0.0, CONTROL),
    ("<unk>", 0.0, UNKNOWN),
    ("▁", -2.0, NORMAL),
    *((word, -3.0 - 0.1 * i, NORMAL) for i, word in enumerate(WORDS)),
    *((letter, -6.0 - 0.01 * i, NORMAL) for i, letter in enumerate(LETTERS)),
]
YES = [text for text, _, _ in PIECES].index("▁Yes")
TOKENS = len(PIECES) + 100
T5: dict[str, Any] = {
    # 28 rows more than tokens, as Flan-T5 has.
    "vocab_size": TOKENS + 28,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
VISION: dict[str, Any] = {
    "hidden_act": "quick_gelu",
    "hidden_size": 24,
    "image_size": SIDE,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "patch_size": 8,
    "projection_dim": 16,
}
CONFIG: dict[str, Any] = {
    **T5,
    "architectures": ["CLIPT5ForConditionalGeneration"],
    "model_type": "clip_t5",
    "is_encoder_decoder": True,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "dropout_rate": 0.1,
    "mm_vision_tower": TOWER,
    "mm_hidden_size": VISION["hidden_size"],
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch",
}
PROCESSOR: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": SIDE},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def save_original(folder: Path, *, seed: int = 0, tower_inside: bool = True) -> Path:
    """Write the folder. With `tower_inside` the weights hold the image tower, as the published ones do."""
    tower = folder / TOWER.partition("/")[2]
    tower.mkdir(parents=True)
    state = published_state(seed)
    own = {key: value for key, value in state.items() if tower_inside or not key.startswith("vision_tower.")}
    half = len(own) // 2
    shards = {
        "pytorch_model-00001-of-00002.bin": list(own)[:half],
        "pytorch_model-00002-of-00002.bin": list(own)[half:],
    }
    for name, keys in shards.items():
        torch.save({key: own[key] for key in keys}, folder / name)
    index = {"metadata": {}, "weight_map": {key: name for name, keys in shards.items() for key in keys}}
    _json(folder / "pytorch_model.bin.index.json", index)
    _json(folder / "config.json", CONFIG)
    (folder / "spiece.model").write_bytes(piece_model(PIECES, whitespace_charsmap()))
    extra = [f"<extra_id_{i}>" for i in range(100)]
    names = {
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "additional_special_tokens": extra,
    }
    _json(folder / "special_tokens_map.json", names)
    _json(
        folder / "tokenizer_config.json",
        {**names, "tokenizer_class": "T5Tokenizer", "extra_ids": 100, "model_max_length": 512},
    )
    vision = {
        key.removeprefix("vision_tower.vision_tower."): value
        for key, value in state.items()
        if "vision_model" in key
    }
    torch.save(vision, tower / "pytorch_model.bin")
    _json(tower / "config.json", {"model_type": "clip_vision_model", **VISION})
    _json(tower / "preprocessor_config.json", PROCESSOR)
    return folder


def published_state(seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under the published names."""
    t5 = T5ForConditionalGeneration(T5Config(**T5)).state_dict()
    clip = CLIPVisionModel(CLIPVisionConfig(**VISION)).state_dict()
    width, inner = VISION["hidden_size"], T5["d_model"]
    shapes = {
        **{key: value.shape for key, value in t5.items()},
        "embed_tokens.weight": t5["shared.weight"].shape,
        "mm_projector.0.weight": (inner, width),
        "mm_projector.0.bias": (inner,),
        "mm_projector.2.weight": (inner, inner),
        "mm_projector.2.bias": (inner,),
        **{
            "vision_tower.vision_tower.vision_model." + key.removeprefix("vision_model."): value.shape
            for key, value in clip.items()
            if not key.endswith("position_ids")
        },
    }
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in sorted(shapes.items()):
        noise = torch.randn(shape, generator=generator)
        if key.endswith("bias") or "embedding" in key or "shared" in key:
            state[key] = noise
        elif noise.ndim == 1:
            state[key] = 1 + 0.1 * noise
        else:  # keeps the size of what passes through; T5 does not divide by the root of a head's width
            state[key] = (
                1.5 * noise * noise[0].numel() ** -0.5 * (T5["d_kv"] ** -0.5 if ".q." in key else 1.0)
            )
    for alias in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "embed_tokens.weight"):
        state[alias] = state["shared.weight"]
    _favour_the_answer(state)
    return {key: value.bfloat16().float() for key, value in state.items()}


def _favour_the_answer(state: dict[str, Tensor]) -> None:
    """Aim the output rows of "Yes" and the end at what the decoder says of random text: scores get the size of 0.3."""
    t5 = T5ForConditionalGeneration(T5Config(**T5)).eval()
    # Without lm_head: transformers 5 ties it to the embeddings, and the last one written would win.
    own = {key: value for key, value in state.items() if key in t5.state_dict() and key != "lm_head.weight"}
    t5.load_state_dict(own, strict=False)
    text = torch.randint(3, len(PIECES), (32, 200), generator=torch.Generator().manual_seed(0))
    answer = torch.tensor([YES, 1])
    with torch.no_grad():
        fed = torch.tensor([[0, YES]]).expand(32, -1)
        said = t5.decoder(input_ids=fed, encoder_hidden_states=t5.encoder(input_ids=text).last_hidden_state)
        aim = said.last_hidden_state.mean(dim=0)
    state["lm_head.weight"] *= 0.3
    state["lm_head.weight"][answer] = aim * 7 / aim.square().sum(dim=1, keepdim=True)


def piece_model(pieces: list[tuple[str, float, int]], charsmap: bytes = b"") -> bytes:
    """A sentencepiece unigram model as its protocol buffer: pieces, ids of the special ones, normalisation."""

    def number(field: int, value: int) -> bytes:
        return _varint(field << 3) + _varint(value)

    def block(field: int, data: bytes) -> bytes:
        return _varint(field << 3 | 2) + _varint(len(data)) + data

    body = b"".join(
        block(1, block(1, text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", score) + number(3, kind))
        for text, score, kind in pieces
    )
    # model_type unigram; unk, bos (none: -1 as 64 bits), eos, pad
    trainer = number(3, 1) + number(40, 2) + number(41, 2**64 - 1) + number(42, 1) + number(43, 0)
    normalizer = (block(2, charsmap) if charsmap else b"") + number(3, 1) + number(4, 1) + number(5, 1)
    return body + block(2, trainer) + block(3, normalizer)


def whitespace_charsmap() -> bytes:
    """Table of character replacements that makes tab and line breaks a space, as T5's does among much else.

    Length of a double array trie (darts-clone), the trie, then the replacements, each ended by a zero byte. A unit of
    the trie: 8 bits label, 1 bit "a value follows", the rest an offset to be xored with the position; a value has the
    highest bit set.
    """
    units = [0] * 1024
    units[0] = 256 << 10
    for leaf, byte in enumerate(b"\t\n\r", start=512):
        node = 256 ^ byte
        units[node] = (node ^ leaf) << 10 | 1 << 8 | byte
        units[leaf] = 1 << 31  # the replacement at 0
    trie = struct.pack("<1024I", *units)
    return struct.pack("<I", len(trie)) + trie + b" \0"


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
