"""What t2v-metrics needs before CLIP-FlanT5 can score: three repositories in a hub's cache, under the names that it knows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefbench.scorers import vqascore
from prefbench.scorers.model_folder import fetch_folder, find_folder, hash_of_files, weight_files
from prefbench.scorers.t5_tokenizer import PIECES_FILE, build_tokenizer
from prefbench.scorers.upstream.original import Architecture, Original
from prefbench.scorers.vqascore_weights import TOWER, full_architecture, tower_folder
from prefbench.scorers.weights import WeightsArgument

__all__ = ["link_repository", "open_flan_t5"]

TOKENIZER_FILES = (PIECES_FILE, "tokenizer_config.json", "special_tokens_map.json", "config.json")
TOWER_FILES = ("config.json", "preprocessor_config.json", "pytorch_model.bin")
REVISION = "0" * 40


def open_flan_t5(name: str, weights: WeightsArgument, architecture: Architecture, work: Path) -> Original:
    """`vqascore.clip-flant5-xl@upstream` or `-xxl`: arguments and errors as of `open_original`.

    A local folder is as for the port, with the tokenizer's files and the tower's folder in it; what it lacks comes from
    the hub. `architecture` has no say in the original: its sizes are those of config.json.
    """
    base = name.partition("@")[0]
    model, pieces = vqascore.HUBS[base]
    folder, own = find_folder(weights, default=model, patterns=vqascore.PATTERNS, scorer=name)
    config = full_architecture(architecture, folder, name)
    has_tokenizer = own and (folder / PIECES_FILE).is_file()
    tokenizer_folder = folder if has_tokenizer else fetch_folder(pieces, TOKENIZER_FILES, name)
    tower = tower_folder(config, folder) or fetch_folder(TOWER, TOWER_FILES, name)
    hub = work / "hub"
    for repository, source in ((model.repo, folder), (pieces.repo, tokenizer_folder), (TOWER.repo, tower)):
        link_repository(hub, repository, source)
    tokenizer = build_tokenizer(tokenizer_folder / PIECES_FILE, name)

    def cut(prompts: Sequence[str]) -> NDArray[np.bool_]:
        return vqascore.questions_too_long(tokenizer, prompts)

    return Original(
        package="t2v-metrics",
        script="t2v_metrics_worker.py",
        settings={"model": base.removeprefix("vqascore.")},
        weights=hash_of_files(weight_files(folder, name)),
        licence=vqascore.LICENCE,
        scale=vqascore.SCALE,
        trained_on=vqascore.TRAINED_ON,
        token_limit=vqascore.TOKEN_LIMIT,
        too_long=cut,
        architecture=_fields(config),
        hub_cache=hub,
    )


def link_repository(hub: Path, repository: str, source: Path) -> None:
    """Make the files of `source` look like a repository that the hub's client has fetched before."""
    base = hub / ("models--" + repository.replace("/", "--"))
    snapshot = base / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text(REVISION, encoding="utf-8")
    for file in source.iterdir():
        if file.is_file():
            (snapshot / file.name).symlink_to(file.resolve())


def _fields(config: dict[str, Any]) -> dict[str, Any]:
    """What of a config.json can go into a fingerprint: JSON without names of folders."""
    return {key: value for key, value in config.items() if not key.startswith("_")}
