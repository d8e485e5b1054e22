"""A model as transformers keeps it: a folder with config.json and its weights in one file or in shards.

On a hub the folder is a repository. Shards are named by an index, `model.safetensors.index.json` or
`pytorch_model.bin.index.json`, which maps each tensor to its file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers.fingerprint import sha256_of_file, sha256_of_json
from prefbench.scorers.weights import HUB_NAME, WeightsArgument, read_state_dict

__all__ = ["HubRepo", "fetch_folder", "find_folder", "hash_of_files", "read_weights", "weight_files"]

# The order in which transformers looks: safetensors before pickles, one file before shards.
SINGLE = ("model.safetensors", "pytorch_model.bin")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class HubRepo:
    """A hub repository at a revision."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}"


def fetch_folder(source: HubRepo, patterns: Sequence[str], scorer: str) -> Path:
    """The local copy of a repository's files that fit `patterns`, fetched into the hub's own cache.

    Raises: MissingWeightsError if the hub cannot be reached or does not have the repository.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source.repo, revision=source.revision, allow_patterns=list(patterns)))
    except Exception as error:  # whichever HTTP library the hub's client uses has its own errors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingWeightsError(
            f"Scorer {scorer}: {source} could not be fetched from the model hub ({reason}). Fetch it on a machine "
            f"with access and give the folder: --weights {scorer}=FOLDER on the command line, weights=FOLDER in "
            "Python."
        ) from error


def find_folder(
    weights: WeightsArgument, *, default: HubRepo | None, patterns: Sequence[str], scorer: str
) -> tuple[Path, bool]:
    """The folder that `weights` means.

    Args:
        weights: None for `default`; a local folder; or "owner/name[@revision]" on the hub.
        default: published repository; None where there is no such thing and `weights` is given.
        patterns: file names to fetch from a hub, with wildcards.
        scorer: name for messages.

    Returns: the folder, and whether it is the user's own rather than the hub's copy.

    Raises: MissingWeightsError.
    """
    if weights is None and default is not None:
        return fetch_folder(default, patterns, scorer), False
    path = Path(weights or "")
    if weights is not None and path.is_dir():
        return path, True
    hub_name = HUB_NAME.fullmatch(str(weights))
    if hub_name and not path.exists():
        repo = HubRepo(hub_name["repo"], hub_name["revision"] or "main")
        return fetch_folder(repo, patterns, scorer), False
    what = "is a file" if path.is_file() else "does not exist"
    raise MissingWeightsError(
        f"Scorer {scorer}: weights path {path} {what}. Give a folder with config.json and one of: "
        f"{', '.join((*SINGLE, *INDEXES))}."
    )


def weight_files(folder: Path, scorer: str) -> tuple[Path, ...]:
    """The files that hold a folder's weights, in order of name.

    Raises: MissingWeightsError if there are none, or the index is damaged or names a file that is not there.
    """
    for single, index in zip(SINGLE, INDEXES, strict=True):
        if (folder / single).is_file():
            return (folder / single,)
        if (folder / index).is_file():
            return _shards(folder / index, scorer)
    raise MissingWeightsError(
        f"Scorer {scorer}: {folder} has no weights: looked for {', '.join((*SINGLE, *INDEXES))}."
    )


def _shards(index: Path, scorer: str) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise MissingWeightsError(
            f"Scorer {scorer}: {index} is not an index of shards ({type(error).__name__}: {error}). "
            "Download it again."
        ) from error
    absent = [name for name in names if Path(name).name != name or not (index.parent / name).is_file()]
    if absent or not names:
        raise MissingWeightsError(
            f"Scorer {scorer}: {index} names {len(names)} files, of which these are not beside it: "
            f"{', '.join(absent[:8]) or 'none'}. Download them too."
        )
    return tuple(index.parent / name for name in names)


def read_weights(files: Sequence[Path], scorer: str) -> dict[str, Tensor]:
    """Tensors by name from all files together, mapped from disk where the format allows: no second copy in memory.

    Raises: MissingWeightsError for a file that cannot be read, or a tensor that two files have.
    """
    state: dict[str, Tensor] = {}
    for file in files:
        part = read_state_dict(file, scorer)
        if twice := state.keys() & part.keys():
            raise MissingWeightsError(
                f"Scorer {scorer}: {file} has {len(twice)} tensors that another shard has too, "
                f"{min(twice)} among them. The folder mixes two models: download it again."
            )
        state.update(part)
    return state


def hash_of_files(files: Sequence[Path]) -> str:
    """sha256 of one file, or of the names and sha256 of several."""
    if len(files) == 1:
        return sha256_of_file(files[0])
    return sha256_of_json({file.name: sha256_of_file(file) for file in files})
