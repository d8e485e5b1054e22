"""HPSv3: human preference score of an image for a prompt, by a vision-language model of 7 billion parameters.

    score = mu,   (mu, log sigma) = head(hidden state of <|Reward|>), head: 3584 - 1024 - 16 - 2 with ReLU

Unit: none stated; the published means of models lie between -0.24 (SD2) and 10.55 (Kolors), and there is no bound.
Higher is better.

Paper: Ma et al., HPSv3: Towards Wide-Spectrum Human Preference Score, 2025. Upstream: MizzenAI/HPSv3@d232ff8 (training and
model), @72b7eba (inference.py).
* The released code's [CODE]: Qwen2-VL-7B-Instruct; the instruction around the prompt (hpsv3_prompt.py); the image resized
  by Pillow to about 256 x 28 x 28 pixels whatever its size; text positions that count every token, those of the image
  included; mu alone is the score; head float32.
* Pinned here, since the released code leaves it to what is installed: attention is torch's scaled_dot_product_attention,
  which is also what the released configuration asks for. Which kernel that runs is torch's choice and the device's.
* Differences: the network is float32 by default (31 GB); the original's is bfloat16, and so is `hpsv3@bf16`. Only the
  reward token passes through the head. One decode path (image_io.py). A prompt that holds <|Reward|> or a token of
  images is refused: the original miscounts or crashes. Qwen's other tokens in a prompt are read as such, as there.
* One pair at a time by default: a pair has some 900 tokens, which keeps a device busy, and nothing is padded, so that
  in bfloat16 too a score does not depend on its neighbours. The original runs out of memory near 16 pairs on 95 GB.
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
from tokenizers import AddedToken, Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.bench.registry import unknown_name
from prefbench.scorers.batching import score_in_batches
from prefbench.scorers.fingerprint import library_versions, sha256_of_json
from prefbench.scorers.hpsv3_network import (
    NO_TOKEN,
    PIXELS,
    HPSv3Network,
    Patches,
    backbone_identity,
    forward,
    network_key,
    target_size,
    to_patches,
)
from prefbench.scorers.hpsv3_prompt import AFTER_IMAGE, BEFORE_IMAGE, REWARD_TOKEN
from prefbench.scorers.image_io import DECODE_RULE, image_name, open_rgb
from prefbench.scorers.info import ScorerInfo
from prefbench.scorers.model_folder import HubRepo, fetch_folder, hash_of_files, read_weights, weight_files
from prefbench.scorers.open_clip_tower import read_architecture
from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD
from prefbench.scorers.protocol import ImageSource
from prefbench.scorers.weights import (
    HubFile,
    SkipRandomInit,
    WeightsArgument,
    find_weights,
    load_strict,
    place,
)

__all__ = ["BASE", "HUB", "VARIANTS", "HPSv3", "build", "forward", "load"]

# inference.py names repository and file; the revisions are as public code quotes them.
HUB = HubFile("MizzenAI/HPSv3", "4f81e3e09edd82fe3c5f636444c721b592a735ca", "HPSv3.safetensors")
BASE = HubRepo("Qwen/Qwen2-VL-7B-Instruct", "eed13092ef92e448dd6875b2a00151bd3f7db0ac")
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
# The language model's output layer, which a reward does not use.
UNUSED_KEYS = ("lm_head.weight",)

VARIANTS = {"fp32": "float32", "bf16": "bfloat16"}
"""Name -> dtype of the network."""
# One of each would be taken for the reward, or for the place of an image.
RESERVED = (REWARD_TOKEN, "<|image_pad|>", "<|video_pad|>")

LICENCE = "apache-2.0 by the hub's tag, MIT by the package"
TRAINED_ON = "HPDv3 (human choices; extends HPDv2, and its repository holds Pick-a-Pic pairs)"
SCALE = "mu, unbounded, about -1 to 12"
FORMULA = "first output of the head at the reward token, head float32, positions count every token"
build = HPSv3Network


@dataclass
class HPSv3:
    """A loaded HPSv3."""

    network: HPSv3Network
    tokenizer: Tokenizer
    info: ScorerInfo
    batch_size: int = 1

    def open_image(self, image: ImageSource) -> Image.Image:
        """Decoded and resized to the pixel budget."""
        decoded = open_rgb(image)
        vision: Any = self.network.visual.config
        try:
            size = target_size(*decoded.size, vision.patch_size * vision.spatial_merge_size)
        except DataError as error:
            raise DataError(f"Image {image_name(image)} {error} before scoring.") from error
        return decoded.resize(size, Image.Resampling.BICUBIC)

    def to_patches(self, images: Sequence[Image.Image]) -> Patches:
        """B resized images, normalised and cut."""
        vision: Any = self.network.visual.config
        return to_patches(
            images,
            patch=vision.patch_size,
            merge=vision.spatial_merge_size,
            frames=vision.temporal_patch_size,
        )

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """B texts -> int64 (B, L): what follows the image, padded with NO_TOKEN on the right."""
        self.check_prompts(prompts)
        rows = [torch.tensor(ids) for ids in self._texts(prompts)]
        return pad_sequence(rows, batch_first=True, padding_value=NO_TOKEN)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raises DataError for a prompt that holds the reward token or one that stands for an image."""
        for prompt in prompts:
            for token in RESERVED:
                if token in prompt:
                    raise DataError(
                        f"Scorer {self.info.name}: the prompt {prompt[:80]!r} holds {token}, which stands for something "
                        "else in this model's input. Take it out of the prompt."
                    )

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts make a text of more tokens than the model has positions for, shape (N,); none is cut."""
        limit = self.info.token_limit or 0
        return np.array([len(ids) > limit for ids in self._texts(prompts)], dtype=bool)

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """See `Scorer.score`."""
        return score_in_batches(
            images,
            prompts,
            scorer=self.info.name,
            network=self.network,
            batch_size=self.batch_size,
            open_image=self.open_image,
            to_pixels=self.to_patches,
            tokenize=self.tokenize,
            forward=partial(
                forward,
                before=torch.tensor(self.tokenizer.encode(BEFORE_IMAGE).ids),
                reward=self.tokenizer.encode(REWARD_TOKEN).ids[0],
            ),
        )

    def _texts(self, prompts: Sequence[str]) -> list[list[int]]:
        texts = [AFTER_IMAGE.format(text_prompt=prompt) for prompt in prompts]
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]


def load(
    name: str,
    *,
    weights: WeightsArgument = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> HPSv3:
    """Load `hpsv3`, with an optional `@variant`.

    Args:
        name: as typed.
        weights: None (hub), HPSv3.safetensors, a folder with it or with a transformers model's files, or a hub id.
            Beside it may lie config.json and tokenizer.json; else they are Qwen2-VL-7B-Instruct's from the hub.
        architecture: what replaces config.json, dict or JSON file.
        device: torch device.
        dtype: of the network; the head is float32 in any case.

    Raises: MissingWeightsError, UsageError.
    """
    base, _, variant = name.partition("@")
    if variant and variant not in VARIANTS:
        raise unknown_name(f"variant of {base}", variant, list(VARIANTS))
    if variant and dtype not in ("float32", VARIANTS[variant]):
        raise UsageError(
            f"Scorer {name} runs in {VARIANTS[variant]}: leave out dtype {dtype!r} or @{variant}."
        )
    dtype = VARIANTS[variant] if variant else dtype
    files = _weight_files(weights, name)
    own = files[0].parent if weights is not None else None
    tokenizer = _read_tokenizer(_home(own, TOKENIZER_FILE, name) / TOKENIZER_FILE, name)
    config = read_architecture(architecture, _home(own, CONFIG_FILE, name), {}, file=CONFIG_FILE)
    state = {network_key(key): value for key, value in read_weights(files, name).items()}
    with SkipRandomInit():
        # The vocabulary is the tokenizer's, as the released code resizes the embeddings: Qwen's has unused rows.
        network = build(_with_vocabulary(config, tokenizer.get_vocab_size()))
    # Before the weights are in, so that a half-precision network never lies in memory in float32.
    place(network, device, dtype)
    place(network.rm_head, device, "float32")
    load_strict(network, state, scorer=name, source=files[0], ignore=UNUSED_KEYS)
    return HPSv3(network, tokenizer, _info(name, variant or None, network, tokenizer, files, dtype))


def _weight_files(weights: WeightsArgument, name: str) -> tuple[Path, ...]:
    folder = Path(weights) if weights is not None else None
    if folder is not None and folder.is_dir() and not (folder / HUB.filename).is_file():
        return weight_files(folder, name)
    return (find_weights(weights, default=HUB, candidates=(HUB.filename,), scorer=name),)


def _home(own: Path | None, file: str, name: str) -> Path:
    """Where a file lies: beside the user's weights, else in the hub's copy of the base model."""
    return own if own is not None and (own / file).is_file() else fetch_folder(BASE, (file,), name)


def _read_tokenizer(path: Path, name: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises plain Exception
        raise MissingWeightsError(
            f"Scorer {name}: {path} is not a tokenizer ({error}). Download it again from {BASE.repo}."
        ) from error
    tokenizer.add_special_tokens([AddedToken(REWARD_TOKEN, special=True)])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _with_vocabulary(config: dict[str, Any], size: int) -> dict[str, Any]:
    """A config.json of either layout with another size of vocabulary."""
    if "text_config" in config:
        return {**config, "text_config": {**config["text_config"], "vocab_size": size}}
    return {**config, "vocab_size": size}


def _info(
    name: str,
    variant: str | None,
    network: HPSv3Network,
    tokenizer: Tokenizer,
    files: Sequence[Path],
    dtype: str,
) -> ScorerInfo:
    vision: Any = network.visual.config
    limit = network.language_model.config.max_position_embeddings
    identity = {
        "scorer": "hpsv3",
        "weights": hash_of_files(files),
        "backbone": backbone_identity(network),
        "decode": DECODE_RULE,
        "resize": f"pillow bicubic antialiased, about {PIXELS} pixels, "
        f"sides multiples of {vision.patch_size * vision.spatial_merge_size}",
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "dtype": dtype,
        "tokenizer": {
            "kind": f"Qwen2's by the tokenizers library, {REWARD_TOKEN} added",
            "limit": limit,
            "vocabulary": sha256_of_json(tokenizer.get_vocab()),
            "template": [BEFORE_IMAGE, AFTER_IMAGE],
        },
        "formula": FORMULA,
        "versions": library_versions(),
    }
    return ScorerInfo(
        name=name,
        variant=variant,
        licence=LICENCE,
        scale=SCALE,
        trained_on=TRAINED_ON,
        identity=identity,
        token_limit=limit,
    )
