"""A diffusers pipeline folder on disk: its parts, whether they are whole, and the hash that identifies it."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from prefbench.bench.exceptions import DataError, MissingWeightsError

__all__ = [
    "HUB_PATTERNS",
    "NETWORKS",
    "SUPPORTED",
    "check_network",
    "check_weight_files",
    "component_folders",
    "files_sha256",
    "image_size",
    "read_index",
    "read_json",
    "read_object",
    "size_step",
]

UNUSED = ("safety_checker", "feature_extractor", "image_encoder", "watermark")
"""Parts that are not loaded. The safety checker replaces an image that it dislikes by a black one, which
would be scored as the checkpoint's picture: it stays off for every checkpoint, and the identity says so."""

NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")

NEEDED = {
    "StableDiffusionPipeline": ("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    "StableDiffusionXLPipeline": (*NETWORKS, "tokenizer", "tokenizer_2", "scheduler"),
}
"""Parts that each supported class draws with."""

SUPPORTED = tuple(NEEDED)
"""Pipelines with a UNet whose initial latents are plain Gaussian noise of the UNet's shape."""

HUB_PATTERNS = [
    "model_index.json",
    *(f"{part}/*.json" for part in ("unet", "vae", "text_encoder", "text_encoder_2", "scheduler")),
    *(f"{part}/*.safetensors" for part in ("unet", "vae", "text_encoder", "text_encoder_2")),
    "tokenizer/*",
    "tokenizer_2/*",
]
"""What is fetched of a pipeline on the hub. Only safetensors: one that has none is refused."""


def read_json(path: Path) -> Any:
    """The JSON in `path`.

    Raises:
        DataError: missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. The checkpoint folder is not complete.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON ({error}). Save the checkpoint again.") from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        DataError: missing, not JSON, or JSON of another kind.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds {type(value).__name__}, not a JSON object. Save the checkpoint again.")
    return value


def read_index(folder: Path) -> dict[str, Any]:
    """`model_index.json` of a pipeline folder, of a supported class.

    Raises:
        DataError: no pipeline folder, or a pipeline of another class.
    """
    if not (folder / "model_index.json").is_file():
        hint = ""
        if (folder / "config.json").is_file():
            hint = f" It looks like a single network: for a UNet give unet:{folder}@BASE."
        elif (folder / "pytorch_lora_weights.safetensors").is_file():
            hint = f" It holds LoRA weights: give lora:{folder}@BASE."
        raise DataError(f"{folder} is no diffusers pipeline: it has no model_index.json.{hint}")
    index = read_json(folder / "model_index.json")
    name = index.get("_class_name") if isinstance(index, dict) else None
    if name not in SUPPORTED:
        raise DataError(
            f"{folder / 'model_index.json'}: the pipeline class is {name!r}; supported are "
            f"{', '.join(SUPPORTED)}. For any "
            "other model generate the images yourself and give images:DIR."
        )
    return index


def component_folders(folder: Path, index: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Component -> (library, class), without the parts that are not used.

    Raises:
        DataError: a part that the pipeline needs is not in the index, or one that is in it has no folder.
    """
    parts = {}
    for name in NEEDED[index["_class_name"]]:
        entry = index.get(name)
        if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(part, str) for part in entry):
            raise DataError(
                f"{folder / 'model_index.json'}: the part {name!r} is {entry!r}; it must be [library, class]. "
                "Copy or save the checkpoint again."
            )
    for name, entry in index.items():
        if name in UNUSED or not isinstance(entry, list) or not entry or entry[0] is None:
            continue
        if not (folder / name).is_dir():
            raise DataError(
                f"{folder} lists the part {name!r} in model_index.json but has no folder {name}/."
            )
        parts[name] = (entry[0], entry[1])
    return parts


def files_sha256(root: Path, paths: list[Path]) -> str:
    """One hash over names (relative to `root`) and contents, sorted by name. Hidden files do not count."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        relative = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{relative.as_posix()} {content}\n".encode())
    return digest.hexdigest()


def check_network(folder: Path) -> None:
    """The folder of one network has a config and whole weights.

    Raises:
        DataError: no config.json, or one that is no JSON object.
        MissingWeightsError: no weights, a shard is missing, or a damaged or cut-off file.
    """
    read_object(folder / "config.json")
    check_weight_files(folder)


def check_weight_files(place: Path) -> None:
    """`place`, a file or a folder, holds weights; every header of them can be read, and they are as long as it says.

    Pickles (.bin) are not opened here: what is wrong with them shows when they are loaded.

    Raises:
        MissingWeightsError: as `check_network`.
    """
    from safetensors import SafetensorError, safe_open

    files = [place] if place.is_file() else sorted(place.rglob("*.safetensors"))
    if not files and not any(place.glob("*.bin")):
        raise MissingWeightsError(
            f"{place} has no weights: no .safetensors file is there. Copy or download the checkpoint again."
        )
    for index in place.glob("*.safetensors.index.json"):
        shards = read_object(index).get("weight_map")
        named = set(shards.values()) if isinstance(shards, dict) else set()
        missing = sorted(str(name) for name in named if not (place / str(name)).is_file())
        if missing:
            raise MissingWeightsError(
                f"{place} lacks {', '.join(missing)}, which {index.name} lists. Copy or download it again."
            )
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise MissingWeightsError(
                f"{path} is damaged: {error}. Copy or download it again; it is {path.stat().st_size} bytes "
                "here."
            ) from error


def size_step(folder: Path) -> int:
    """Widths and heights are multiples of this many pixels: of the VAE's factor, and of 8, as diffusers asks."""
    blocks = read_object(folder / "vae" / "config.json").get("block_out_channels")
    return math.lcm(8, 2 ** (len(blocks) - 1) if isinstance(blocks, list) and blocks else 1)


def image_size(folder: Path) -> tuple[int, int]:
    """(width, height) in pixels that the pipeline draws by default: UNet sample size times VAE factor."""
    sample = read_object(folder / "unet" / "config.json").get("sample_size")
    blocks = read_object(folder / "vae" / "config.json").get("block_out_channels")
    if not isinstance(sample, int | list) or not isinstance(blocks, list):
        raise DataError(
            f"{folder}: unet/config.json has no sample_size or vae/config.json no block_out_channels, so "
            "the image size is "
            "unknown. Set width and height under [sampling] in the suite."
        )
    height, width = (sample, sample) if isinstance(sample, int) else sample
    factor = 2 ** (len(blocks) - 1)
    return width * factor, height * factor
