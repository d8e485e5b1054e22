"""Reading networks so that nothing is half-loaded.

`from_pretrained` of diffusers and transformers fills a tensor that the file lacks with random numbers and
warns; a benchmark of such a network is a benchmark of noise. Here every tensor of the network comes from the
file, and every tensor of the file is used, or it is an error.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from prefbench.bench.checkpoints.pipeline_folder import component_folders, read_index, read_object
from prefbench.bench.exceptions import DataError, MissingWeightsError

__all__ = ["add_lora", "check_small_parts", "load_pipeline", "load_unet", "quiet_libraries"]

MOST_TOKENS = 100_000
"""A tokenizer that states no limit has transformers' 10^30."""

HARMLESS = "position_ids"
"""A constant that older text encoders stored; newer code computes it."""


def load_pipeline(folder: Path) -> Any:
    """The pipeline in `folder`, float32, on the CPU, without safety checker and watermark.

    Raises:
        DataError: no pipeline, a wrong class.
        MissingWeightsError: weights that are corrupt, incomplete or of another shape.
    """
    import diffusers

    index = read_index(folder)
    with quiet_libraries(), _explained(folder):
        networks = {
            name: _network(folder / name, _class(library, class_name, folder))
            for name, (library, class_name) in component_folders(folder, index).items()
            if issubclass(_class(library, class_name, folder), torch.nn.Module)
        }
        extra: dict[str, Any] = {}
        if "safety_checker" in index:
            extra = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        if index["_class_name"] == "StableDiffusionXLPipeline":
            extra["add_watermarker"] = False
        pipeline = getattr(diffusers, index["_class_name"]).from_pretrained(folder, **networks, **extra)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def check_small_parts(folder: Path) -> None:
    """Open the tokenizers and the scheduler of the pipeline in `folder`.

    Without its vocabulary a tokenizer still loads: every word is then unknown to it, and all prompts are one.

    Raises:
        DataError: one cannot be opened, or a tokenizer does not belong to its text encoder.
    """
    for name, (library, class_name) in component_folders(folder, read_index(folder)).items():
        if not name.startswith(("tokenizer", "scheduler")):
            continue
        place, part_class = folder / name, _class(library, class_name, folder)
        if name == "scheduler":
            read_object(place / "scheduler_config.json")
        try:
            with quiet_libraries():
                part = part_class.from_pretrained(place)  # type: ignore[attr-defined]
        except Exception as error:  # tokenizers raises bare Exceptions
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{place} cannot be opened ({type(error).__name__}: {reason}). Copy or download it again."
            ) from error
        if name.startswith("tokenizer"):
            encoder = folder / name.replace("tokenizer", "text_encoder") / "config.json"
            words, limit = len(part), part.model_max_length
            wanted = read_object(encoder).get("vocab_size", words)
            if words > wanted or 2 * words < wanted or limit > MOST_TOKENS:
                length = f"a limit of {limit} tokens" if limit <= MOST_TOKENS else "no limit of tokens"
                raise DataError(
                    f"{place} has {words:,} words and {length}; {encoder} has {wanted:,} words. "
                    "A file of the tokenizer is missing or of another model: copy or download it again."
                )


def load_unet(folder: Path, base: Any) -> Any:
    """A UNet for the pipeline `base`: from `folder`, or from its subfolder unet/.

    Raises:
        MissingWeightsError: corrupt or incomplete weights, or a UNet that takes other inputs than the base's.
    """
    from diffusers import UNet2DConditionModel

    with quiet_libraries():
        unet = _network(folder, UNet2DConditionModel)
    for key in ("in_channels", "out_channels", "cross_attention_dim", "addition_embed_type"):
        ours, theirs = getattr(unet.config, key), getattr(base.unet.config, key)
        if ours != theirs:
            raise MissingWeightsError(
                f"{folder}: this UNet has {key} = {ours}, that of the base has {theirs}: it belongs to "
                "another base. "
                "Name the base that it was trained from."
            )
    return unet


def add_lora(pipeline: Any, path: Path) -> None:
    """Merge the LoRA file `path` into the pipeline's networks (scale 1), in place.

    Merged, not attached: a sample then costs what the base's costs. Raises MissingWeightsError if not every
    layer of the file finds its place.
    """
    from safetensors import safe_open

    with _explained(path), safe_open(path, framework="pt") as file:
        keys = list(file.keys())
    pairs = sum(".lora_A." in key or ".lora.down." in key or "_lora.down." in key for key in keys)
    with quiet_libraries(), _explained(path):
        pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="lora")
        modules = [getattr(pipeline, part, None) for part in ("unet", "text_encoder", "text_encoder_2")]
        placed = sum(
            1
            for module in modules
            if module is not None
            for name, _ in module.named_parameters()
            if ".lora_A." in name
        )
        if not pairs or placed != pairs:
            raise MissingWeightsError(
                f"{path} holds {pairs} LoRA layers and {placed} found a place in this base: it belongs to "
                "another base, "
                "or is in a layout that diffusers does not read. Name the base that it was trained from."
            )
        pipeline.fuse_lora(
            components=[part for part in pipeline._lora_loadable_modules if hasattr(pipeline, part)]
        )
        pipeline.unload_lora_weights()


def _class(library: str, name: str, folder: Path) -> type:
    if library not in ("diffusers", "transformers"):
        raise DataError(
            f"{folder / 'model_index.json'} asks for the class {library}.{name}, which is code of another "
            "package; only "
            "classes of diffusers and transformers are loaded."
        )
    try:
        return getattr(importlib.import_module(library), name)
    except AttributeError as error:
        raise DataError(
            f"{folder / 'model_index.json'} asks for {library}.{name}, which the installed {library} does "
            "not have. "
            f"Install the version of {library} that saved this checkpoint, or a newer one."
        ) from error


def _network(folder: Path, network_class: Any) -> torch.nn.Module:
    with _explained(folder):
        network, info = network_class.from_pretrained(
            folder, output_loading_info=True, torch_dtype=torch.float32
        )
    missing = sorted(key for key in info["missing_keys"] if HARMLESS not in key)
    unexpected = sorted(key for key in info["unexpected_keys"] if HARMLESS not in key)
    if missing or unexpected:
        what = f"{len(missing)} tensors are missing (first: {missing[0]})" if missing else ""
        more = f"{len(unexpected)} tensors have no place (first: {unexpected[0]})" if unexpected else ""
        raise MissingWeightsError(
            f"{folder}: the weights do not fit config.json: "
            f"{'; '.join(part for part in (what, more) if part)}. The two files "
            "are of different models, or the weights are of another version; copy both from one place."
        )
    return network.eval()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the libraries raise at unreadable or unfitting files into one paragraph with the path."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise MissingWeightsError(
            f"{path} cannot be loaded: {type(error).__name__}: {reason}. The file is damaged or belongs to "
            "another architecture; "
            "copy or download it again."
        ) from error


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bars and warnings of the libraries: what they warn of is an error here."""
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    for module in (diffusers_logging, transformers_logging):
        module.set_verbosity_error()
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module, level in zip((diffusers_logging, transformers_logging), levels, strict=True):
            module.set_verbosity(level)
            module.enable_progress_bar()
