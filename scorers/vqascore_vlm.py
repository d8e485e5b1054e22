"""VQAScore with any vision-language model: the probability that its reply begins with "Yes".

    question = the model's own chat template around the image and: Does this figure show "{prompt}"? Please answer yes or no.
    score = softmax(logits of the reply's first token)["Yes"], float32

Unit: a probability, 0 to 1. Higher is better. Scores of two models have nothing in common but the question.

Paper: Lin et al., Evaluating Text-to-Visual Generation with Image-to-Text Generation, 2024. Upstream: t2v-metrics 3.0
(models/vqascore_models/qwen2vl_model.py, paligemma_model.py and others), which picks a file and a question for each family
of models; this is one scorer over transformers' AutoModelForImageTextToText and AutoProcessor.
* The released code's [CODE]: the question (of its PaliGemma and CLIP-FlanT5 models; its Qwen2-VL asks less), the answer,
  the probability of the answer's token as the first one of the reply.
* Ours. The answer is tokenized alone and without special tokens, and a tokenizer that makes more than one token of it is
  refused: the released code takes the first id, which is the start token where a tokenizer adds one. A control token of
  the model inside a prompt ("<image>") is broken by a space behind its first letter, so that it is read as text. The
  image goes through the one decode path (image_io.py), then through the model's own processor. Nothing is cut: a
  question longer than the model reads is an error. Batches are padded on the right, where a decoder does not look.
* Not tried on published weights; the tests run tiny random LLaVA and Qwen2-VL models. Models whose code is not part of
  transformers are refused, since it would run code from a download.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin
from transformers.utils import logging as hub_logging

from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.scorers.batching import check_pairs, finite_scores
from prefbench.scorers.fingerprint import library_versions, sha256_of_file
from prefbench.scorers.image_io import DECODE_RULE, open_rgb
from prefbench.scorers.info import ScorerInfo
from prefbench.scorers.model_folder import find_folder, hash_of_files, weight_files
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.weights import WeightsArgument, check_hub_copy, place, torch_dtype

__all__ = ["PREFIX", "VLMScore", "load"]

PREFIX = "vqascore.vlm:"
# t2v-metrics 3.0 clip_t5_model.py and paligemma_model.py, and the paper's [CODE].
QUESTION = 'Does this figure show "{}"? Please answer yes or no.'
ANSWER = "Yes"

# What decides how pixels and text are read, beside the weights; a folder has some of them.
READ_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
PATTERNS = (*READ_FILES, "*.safetensors", "model.safetensors.index.json")
# How transformers 5 and 4 call the option.
DTYPE = "dtype" if int(transformers.__version__.partition(".")[0]) >= 5 else "torch_dtype"
UNSTATED = "not stated here: see the model's page"


@dataclass
class VLMScore:
    """A loaded vision-language model."""

    network: PreTrainedModel
    processor: ProcessorMixin
    info: ScorerInfo
    answer: int
    batch_size: int = 4

    def question(self, prompt: str) -> str:
        """The text that the processor gets: the model's chat template around image and question."""
        for token in _control_tokens(self.processor):
            prompt = prompt.replace(token, f"{token[0]} {token[1:]}")
        return _in_template(self.processor, QUESTION.format(prompt), self.info.name)

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """None: nothing is cut, and what the model cannot read is an error of `score`; shape (N,)."""
        return np.zeros(len(prompts), dtype=bool)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`. Raises DataError too for a question that is longer than the model reads."""
        check_pairs(images, prompts, self.info.name)
        if self.batch_size < 1:
            raise UsageError(
                f"Scorer {self.info.name}: batch_size is {self.batch_size}; it must be at least 1."
            )
        self.network.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                rows = slice(start, start + self.batch_size)
                parts.append(self._batch([open_rgb(image) for image in images[rows]], prompts[rows]))
        return finite_scores(torch.cat(parts), images, prompts, self.info.name)

    def _batch(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Tensor:
        texts = [self.question(prompt) for prompt in prompts]
        start = self.processor.tokenizer.bos_token
        try:
            inputs = self.processor(
                text=texts,
                images=[[image] for image in images],
                padding=True,
                # Some templates write the start token, which the tokenizer would add once more.
                add_special_tokens=not (start and texts[0].startswith(start)),
                return_tensors="pt",
            )
        except ValueError as error:
            sizes = ", ".join(f"{image.width} x {image.height}" for image in images)
            raise DataError(
                f"Scorer {self.info.name}: the model's processor refuses an image of these sizes, {sizes} "
                f"({str(error).splitlines()[0]}). Change the image before scoring."
            ) from error
        length, limit = inputs["input_ids"].shape[1], self.info.token_limit
        if limit is not None and length > limit:
            raise DataError(
                f"Scorer {self.info.name}: a question has {length} tokens, those of the image included, and the model "
                f"reads {limit}. Shorten the longest of these prompts: {max(prompts, key=len)[:80]!r}."
            )
        inputs = inputs.to(self.network.device, dtype=self.network.dtype)
        last = inputs["attention_mask"].sum(dim=1) - 1
        keep, which = last.unique(return_inverse=True)
        if "logits_to_keep" in inspect.signature(self.network.forward).parameters:
            logits = self.network(**inputs, use_cache=False, logits_to_keep=keep).logits
        else:
            logits = self.network(**inputs, use_cache=False).logits[:, keep]
        reply = logits[torch.arange(len(prompts), device=logits.device), which]
        return reply.float().softmax(dim=-1)[:, self.answer].cpu()


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> VLMScore:
    """Load `vqascore.vlm:<hub id or folder>`, a hub id with an optional `@revision`.

    Args:
        name: as typed.
        weights: None for what the name says; else a folder or a hub id that holds that model.
        architecture: not taken; the folder's config.json states the sizes.
        device: torch device.
        dtype: of the network; the softmax is float32 in any case.

    Raises: MissingWeightsError; UsageError for a model that this scorer cannot ask.
    """
    if architecture is not None:
        raise UsageError(
            f"Scorer {name} takes no architecture=: the sizes stand in the model folder's config.json."
        )
    source = name.removeprefix(PREFIX) if weights is None else weights
    folder, _ = find_folder(source, default=None, patterns=PATTERNS, scorer=name)
    files = weight_files(folder, name)
    for file in files:
        check_hub_copy(file, name)
    processor, network = _open(folder, dtype, name)
    place(network, device, None)  # some of a half-precision model's tensors are float32 on purpose
    processor.tokenizer.padding_side = "right"
    if processor.tokenizer.pad_token is None:  # any will do: padding is masked, and behind what is read
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    answer = _answer_token(processor, name)
    limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    identity = {
        "scorer": "vqascore.vlm",
        "weights": hash_of_files(files),
        "backbone": {"library": f"transformers {type(network).__name__}"},
        "files": {file: sha256_of_file(folder / file) for file in READ_FILES if (folder / file).is_file()},
        "decode": DECODE_RULE,
        "dtype": dtype,
        "template": _in_template(processor, QUESTION, name),
        "answer": [ANSWER, answer],
        "formula": "softmax of the reply's first token at the answer, float32",
        "versions": library_versions(),
    }
    info = ScorerInfo(
        name=name,
        variant=None,
        licence=UNSTATED,
        scale="probability of answering Yes, 0-1",
        trained_on=UNSTATED,
        identity=identity,
        token_limit=limit,
    )
    return VLMScore(network, processor, info, answer)


def _open(folder: Path, dtype: str, name: str) -> tuple[ProcessorMixin, PreTrainedModel]:
    """Processor and network, with every weight in its place and none left over."""
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    asked = {DTYPE: torch_dtype(dtype), "output_loading_info": True}
    try:
        with _no_progress_bar():
            processor: Any = AutoProcessor.from_pretrained(str(folder), **options)
            opened: Any = AutoModelForImageTextToText.from_pretrained(str(folder), **asked, **options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MissingWeightsError(
            f"Scorer {name}: transformers cannot open {folder} as an image-text-to-text model with its processor "
            f"({reason}). Give the folder of such a model, complete, or a newer transformers."
        ) from error
    network, report = opened
    problems = [
        f"{title} ({len(report[key])}): {', '.join(sorted(map(str, report[key]))[:8])}"
        for title, key in (
            ("missing", "missing_keys"),
            ("unexpected", "unexpected_keys"),
            ("other shape", "mismatched_keys"),
        )
        if report[key]
    ]
    if problems:
        raise MissingWeightsError(
            f"Scorer {name}: {folder} does not fit its own config.json. {'; '.join(problems)}. Download it again."
        )
    if not hasattr(processor, "tokenizer"):
        raise MissingWeightsError(
            f"Scorer {name}: {folder} has no processor for image and text together. Add processor_config.json or "
            "preprocessor_config.json and the tokenizer's files."
        )
    return processor, network


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Transformers draws one on standard error for each load, in the middle of ours."""
    before = hub_logging.is_progress_bar_enabled()
    hub_logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            hub_logging.enable_progress_bar()


def _in_template(processor: ProcessorMixin, question: str, name: str) -> str:
    content = [{"type": "image"}, {"type": "text", "text": question}]
    chat: list[dict[str, Any]] = [{"role": "user", "content": content}]
    try:
        text: str = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    except ValueError as error:
        raise UsageError(
            f"Scorer {name}: the model's processor has no chat template ({str(error).splitlines()[0]}). Use a model that "
            "was trained to chat about images."
        ) from error
    token = getattr(processor, "image_token", None)
    if question not in text or (token and token not in text):
        raise UsageError(
            f"Scorer {name}: the model's chat template leaves out the {'image' if question in text else 'question'}. Use "
            "another model."
        )
    return text


def _answer_token(processor: ProcessorMixin, name: str) -> int:
    ids: list[int] = processor.tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == processor.tokenizer.unk_token_id:
        pieces = ", ".join(map(repr, processor.tokenizer.convert_ids_to_tokens(ids)))
        raise UsageError(
            f"Scorer {name}: the model's tokenizer makes {pieces or 'nothing'} of {ANSWER!r}, and this scorer reads the "
            "probability of one token. Use another model."
        )
    return ids[0]


def _control_tokens(processor: ProcessorMixin) -> list[str]:
    """What the tokenizer and the processor take for more than text, longest first."""
    special = {token.content for token in processor.tokenizer.added_tokens_decoder.values() if token.special}
    marks = {
        getattr(processor, name, None) for name in ("image_token", "boi_token", "video_token", "audio_token")
    }
    return sorted((t for t in special | marks if isinstance(t, str) and len(t) > 1), key=len, reverse=True)
