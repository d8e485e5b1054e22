"""Names of the tensors in the published ImageReward.pt, and what they are called here."""

import re

__all__ = ["RENAMES", "UNUSED_KEYS", "original_to_ours"]

# Names of the published checkpoint -> names here. Everything else keeps its name after the prefix is
# exchanged.
RENAMES = (
    (r"blip\.visual_encoder\.cls_token", "vision.embeddings.class_embedding"),
    (r"blip\.visual_encoder\.pos_embed", "vision.embeddings.position_embedding"),
    (r"blip\.visual_encoder\.patch_embed\.proj\.(\w+)", r"vision.embeddings.patch_embedding.\1"),
    (r"blip\.visual_encoder\.norm\.(\w+)", r"vision.post_layernorm.\1"),
    (r"blip\.visual_encoder\.blocks\.(\d+)\.norm(\d)\.(\w+)", r"vision.encoder.layers.\1.layer_norm\2.\3"),
    (r"blip\.visual_encoder\.blocks\.(\d+)\.attn\.qkv\.(\w+)", r"vision.encoder.layers.\1.self_attn.qkv.\2"),
    (
        r"blip\.visual_encoder\.blocks\.(\d+)\.attn\.proj\.(\w+)",
        r"vision.encoder.layers.\1.self_attn.projection.\2",
    ),
    (r"blip\.visual_encoder\.blocks\.(\d+)\.mlp\.(fc\d)\.(\w+)", r"vision.encoder.layers.\1.mlp.\2.\3"),
    (r"blip\.text_encoder\.(.+)", r"text.\1"),
    (r"mlp\.layers\.(\d+)\.(\w+)", r"mlp.\1.\2"),
)
# Parts of BLIP's pre-training that the reward does not use, and a buffer of positions.
UNUSED_KEYS = ("blip.vision_proj.*", "blip.text_proj.*", "*.position_ids")


def original_to_ours(key: str) -> str:
    """The name here of a tensor of the published ImageReward.pt; any other name stays as it is.

    >>> original_to_ours("blip.visual_encoder.blocks.3.attn.proj.bias")
    'vision.encoder.layers.3.self_attn.projection.bias'
    >>> original_to_ours("mlp.layers.7.weight")
    'mlp.7.weight'
    """
    for pattern, replacement in RENAMES:
        renamed, found = re.subn(f"^{pattern}$", replacement, key)
        if found:
            return renamed
    return key
