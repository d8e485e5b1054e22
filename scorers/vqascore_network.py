"""CLIP-FlanT5's network: transformers' T5 reading projected patch features of transformers' CLIP image tower.

The parameters have the names of the published file, T5's behind `t5.`.
"""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Config, T5ForConditionalGeneration

from prefbench.bench.exceptions import MissingWeightsError

__all__ = ["T5_FIELDS", "TOWER_FIELDS", "CLIPFlanT5", "build", "forward"]

T5_FIELDS = (
    "vocab_size",
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_decoder_layers",
    "num_heads",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "layer_norm_epsilon",
    "feed_forward_proj",
    "tie_word_embeddings",
)
TOWER_FIELDS = (
    "hidden_act",
    "hidden_size",
    "image_size",
    "intermediate_size",
    "layer_norm_eps",
    "num_attention_heads",
    "num_hidden_layers",
    "patch_size",
)
# t2v-metrics 3.0 clip_t5/model/multimodal_projector/builder.py [CODE]; "linear" and "identity" are not published.
PROJECTOR = re.compile(r"mlp(\d+)x_gelu")
# T5's decoder starts with the padding token; every published configuration says so.
START = 0


class CLIPFlanT5(nn.Module):
    """T5 and an image tower, joined by a projector.

    Args:
        t5: a T5ForConditionalGeneration.
        tower: a CLIPVisionModel.
        projector: from the tower's width to T5's.
        layer: which of the tower's hidden states is read; -2 is the input of its last layer.
        skip: tokens of the tower that are left out at the front: 1 drops the class token.
    """

    def __init__(
        self,
        t5: T5ForConditionalGeneration,
        tower: CLIPVisionModel,
        projector: nn.Module,
        *,
        layer: int,
        skip: int,
    ) -> None:
        super().__init__()
        self.t5 = t5
        self.mm_projector = projector
        self.vision_tower = nn.ModuleDict({"vision_tower": tower})
        self.layer = layer
        self.skip = skip

    @property
    def tower(self) -> CLIPVisionModel:
        """The image tower."""
        tower = self.vision_tower["vision_tower"]
        assert isinstance(tower, CLIPVisionModel)
        return tower

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (B, 3, S, S) -> projected features (B, patches, d_model)."""
        states = self.tower(pixel_values=pixels, output_hidden_states=True)
        features: Tensor = self.mm_projector(states.hidden_states[self.layer][:, self.skip :])
        return features


def build(architecture: dict[str, Any]) -> CLIPFlanT5:
    """The network with random weights from torch's current seed.

    Args:
        architecture: T5's fields and the mm_* fields of the published config.json, and `vision_config`, the fields of
            a transformers CLIPVisionConfig.

    Raises: MissingWeightsError for a field that is absent or that no published model has.
    """
    needed = ("vision_config", "mm_projector_type", "mm_vision_select_layer", "tie_word_embeddings")
    if absent := [field for field in needed if field not in architecture]:
        raise MissingWeightsError(f"The CLIP-FlanT5 architecture lacks {', '.join(absent)}. State it.")
    kind = architecture["mm_projector_type"]
    match = PROJECTOR.fullmatch(str(kind))
    features = architecture.get("mm_vision_select_feature", "patch")
    if match is None or features not in ("patch", "cls_patch"):
        raise MissingWeightsError(
            f"The CLIP-FlanT5 architecture has mm_projector_type {kind!r} and mm_vision_select_feature {features!r}. "
            "Known: mlpNx_gelu; patch, cls_patch."
        )
    vision = CLIPVisionConfig(**{k: v for k, v in architecture["vision_config"].items() if k in TOWER_FIELDS})
    config = T5Config(**{k: v for k, v in architecture.items() if k in T5_FIELDS})
    # Written-out attention, as the original's: fused kernels sum a long question four times less exactly.
    config._attn_implementation = "eager"
    t5 = T5ForConditionalGeneration(config)
    if not architecture["tie_word_embeddings"]:
        # transformers 5 has tied it all the same: loading would write two tensors into one.
        t5.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
    layers: list[nn.Module] = [nn.Linear(vision.hidden_size, config.d_model)]
    for _ in range(1, int(match[1])):
        layers += [nn.GELU(), nn.Linear(config.d_model, config.d_model)]
    return CLIPFlanT5(
        t5,
        CLIPVisionModel(vision),
        nn.Sequential(*layers),
        layer=int(architecture["mm_vision_select_layer"]),
        skip=1 if features == "patch" else 0,
    )


def forward(
    network: CLIPFlanT5,
    pixels: Tensor,
    tokens: Tensor,
    *,
    before: Tensor,
    answer: Tensor,
    vocabulary: int,
    pad: int,
) -> Tensor:
    """Scores of B pairs, differentiable.

    Args:
        network: a CLIPFlanT5.
        pixels: (B, 3, S, S), normalised.
        tokens: (B, L) ids of the question after the image, padded with `pad`.
        before: (P,) ids of the question before the image.
        answer: (K,) ids of the answer, end of text included.
        vocabulary: how many of the output layer's rows are tokens; the others are left out of the softmax.
        pad: id that is not read.

    Returns: float32 (B,): exp of the mean log-probability of the answer's tokens.
    """
    rows, device = tokens.shape[0], tokens.device
    image = network.image_tokens(pixels)
    embed = network.t5.shared
    front = embed(before.to(device)).expand(rows, -1, -1)
    question = torch.cat([front, image, embed(tokens)], dim=1)
    always = torch.ones(rows, front.shape[1] + image.shape[1], dtype=torch.bool, device=device)
    target = answer.to(device).expand(rows, -1)
    fed = torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], dim=1)
    logits = network.t5(
        inputs_embeds=question,
        attention_mask=torch.cat([always, tokens != pad], dim=1).long(),
        decoder_input_ids=fed,
        decoder_attention_mask=torch.ones_like(fed),
        use_cache=False,
    ).logits
    chosen = log_softmax(logits[..., :vocabulary].float(), dim=-1).gather(-1, target[..., None])[..., 0]
    return chosen.mean(dim=1).exp()
