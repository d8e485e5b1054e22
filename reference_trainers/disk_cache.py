"""Encodings on disk: made once for many runs, resumed after a kill, in memory only what a batch needs.

    DIR/encodings/<fingerprint>/fingerprint.json     what decides the numbers, readable
    DIR/encodings/<fingerprint>/latents-*.safetensors
    DIR/encodings/<fingerprint>/prompts-*.safetensors

The fingerprint covers the weights and settings of VAE and text encoders, their precision, the resolution, the rule
by which image files become pixels and the sha256 of the data, so encodings of anything else are never read.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from prefbench.bench.atomic import write_json
from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.backbones.backbone import Backbone, Posterior
from prefbench.reference_trainers.encodings import EncodingPlan, ImageRef
from prefbench.reference_trainers.method import Condition
from prefbench.reference_trainers.processes import process_state
from prefbench.reference_trainers.shard_store import ShardStore
from prefbench.reference_trainers.trained_unet import weights_sha256
from prefbench.scorers.image_io import DECODE_RULE

__all__ = ["DiskCache", "encoding_fingerprint"]

FORMAT = 1
CHUNKS_A_SHARD = 8
DISK_SHARE = 0.95


def encoding_fingerprint(backbone: Backbone, data_sha256: str, resolution: int) -> dict[str, Any]:
    """All that decides the encodings, as JSON values."""
    encoders: dict[str, Any] = {}
    for name, module in backbone.encoders().items():
        config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
        settings = {key: value for key, value in config.items() if not key.startswith("_")}  # no paths
        encoders[name] = {
            "weights_sha256": weights_sha256(module),
            "settings_sha256": hashlib.sha256(
                json.dumps(settings, sort_keys=True, default=str).encode()
            ).hexdigest(),
            "dtype": str(next(module.parameters()).dtype),
        }
    return {
        "format": FORMAT,
        "encoders": encoders,
        "resolution": resolution,
        "decode_rule": DECODE_RULE,
        "data_sha256": data_sha256,
    }


class DiskCache:
    """Encodes what the folder lacks when it is made; several processes share the work.

    Args:
        plan: what the run meets.
        folder: of all caches.

    Raises:
        DataError: a file of the cache is damaged.
        UsageError: the disk has no room.
    """

    def __init__(self, plan: EncodingPlan, folder: Path) -> None:
        fingerprint = encoding_fingerprint(plan.backbone, plan.pairs.sha256, plan.resolution)
        digest = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()
        self.folder = folder / "encodings" / digest[:32]
        self._latents = ShardStore(self.folder, "latents")
        self._prompts = ShardStore(self.folder, "prompts")
        _check_prompts(plan.prompts)
        complete = self._prompts.has([_prompt_key(prompt) for prompt in plan.prompts]) and all(
            self._latents.has(_image_keys(chunk)) for chunk in plan.image_chunks()
        )
        state = process_state()
        state.wait_for_everyone()  # all have looked before one writes, so all divide the same work
        if not complete:
            _check_room(self.folder, plan)
            write_json(self.folder / "fingerprint.json", fingerprint)
            self._fill(plan, state.process_index, state.num_processes)
        state.wait_for_everyone()
        self._latents.scan()
        self._prompts.scan()

    def _fill(self, plan: EncodingPlan, process: int, processes: int) -> None:
        for number, chunks in enumerate(_batched(plan.image_chunks())):
            keys = [key for chunk in chunks for key in _image_keys(chunk)]
            if number % processes == process and not self._latents.has(keys):
                encoded = [plan.encode_images(chunk) for chunk in chunks]
                rows = {
                    "mean": torch.cat([part.mean for part in encoded]),
                    "std": torch.cat([part.std for part in encoded]),
                }
                self._latents.write(keys, rows)
        for number, prompts in enumerate(_batched(plan.prompt_chunks())):
            keys = [_prompt_key(prompt) for chunk in prompts for prompt in chunk]
            if number % processes == process and not self._prompts.has(keys):
                parts = [plan.encode_prompts(chunk) for chunk in prompts]
                self._prompts.write(
                    keys, {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
                )

    def posterior(self, images: Sequence[ImageRef]) -> Posterior:
        """See Encodings."""
        rows = self._latents.read(_image_keys(images))
        return Posterior(rows["mean"], rows["std"])

    def condition(self, prompts: Sequence[str]) -> Condition:
        """See Encodings."""
        return self._prompts.read([_prompt_key(prompt) for prompt in prompts])


def _image_keys(images: Sequence[ImageRef]) -> list[int]:
    return [2 * pair + side for pair, side in images]


def _prompt_key(prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big") >> 1


def _check_prompts(prompts: Sequence[str]) -> None:
    """63 bits of sha256: two of a million prompts share a key with a probability of 5e-8; never unseen."""
    seen: Mapping[int, str] = {_prompt_key(prompt): prompt for prompt in prompts}
    if len(seen) != len(prompts):
        raise UsageError("Two prompts of the data have the same key in the cache on disk. Set cache=memory.")


def _check_room(folder: Path, plan: EncodingPlan) -> None:
    present = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    needed, free = plan.bytes_needed() - present, shutil.disk_usage(folder).free
    if needed > DISK_SHARE * free:
        raise UsageError(
            f"cache=disk needs {needed / 2**30:.1f} GiB more in {folder}, and {free / 2**30:.1f} GiB are free there. "
            "Name another folder with cache_dir, or set cache=false."
        )


def _batched(chunks: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    iterator = iter(chunks)
    while batch := list(itertools.islice(iterator, CHUNKS_A_SHARD)):
        yield batch
