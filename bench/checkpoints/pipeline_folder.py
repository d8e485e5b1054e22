"""A diffusers pipeline folder on disk: its parts, whether they are whole, and the hash that identifies it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from prefbench.bench.exceptions import DataError, MissingWeightsError

__all__ = [
    "HUB_PATTERNS",
    "SUPPORTED",
    "check_weight_files",
    "component_folders",
    "files_sha256",
    "image_size",
    "read_index",
    "read_json",
]

SUPPORTED = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""Pipelines with a UNet whose initial latents are plain Gaussian noise of the UNet's shape."""

UNUSED = ("safety_checker", "feature_extractor", "image_encoder", "watermark")
"""Parts that are not loaded. The safety checker replaces an image that it dislikes by a black one, which
would be scored as the checkpoint's picture: it stays off for every checkpoint, and the identity says so."""

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
        DataError: a part that the index lists has no folder.
    """
    parts = {}
    for name, entry in index.items():
        if name in UNUSED or not isinstance(entry, list) or entry[0] is None:
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


def check_weight_files(folder: Path) -> None:
    """Every network in `folder` (the folder itself or its subfolders) has weights whose header can be read.

    Raises:
        MissingWeightsError: a folder with a network's config and no weights, or a damaged or cut-off file.
    """
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise MissingWeightsError(
                f"{path} is damaged: {error}. Copy or download it again; it is {path.stat().st_size} bytes "
                "here."
            ) from error


def image_size(folder: Path) -> tuple[int, int]:
    """(width, height) in pixels that the pipeline draws by default: UNet sample size times VAE factor."""
    sample = read_json(folder / "unet" / "config.json").get("sample_size")
    blocks = read_json(folder / "vae" / "config.json").get("block_out_channels")
    if not isinstance(sample, int | list) or not isinstance(blocks, list):
        raise DataError(
            f"{folder}: unet/config.json has no sample_size or vae/config.json no block_out_channels, so "
            "the image size is "
            "unknown. Set width and height under [sampling] in the suite."
        )
    height, width = (sample, sample) if isinstance(sample, int) else sample
    factor = 2 ** (len(blocks) - 1)
    return width * factor, height * factor
