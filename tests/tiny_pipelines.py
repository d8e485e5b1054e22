"""Complete diffusers pipelines of the real classes with random weights, small enough to train within a second."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

CHARACTERS = [chr(code) for code in range(33, 127)]
WORDS = ["<|startoftext|>", "<|endoftext|>", *CHARACTERS, *(f"{letter}</w>" for letter in CHARACTERS)]


@dataclass(frozen=True)
class Size:
    """How large the networks are; images are `side` pixels, latents half as wide."""

    side: int = 16
    unet: tuple[int, ...] = (8, 16)
    vae: tuple[int, int] = (8, 8)
    text_width: int = 16
    text_layers: int = 1
    text_inner: int = 16
    tokens: int = 16
    heads: int = 2
    groups: int = 4
    attention: str = "CrossAttn"
    """Beside the UNet's middle, in its innermost blocks: "CrossAttn", or "" for none."""


TINY = Size()
TINIEST = Size(unet=(8,), attention="")
"""One block down, one up, attention between them: less than half the modules, for tests that make many networks."""
MINIATURE = Size(
    32, (48, 80), (24, 48), text_width=64, text_layers=2, text_inner=96, tokens=20, heads=4, groups=8
)
"""As large as the networks of the miniature world."""


def tokenizer(tokens: int, **special: str) -> Any:
    """Every printable ASCII character is a token, so any English prompt has one per letter."""
    from transformers import CLIPTokenizer

    vocabulary = {word: i for i, word in enumerate(WORDS)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=tokens, **special)


def text_config(size: Size, **values: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        **{
            "vocab_size": len(WORDS),
            "hidden_size": size.text_width,
            "intermediate_size": size.text_inner,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.heads,
            "max_position_embeddings": size.tokens,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
            **values,
        }
    )


def autoencoder(size: Size) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=size.vae,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=size.groups,
        scaling_factor=0.5,
        sample_size=size.side,
    )


def unet(size: Size, **values: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        **{
            "sample_size": size.side // 2,
            "block_out_channels": size.unet,
            "layers_per_block": 1,
            "down_block_types": (*["DownBlock2D"] * (len(size.unet) - 1), f"{size.attention}DownBlock2D"),
            "up_block_types": (f"{size.attention}UpBlock2D", *["UpBlock2D"] * (len(size.unet) - 1)),
            "cross_attention_dim": size.text_width,
            "attention_head_dim": size.heads,
            "norm_num_groups": size.groups,
            **values,
        }
    )


def save_sd(
    folder: Path,
    *,
    seed: int = 0,
    prediction_type: str = "epsilon",
    second: bool | None = None,
    size: Size = TINY,
) -> Path:
    """A StableDiffusionPipeline folder, as of 1.5 ("epsilon") or 2.1 ("v_prediction", whose text encoder has GELU).

    `second` with "epsilon" is 2.1-base.
    """
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPTextModel

    second = prediction_type == "v_prediction" if second is None else second
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        text = CLIPTextModel(text_config(size, hidden_act="gelu" if second else "quick_gelu"))
        pipeline = StableDiffusionPipeline(
            vae=autoencoder(size),
            text_encoder=text,
            tokenizer=tokenizer(size.tokens),
            unet=unet(size, use_linear_projection=second),
            scheduler=DDIMScheduler(
                1000,
                0.00085,
                0.012,
                "scaled_linear",
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
                prediction_type=prediction_type,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    return folder


def save_sdxl(folder: Path, *, seed: int = 0, size: Size = TINY) -> Path:
    """A StableDiffusionXLPipeline folder: text widths 16 and 24, pooled 20, so that no two of them can be mixed up."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    width, pooled, per_size = 24, 20, 8
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        second = text_config(
            size, hidden_size=width, projection_dim=pooled, hidden_act="gelu", num_hidden_layers=2
        )
        pipeline = StableDiffusionXLPipeline(
            vae=autoencoder(size),
            text_encoder=CLIPTextModel(text_config(size, num_hidden_layers=2)),
            text_encoder_2=CLIPTextModelWithProjection(second),
            tokenizer=tokenizer(size.tokens),
            tokenizer_2=tokenizer(size.tokens, pad_token="!"),
            unet=unet(
                size,
                cross_attention_dim=size.text_width + width,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=per_size,
                projection_class_embeddings_input_dim=6 * per_size + pooled,
            ),
            scheduler=EulerDiscreteScheduler(1000, 0.00085, 0.012, "scaled_linear", steps_offset=1),
            add_watermarker=False,
        )
    pipeline.save_pretrained(folder)
    return folder
