"""Which pretrained network each scorer was made from.

Scorers that were made from the same network share what it cannot see, so they tend to err together: their votes are not
independent opinions. What is named is where the training of the published weights began. Some were trained further in
every layer (PickScore), some in a part of them (HPSv2), some put a head on it (aesthetic scores).

This module imports nothing, so that a table of scores can be looked at without torch.
"""

__all__ = ["BACKBONES", "PROMPT_BLIND", "backbone_of", "is_prompt_blind"]

CLIP_H = "CLIP ViT-H/14 (LAION-2B)"
CLIP_L = "CLIP ViT-L/14 (OpenAI)"
CLIP_B32 = "CLIP ViT-B/32 (OpenAI)"
CLIP_B16 = "CLIP ViT-B/16 (OpenAI)"
CLIP_FLANT5 = "CLIP ViT-L/14-336 (OpenAI) and FlanT5"
QWEN2_VL = "Qwen/Qwen2-VL-7B-Instruct"
MINI_CLIP = "the miniature world's CLIP"

BACKBONES: dict[str, str] = {
    # yuvalkirstain/PickScore@ca44324 trainer/conf/experiment/clip_h.yaml [CODE].
    "pickscore": CLIP_H,
    # tgxs002/HPSv2@20969aa hpsv2/configs/HPSv2.sh: 20 groups of layers of the image tower and 11 of the text tower are
    # trained [CODE]. For 2.1 no configuration is published; its file has the same layout.
    "hpsv2.0": CLIP_H,
    "hpsv2.1": CLIP_H,
    # Kwai-Kolors/MPS@ae290c2 eval_overall_mps_on_hpdv2.py uses this model's tokenizer and image processor [CODE]; the
    # configuration of its training is not in the repository.
    "mps": CLIP_H,
    "clip:vit-h-14-laion2b": CLIP_H,
    "clip:openai-vit-l-14": CLIP_L,
    "clip:openai-vit-b-32": CLIP_B32,
    "aesthetic.v1": CLIP_L,
    "aesthetic.v1@vit-b-32": CLIP_B32,
    "aesthetic.v1@vit-b-16": CLIP_B16,
    "aesthetic.v2": CLIP_L,
    # THUDM/ImageReward@0f5fa3e: BLIP's ViT-L/16 and its text encoder [CODE].
    "imagereward": "BLIP ViT-L/16",
    # Two sizes of FlanT5 behind the same image tower.
    "vqascore.clip-flant5-xl": CLIP_FLANT5,
    "vqascore.clip-flant5-xxl": CLIP_FLANT5,
    "hpsv3": QWEN2_VL,
    # bench/miniature/build/scorers.py; mini:pickscore and mini:imagereward each began with nothing.
    "mini:clip": MINI_CLIP,
    "mini:hpsv2": MINI_CLIP,
    "mini:aesthetic": MINI_CLIP,
}
"""Scorer, with variant or form where that matters -> network. A `clip:` model stands for all its forms."""

PROMPT_BLIND = ("aesthetic.v1", "aesthetic.v2", "mini:aesthetic")
"""Scorers of ours that do not read the prompt."""

MODEL_BEHIND = ("vqascore.vlm:", "judge:")
"""Open names: the network is the model that they name."""


def backbone_of(name: str) -> str | None:
    """The network behind a registered name; None where the name says nothing.

    Of `judge:<url#model>` and `vqascore.vlm:<hub id>` it is the model as it is named, without its revision. A name of a scores
    table is taken at its word: "pickscore" is PickScore.

    >>> backbone_of("hpsv2.1@legacy-noaa"), backbone_of("clip:openai-vit-l-14:cos"), backbone_of("my scorer")
    ('CLIP ViT-H/14 (LAION-2B)', 'CLIP ViT-L/14 (OpenAI)', None)
    """
    if name.startswith(MODEL_BEHIND):
        model = name.partition("#")[2] if name.startswith("judge:") else name.partition(":")[2]
        return model.partition("@")[0] or None
    base = name.partition("@")[0]
    return BACKBONES.get(name) or BACKBONES.get(base) or BACKBONES.get(base.rpartition(":")[0])


def is_prompt_blind(name: str) -> bool:
    """Whether a registered name is one of a scorer that does not read the prompt; False where the name says nothing."""
    return name.partition("@")[0] in PROMPT_BLIND
