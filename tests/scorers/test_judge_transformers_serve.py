"""`judge:URL` asks a real `transformers serve`, whose tiny random LLaVA looks at the image and says a score or none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers_server import serving

from prefbench.scorers.judge import TEMPLATE, UNPARSABLE, parse_reply
from prefbench.scorers.protocol import MayFail
from prefbench.scorers.registry import load_scorer

from .conftest import picture
from .tiny_vlm import save_llava

SAYINGS = [json.dumps({"score": k / 2}) if k % 2 else f"I like {k} things about it." for k in range(14)]
PROMPTS = ["a cat", "two red cubes", "日本の城", 'fish "in" the sea']


def write_model(folder: Path) -> Path:
    """A LLaVA that says one of SAYINGS, each a single token, and then stops; its weights let the image matter."""
    from transformers import GenerationConfig, LlavaForConditionalGeneration, LlavaProcessor

    save_llava(folder)
    processor: Any = LlavaProcessor.from_pretrained(folder)
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    silent = list(range(len(processor.tokenizer)))
    processor.tokenizer.add_tokens(SAYINGS)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        torch.nn.init.normal_(
            model.get_input_embeddings().weight, std=5e-4
        )  # what is seen outweighs what is read
    said = list(range(len(silent), len(processor.tokenizer)))
    model.generation_config = GenerationConfig(eos_token_id=said, pad_token_id=0, suppress_tokens=silent)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def said_directly(folder: Path, images: list[Image.Image], prompts: list[str]) -> list[str]:
    """What the model says greedily, without any server."""
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    processor: Any = LlavaProcessor.from_pretrained(folder)
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    replies = []
    for image, prompt in zip(images, prompts, strict=True):
        text = TEMPLATE + json.dumps(prompt, ensure_ascii=False)
        content = [{"type": "text", "text": text}, {"type": "image", "image": image.convert("RGB")}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        output = model.generate(**inputs, do_sample=False, max_new_tokens=8)
        replies.append(processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return replies


def test_scores_are_those_of_the_model_and_depend_on_the_image(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny-llava")
    images = [picture(40, 32, k) for k in range(5) for _ in PROMPTS]
    prompts = PROMPTS * 5
    expected = [parse_reply(reply) for reply in said_directly(folder, images, prompts)]
    assert len(set(expected[:: len(PROMPTS)])) > 1, (
        "the random model does not look at the image: take other weights"
    )
    assert None in expected, "the random model scores everything: take other weights"
    assert any(score is not None for score in expected), "the random model scores nothing: take other weights"
    with serving(folder, tmp_path / "serve.log") as url:
        scorer = load_scorer(f"judge:{url}#{folder}")
        assert isinstance(scorer, MayFail)
        scores, reasons = scorer.score_or_reason(images, prompts)
    np.testing.assert_equal(scores, [np.nan if score is None else score for score in expected])
    assert reasons == [UNPARSABLE if score is None else "" for score in expected]
