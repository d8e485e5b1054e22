"""VQAScore with CLIP-FlanT5: how probable "Yes" is as the answer to whether the image shows the prompt.

    question = SYSTEM USER: <image> Does this figure show "{prompt}"? Please answer yes or no. ASSISTANT:
    score = exp(-mean cross-entropy of the answer's tokens, "Yes" and the end of the text)

Unit: the geometric mean of the probabilities of those tokens, 0 to 1. Higher is better. The image's 576 projected patch
features stand in the T5 encoder's input where the question says <image>.

Paper: Lin et al., Evaluating Text-to-Visual Generation with Image-to-Text Generation, 2024. Upstream: t2v-metrics 3.0
(models/vqascore_models/clip_t5_model.py, mm_utils.py, clip_t5/model/) and linzhiqiu/CLIP-FlanT5@7b18790.
* The released code's [CODE]: templates; a square padded with the mean colour; CLIP ViT-L/14-336, its last layer but
  one without the class token; each part of the question beside the image tokenized alone, so that </s> stands before
  the image too; 2048 tokens, the image counting as one, cut at the end; a softmax over the tokenizer's 32100 tokens,
  because the output layer's 28 unused rows are cut off after loading.
* Differences. The weights are stored in bfloat16, and the released code computes in it; here float32 is the default,
  and dtype="bfloat16" computes in it throughout, without autocast. One decode path for all scorers (image_io.py). The
  released code splits the finished question at every <image>, so that a prompt with that word asks for a second image;
  here the word in a prompt is text. T5's own tokens in a prompt ("</s>", "<pad>", "<extra_id_0>") are read as such, as
  there. Pairs are scored in batches.
* transformers 5 ties T5's output layer to its embeddings whatever the configuration says; it is untied here where
  `tie_word_embeddings` is false, as in Flan-T5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from prefbench.bench.exceptions import DataError, MissingWeightsError
from prefbench.scorers.batching import score_in_batches
from prefbench.scorers.fingerprint import library_versions, sha256_of_file
from prefbench.scorers.image_io import DECODE_RULE, image_name, open_rgb
from prefbench.scorers.info import ScorerInfo
from prefbench.scorers.model_folder import (
    HubRepo,
    fetch_folder,
    find_folder,
    hash_of_files,
    read_weights,
    weight_files,
)
from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD, PIXEL_LIMIT, resize_and_center_crop, to_pixels
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.t5_tokenizer import PAD, PIECES_FILE, build_tokenizer
from prefbench.scorers.vqascore_network import T5_FIELDS, TOWER_FIELDS, CLIPFlanT5, build, forward
from prefbench.scorers.vqascore_weights import IGNORED_KEYS, full_architecture, renamed, tower_files
from prefbench.scorers.weights import SkipRandomInit, WeightsArgument, default_dtype, load_strict, place

__all__ = [
    "HUBS",
    "LICENCE",
    "PATTERNS",
    "SCALE",
    "TOKEN_LIMIT",
    "TRAINED_ON",
    "VQAScore",
    "load",
    "pad_to_square",
    "questions_too_long",
]

# Weights and tokenizer. The repositories are t2v-metrics 3.0's; the revisions are as public code quotes them. For
# clip-flant5-xxl none is quoted, so it is not pinned.
HUBS = {
    "vqascore.clip-flant5-xl": (
        HubRepo("zhiqiulin/clip-flant5-xl", "3b4a6b1b618f4e286f5353b5b5147a3ae7d9ec55"),
        HubRepo("google/flan-t5-xl", "7d6315df2c2fb742f0f5b556879d730926ca9001"),
    ),
    "vqascore.clip-flant5-xxl": (
        HubRepo("zhiqiulin/clip-flant5-xxl", "main"),
        HubRepo("google/flan-t5-xxl", "ae7c9136adc7555eeccc78cdd960dfd60fb346ce"),
    ),
}
PATTERNS = ("config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*")

# t2v-metrics 3.0 constants.py and clip_t5_model.py, conversation style "t5_chat" [CODE]. The spaces at the ends of the
# two parts and the line break after the image are lost in T5's tokenizer.
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
BEFORE_IMAGE = SYSTEM + " USER: "
AFTER_IMAGE = '\nDoes this figure show "{}"? Please answer yes or no. ASSISTANT: '
ANSWER = "Yes"
TOKEN_LIMIT = 2048

# int(255 * CLIP's mean), as clip_t5_model.py computes it [CODE].
PAD_COLOUR = tuple(int(mean * 255) for mean in CLIP_MEAN)

LICENCE = "apache-2.0 by the hub's tag; the training code's README says research use only"
TRAINED_ON = "LLaVA-1.5's mixture of captions, chat and visual questions; no human preferences"
SCALE = "probability of answering Yes, 0-1"
FORMULA = "exp(mean log-softmax of the answer's tokens over the tokenizer's ids), float32"


def pad_to_square(image: Image.Image, name: str = "an image") -> Image.Image:
    """An RGB image in the middle of a square of CLIP's mean colour; of an odd rest the smaller half comes first.

    Raises: DataError for a strip whose square would pass Pillow's own limit of pixels.

    Source: t2v-metrics 3.0 mm_utils.py `expand2square` [CODE].
    """
    width, height = image.size
    side = max(width, height)
    if width == height:
        return image
    if side * side > PIXEL_LIMIT:
        raise DataError(
            f"Image {name} of {width} x {height} pixels would be padded to {side} x {side}. Shrink or crop it "
            "before scoring."
        )
    square = Image.new("RGB", (side, side), PAD_COLOUR)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


@dataclass
class VQAScore:
    """A loaded CLIP-FlanT5."""

    network: CLIPFlanT5
    tokenizer: Tokenizer
    info: ScorerInfo
    image_size: int
    batch_size: int = 8

    def open_image(self, image: ImageSource) -> Image.Image:
        """Decoded, padded to a square and resized to S x S."""
        square = pad_to_square(open_rgb(image), image_name(image))
        return resize_and_center_crop(square, self.image_size, crop="floor")

    def preprocess(self, images: Sequence[ImageSource]) -> Tensor:
        """B images -> normalised float32 (B, 3, S, S)."""
        return to_pixels([self.open_image(image) for image in images])

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """B texts -> int64 (B, L): the question after the image, cut at the limit, padded on the right."""
        room = _room(self.tokenizer)
        rows = [torch.tensor(ids[:room]) for ids in _questions(self.tokenizer, prompts)]
        return pad_sequence(rows, batch_first=True, padding_value=PAD)

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts make a question of more than 2048 tokens, shape (N,)."""
        return questions_too_long(self.tokenizer, prompts)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`."""
        return score_in_batches(
            images,
            prompts,
            scorer=self.info.name,
            network=self.network,
            batch_size=self.batch_size,
            open_image=self.open_image,
            to_pixels=to_pixels,
            tokenize=self.tokenize,
            forward=partial(
                forward,
                before=torch.tensor(self.tokenizer.encode(BEFORE_IMAGE).ids),
                answer=torch.tensor(self.tokenizer.encode(ANSWER).ids),
                vocabulary=self.tokenizer.get_vocab_size(),
                pad=PAD,
            ),
        )


def questions_too_long(tokenizer: Tokenizer, prompts: Sequence[str]) -> NDArray[np.bool_]:
    """Which prompts make a question of more than 2048 tokens, shape (N,)."""
    room = _room(tokenizer)
    return np.array([len(ids) > room for ids in _questions(tokenizer, prompts)], dtype=bool)


def _questions(tokenizer: Tokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """Ids of what follows the image, uncut."""
    return [tokenizer.encode(AFTER_IMAGE.format(prompt)).ids for prompt in prompts]


def _room(tokenizer: Tokenizer) -> int:
    """Tokens that may follow the image, which counts as one."""
    return TOKEN_LIMIT - len(tokenizer.encode(BEFORE_IMAGE).ids) - 1


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> VQAScore:
    """Load `vqascore.clip-flant5-xl` or `vqascore.clip-flant5-xxl`.

    Args:
        name: as typed.
        weights: None (hub), a folder in the original's format (see vqascore_weights.py), or a hub id.
        architecture: what replaces config.json, dict or JSON file; it may hold `vision_config`.
        device: torch device.
        dtype: of the network; the softmax and the mean are float32 in any case.

    Raises: MissingWeightsError, UsageError.
    """
    model, pieces = HUBS[name]
    folder, own = find_folder(weights, default=model, patterns=PATTERNS, scorer=name)
    config = full_architecture(architecture, folder, name)
    files = weight_files(folder, name)
    state = read_weights(files, name)  # before a large network is built for nothing
    tower = tower_files(state, config, folder, name)
    with SkipRandomInit(), default_dtype(dtype):
        network = build(config)
    place(network, device, dtype)
    published = renamed(network, state, tower, name, folder)
    load_strict(network, published, scorer=name, source=folder, ignore=IGNORED_KEYS)
    home = folder if own and (folder / PIECES_FILE).is_file() else fetch_folder(pieces, (PIECES_FILE,), name)
    tokenizer = build_tokenizer(home / PIECES_FILE, name)
    if tokenizer.get_vocab_size() > network.t5.shared.num_embeddings:
        raise MissingWeightsError(
            f"Scorer {name}: the tokenizer {home / PIECES_FILE} has {tokenizer.get_vocab_size()} tokens and the network "
            f"{network.t5.shared.num_embeddings}. Put the matching {PIECES_FILE} beside the weights."
        )
    info = _info(name, network, config, tokenizer, home / PIECES_FILE, (*files, *tower), dtype)
    return VQAScore(network, tokenizer, info, image_size=int(config["vision_config"]["image_size"]))


def _info(
    name: str,
    network: CLIPFlanT5,
    config: dict[str, Any],
    tokenizer: Tokenizer,
    pieces: Path,
    files: Sequence[Path],
    dtype: str,
) -> ScorerInfo:
    t5, vision = network.t5.config.to_dict(), network.tower.config.to_dict()
    size = vision["image_size"]
    identity = {
        "scorer": "vqascore",
        "weights": hash_of_files(files),
        # Only the fields that decide a score: config.json files of the same model differ in the others.
        "backbone": {
            "library": "transformers T5ForConditionalGeneration, CLIPVisionModel",
            "t5": {
                **{field: t5[field] for field in T5_FIELDS},
                "tie_word_embeddings": bool(config["tie_word_embeddings"]),
            },
            "vision": {field: vision[field] for field in TOWER_FIELDS},
            "projector": config["mm_projector_type"],
            "features": {"layer": network.layer, "skipped": network.skip},
        },
        "decode": DECODE_RULE,
        "resize": f"padded to a square of {PAD_COLOUR}, pillow bicubic antialiased to {size}",
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "dtype": dtype,
        "tokenizer": {
            "kind": "T5 unigram by the tokenizers library, each part ended",
            "limit": TOKEN_LIMIT,
            "vocabulary": sha256_of_file(pieces),
            "template": [BEFORE_IMAGE, AFTER_IMAGE],
            "answer": [ANSWER, tokenizer.encode(ANSWER).ids],
        },
        "formula": FORMULA,
        "versions": library_versions(),
    }
    return ScorerInfo(
        name=name,
        variant=None,
        licence=LICENCE,
        scale=SCALE,
        trained_on=TRAINED_ON,
        identity=identity,
        token_limit=TOKEN_LIMIT,
    )
