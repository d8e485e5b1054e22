"""Tiny random vision-language models with their processors, made without a hub: LLaVA and Qwen2-VL."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
)

try:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIPImageProcessor
except ImportError:  # transformers 4, whose plain processor is the one on Pillow
    from transformers import CLIPImageProcessor
from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

SIDE, PATCH = 32, 8
WORDS = ["Yes", "No", "Ġcat", "Ġdog", "Ġa", "Ġfigure"]
LLAVA_TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} ASSISTANT: {% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>user\n{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_of(
    special: list[str], *, words: list[str] = WORDS, start: str | None = None
) -> PreTrainedTokenizerFast:
    """Byte-level BPE over single bytes and a few words, with the special tokens first: padding, then the end.

    With `start` every text begins with that one of the special tokens, as Llama's do.
    """
    symbols = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges: list[tuple[str, str]] = []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in symbols:
                symbols.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate(symbols)}, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if start:
        inner.post_processor = processors.TemplateProcessing(
            single=[start, "$A"], special_tokens=[(start, special.index(start))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=special[0],
        eos_token=special[1],
        bos_token=start,
        additional_special_tokens=special[2:],
    )


def save_llava(
    folder: Path,
    *,
    seed: int = 0,
    words: list[str] = WORDS,
    template: str | None = LLAVA_TEMPLATE,
    start: str | None = None,
) -> Path:
    """A LLaVA folder: CLIP tower of 16 patches, Llama of two layers."""
    tokenizer = tokenizer_of(["<pad>", "</s>", "<image>", "<s>"], words=words, start=start)
    size = {"height": SIDE, "width": SIDE}
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=template,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=SIDE,
            patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
    )
    torch.manual_seed(seed)
    return _save(LlavaForConditionalGeneration(config), folder)


def save_qwen2_vl(folder: Path, *, seed: int = 0) -> Path:
    """A Qwen2-VL folder: images keep their shape, text positions have three axes."""
    special = [
        "<|endoftext|>",
        "<|im_end|>",
        "<|im_start|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
    ]
    tokenizer = tokenizer_of([*special, "<|video_pad|>"])
    tower = {"patch_size": 4, "temporal_patch_size": 2, "merge_size": 2}
    Qwen2VLProcessor(
        Qwen2VLImageProcessor(min_pixels=8 * 8, max_pixels=32 * 32, **tower),
        tokenizer,
        Qwen2VLVideoProcessor(**tower),
        chat_template=QWEN_TEMPLATE,
    ).save_pretrained(folder)
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("vision_start", "vision_end")
    }
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "num_heads": 2,
            "hidden_size": 32,
            "mlp_ratio": 2,
            "patch_size": 4,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 512,
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        **ids,
    )
    torch.manual_seed(seed)
    return _save(Qwen2VLForConditionalGeneration(config), folder)


def _save(network: torch.nn.Module, folder: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # transformers' small initial weights would make every reply equally likely
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(
                    torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5
                )
        head = network.get_output_embeddings().weight
        head.mul_(3)
    network.save_pretrained(folder)
    return folder
