"""An environment for each original, made by uv from committed lists of versions, kept in the user's cache folder.

The three packages cannot share an environment with each other or with today's libraries: their own requirements contradict one
another, and two of the wheels do not import as they were published. So nothing is resolved: every package that takes
part is named with its version (`pins/`), and workers/imports.py supplies what the wheels forgot. PickScore's is the
example of its README; its list repeats versions of the others, so it costs no download beside them.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from prefbench.bench.atomic import write_text
from prefbench.bench.exceptions import MissingDependencyError
from prefbench.bench.store.folder_lock import folder_lock
from prefbench.bench.user_cache import cache_folder

__all__ = ["build_environment", "environment_python", "is_built", "worker_environment"]

PYTHON = "3.11"
COMPLETE = "complete"


def pins(package: str) -> list[str]:
    """Every requirement of an original's environment, `name==version`."""
    folder = Path(str(files("prefbench.scorers.upstream"))) / "pins"
    return [line for name in ("common", package) for line in (folder / f"{name}.txt").read_text().split()]


def environment_folder(package: str) -> Path:
    """Where its environment lies; other pins are another folder, so a changed list never meets an old environment."""
    digest = hashlib.sha256("\n".join(pins(package)).encode()).hexdigest()[:12]
    return cache_folder() / "upstream" / f"{package}-{digest}"


def environment_python(package: str) -> Path:
    """The interpreter of an original's environment, whether or not it is there."""
    return environment_folder(package) / "bin" / "python"


def is_built(package: str) -> bool:
    """Whether the environment is there and whole."""
    return (environment_folder(package) / COMPLETE).is_file() and environment_python(package).exists()


def build_environment(package: str) -> Path:
    """The interpreter of an original's environment, which is made if it is not there (about 1 GB for all).

    Wheels come from where uv looks: UV_INDEX_URL and its kin. CPU torch is taken from UV_FIND_LINKS (or PIP_FIND_LINKS)
    where one is set, else from PyTorch's own index by uv's `--torch-backend=cpu`.

    Args:
        package: one that has a list in `pins/`.

    Raises:
        MissingDependencyError: no uv, no Python 3.11, or a wheel cannot be had; with uv's last lines.
        LedgerError: another process is making it.
    """
    folder = environment_folder(package)
    if is_built(package):
        return environment_python(package)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder.parent, f"{folder.name}.lock"):
        if is_built(package):
            return environment_python(package)
        shutil.rmtree(folder, ignore_errors=True)  # what a killed build left
        _run_uv(["venv", "--python", PYTHON, str(folder)], package)
        listed = folder / "requirements.txt"
        write_text(listed, "\n".join(pins(package)) + "\n")
        links = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS")
        source = ["--find-links", links] if links else ["--torch-backend", "cpu"]
        python = str(environment_python(package))
        _run_uv(["pip", "install", "--python", python, "--no-deps", "-r", str(listed), *source], package)
        write_text(folder / COMPLETE, "")
    return environment_python(package)


def worker_environment(device: str, threads: int, hub_cache: Path | None) -> dict[str, str]:
    """Variables of a worker process: none that belong to our Python, no hub, and one device to choose from.

    Args:
        device: torch device that the worker is to use; hpsv2 takes the first GPU that it sees.
        threads: of its arithmetic.
        hub_cache: folder laid out as the hub's cache, where an original insists on one.
    """
    ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "HF_HOME", "TRANSFORMERS_CACHE"}
    variables = {name: value for name, value in os.environ.items() if name not in ours}
    variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    if device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    elif ":" in device:
        variables["CUDA_VISIBLE_DEVICES"] = device.partition(":")[2]
    if hub_cache is not None:
        variables["HF_HUB_CACHE"] = variables["HUGGINGFACE_HUB_CACHE"] = str(hub_cache)
    return variables


def _uv() -> list[str]:
    """The command that runs uv: the program on the path, or the package beside us."""
    program = shutil.which("uv")
    if program:
        return [program]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    raise MissingDependencyError(
        "The original packages are installed by uv, which is not here: pip install 'prefbench[upstream]', or put uv on the "
        "path."
    )


def _run_uv(arguments: list[str], package: str) -> None:
    # The certificates that the system trusts, as pip does; the second is the older name of the first.
    variables = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **os.environ}
    done = subprocess.run([*_uv(), *arguments], capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        last = " / ".join(done.stderr.strip().splitlines()[-4:])
        raise MissingDependencyError(
            f"The environment of the original package {package} could not be made (uv {' '.join(arguments[:2])}): {last}. "
            "It needs a package index and a CPU build of torch: set UV_INDEX_URL or UV_FIND_LINKS if yours is elsewhere."
        )
