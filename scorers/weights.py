"""Where weights come from and how they enter a network: pinned, running no code, completely or not at all."""

import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prefbench.bench.exceptions import MissingWeightsError, UsageError
from prefbench.scorers.fingerprint import sha256_of_file

__all__ = [
    "DTYPES",
    "HubFile",
    "SkipRandomInit",
    "WeightsArgument",
    "beside",
    "check_hub_copy",
    "default_dtype",
    "download",
    "find_weights",
    "load_strict",
    "miniature_folder",
    "place",
    "read_state_dict",
    "torch_dtype",
]

WeightsArgument = str | PathLike[str] | None

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

SHA256 = re.compile(r"[0-9a-f]{64}")
HUB_CACHE_FILES = "blobs"
HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")


@dataclass(frozen=True)
class HubFile:
    """One file of a hub repository at a pinned revision."""

    repo: str
    revision: str
    filename: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}/{self.filename}"


def torch_dtype(dtype: str) -> torch.dtype:
    """The torch type behind a name. Raises UsageError for any other name."""
    if dtype not in DTYPES:
        raise UsageError(f"Unknown dtype {dtype!r} for a scorer. Known: {', '.join(DTYPES)}.")
    return DTYPES[dtype]


@contextmanager
def default_dtype(dtype: str) -> Iterator[None]:
    """Networks that are built inside have this dtype from the start: no float32 copy of a half-precision one."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch_dtype(dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def place(module: nn.Module, device: str, dtype: str | None) -> None:
    """Move a module to a device and dtype (None: each tensor keeps its own), and put it into eval mode.

    Raises: UsageError for an unknown dtype or device.
    """
    try:
        module.to(device=torch.device(device), dtype=torch_dtype(dtype) if dtype else None).eval()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"Device {device!r} cannot be used here: {reason}. Use cpu, cuda or cuda:N."
        ) from error


def miniature_folder(part: str) -> Path:
    """Folder of a miniature scorer's weights inside the package, e.g. part "pickscore".

    Raises: MissingWeightsError if this installation does not have it.
    """
    folder = Path(str(files("prefbench.bench.miniature"))) / "weights" / "scorers" / part
    if not folder.is_dir():
        raise MissingWeightsError(
            f"The weights of mini:{part} are not part of this installation ({folder} does not exist). "
            "Reinstall prefbench, build them with `python -m prefbench.bench.miniature.build`, or give "
            "weights= a folder."
        )
    return folder


def download(file: HubFile, scorer: str) -> Path:
    """The local copy of a hub file, fetched into the hub's own cache where it is not there yet.

    Raises: MissingWeightsError if the hub cannot be reached or does not have the file.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(file.repo, file.filename, revision=file.revision))
    except Exception as error:  # whichever HTTP library the hub's client uses has its own errors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingWeightsError(
            f"Scorer {scorer}: {file} could not be fetched from the model hub ({reason}). "
            f"Fetch {file.filename} from {file.repo} on a machine with access and give its path: "
            f"--weights {scorer}=PATH on the command line, weights=PATH in Python."
        ) from error


def find_weights(
    weights: WeightsArgument, *, default: HubFile | None, candidates: tuple[str, ...], scorer: str
) -> Path:
    """The weights file that `weights` means.

    Args:
        weights: None for the pinned default; a file; a folder that has one of `candidates`; or
            "owner/name[@revision]" on the hub, from which the default's file name is taken.
        default: published file, or None where the hub has none.
        candidates: file names looked for in a folder, best first.
        scorer: name for messages.

    Raises: MissingWeightsError.
    """
    if weights is None:
        if default is None:
            raise MissingWeightsError(
                f"Scorer {scorer} has no published weights on the hub: give weights=PATH."
            )
        return download(default, scorer)
    path = Path(weights)
    if path.is_file():
        return path
    if path.is_dir():
        return beside(path, candidates, scorer=scorer, what="weights")
    hub_name = HUB_NAME.fullmatch(str(weights))
    if hub_name and default is not None:
        return download(HubFile(hub_name["repo"], hub_name["revision"] or "main", default.filename), scorer)
    raise MissingWeightsError(
        f"Scorer {scorer}: weights path {path} does not exist. Give a file or a folder with one of: "
        f"{', '.join(candidates)}."
    )


def beside(folder: Path, candidates: tuple[str, ...], *, scorer: str, what: str) -> Path:
    """The first of `candidates` in `folder`. Raises MissingWeightsError that lists them."""
    for name in candidates:
        if (folder / name).is_file():
            return folder / name
    raise MissingWeightsError(f"Scorer {scorer}: {folder} has no {what}: looked for {', '.join(candidates)}.")


def read_state_dict(path: Path, scorer: str) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a torch checkpoint, without running code from the file.

    A checkpoint that wraps them in {"state_dict": ...} (HPSv2's does) is unwrapped.

    Raises:
        MissingWeightsError: corrupt, truncated, not what the hub sent, a pickle that needs more than tensors, or no
            state dict inside.
    """
    check_hub_copy(path, scorer)
    try:
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except pickle.UnpicklingError as error:
        if _is_text(path):
            raise MissingWeightsError(
                f"Scorer {scorer}: {path} is {_reason(path, ValueError('a text file, not weights'))}. Download the "
                "weights themselves, or give another path."
            ) from error
        # torch's own message goes on to advise what would run the code.
        raise MissingWeightsError(
            f"Scorer {scorer}: {path} is damaged, or a pickle that needs more than tensors to load, so it could run code "
            "and is refused. Convert it to safetensors in an environment that you trust it in."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise MissingWeightsError(
            f"Scorer {scorer}: weights file {path} cannot be read ({_reason(path, error)}). "
            "Download it again, or give another path."
        ) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise MissingWeightsError(
            f"Scorer {scorer}: {path} holds {type(loaded).__name__} and not a state dict (tensors by name). "
            "Save `model.state_dict()`, best as safetensors."
        )
    return loaded


def check_hub_copy(path: Path, scorer: str) -> None:
    """Refuse a file of the hub's own cache whose contents are not those that its name there promises.

    The cache keeps a large file under its sha256, which the hub's client does not look at again. Hashing 4 GB takes some
    seconds.

    Raises: MissingWeightsError.
    """
    kept = path.resolve()
    if kept.parent.name != HUB_CACHE_FILES or not SHA256.fullmatch(kept.name):
        return
    found = sha256_of_file(kept)
    if found != kept.name:
        raise MissingWeightsError(
            f"Scorer {scorer}: {path} is not what the hub sent: its sha256 is {found[:12]}... instead of {kept.name[:12]}.... "
            f"The download was cut off or the file was changed since. Delete {kept} and run again."
        )


def _torch_load(path: Path) -> Any:
    # Only the zip format can be mapped; a mapped file costs no second copy of 4 GB.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(256)
    return all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start)


def _reason(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "an empty file"
    if path.is_file():
        with path.open("rb") as file:
            if file.read(24).startswith(b"version https://git-lfs"):
                return "a Git LFS pointer, not the weights"
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def load_strict(
    network: nn.Module, state: dict[str, Tensor], *, scorer: str, source: Path, ignore: tuple[str, ...] = ()
) -> None:
    """Copy `state` into `network`; every key must be there, none more, all shapes equal.

    Args:
        network: receives the values in its own dtype.
        state: tensors by name.
        scorer: for messages.
        source: file that they came from, for messages.
        ignore: patterns of keys that the published file may have and the computation does not use.

    Raises: MissingWeightsError that lists what is missing, unexpected or of another shape.
    """
    state = {
        key: value for key, value in state.items() if not any(fnmatch(key, pattern) for pattern in ignore)
    }
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {expected[key]}"
        for key in sorted(expected.keys() & state.keys())
        if tuple(state[key].shape) != expected[key]
    ]
    problems = [
        f"{title} ({len(found)}): {', '.join(found[:8])}{', ...' if len(found) > 8 else ''}"
        for title, found in (("missing", missing), ("unexpected", unexpected), ("other shape", shapes))
        if found
    ]
    if problems:
        raise MissingWeightsError(
            f"Scorer {scorer}: {source} does not fit the architecture. {'; '.join(problems)}. "
            "Give the weights of this scorer, or the matching architecture=."
        )
    network.load_state_dict(state, strict=True)


class SkipRandomInit(TorchFunctionMode):
    """Context in which random initialisers draw nothing: for networks that are loaded strictly right after.

    For a ViT-H the drawing takes 20 s, and it would disturb the caller's random state.
    """

    # What torch announces as a whole stays undone. Fills inside other initialisers become zeros: some of those draw
    # until every value fits, and memory that nobody wrote need not.
    UNDONE = frozenset(
        getattr(nn.init, name)
        for name in ("normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_", "xavier_normal_")
    )
    ZEROED = frozenset((Tensor.normal_, Tensor.uniform_))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Skip random fills and do everything else as usual."""
        kwargs = kwargs or {}
        if func in self.UNDONE:
            return args[0] if args else kwargs["tensor"]
        if func in self.ZEROED:
            args[0].detach().zero_()
            return args[0]
        return func(*args, **kwargs)
