"""What `prefbench doctor` looks at. `absent` is a choice (no GPU, no hub), `broken` is a fault."""

import importlib.metadata
import os
import platform
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

__all__ = ["Finding", "diagnose"]

HUB_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, its state, and the version or the remedy."""

    what: str
    state: Literal["ok", "absent", "broken"]
    detail: str


def diagnose(packages: Sequence[str]) -> Iterator[tuple[str, list[Finding]]]:
    """Titled groups of findings; nothing is downloaded and nothing is written."""
    yield "Versions", [Finding("Python", "ok", platform.python_version()), *map(_package, packages)]
    yield "Devices", _devices()
    yield "Miniature world", _miniature()
    yield "Prompt texts", _prompt_texts()
    yield "Outside", [_hub(), _browser()]


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "broken", f"not installed: pip install {name}")


def _devices() -> list[Finding]:
    import torch

    found = [Finding("CPU", "ok", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used by torch")]
    if torch.cuda.is_available():
        for k in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(k)
            found.append(
                Finding(f"cuda:{k}", "ok", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
            )
    else:
        found.append(Finding("CUDA", "absent", "no usable device: everything runs on the CPU"))
    if torch.backends.mps.is_available():
        found.append(Finding("mps", "ok", "Apple GPU"))
    return found


def _miniature() -> list[Finding]:
    folder = Path(str(files("prefbench.bench.miniature"))) / "weights"
    wanted = [
        "base/model_index.json",
        *(f"scorers/{s}" for s in ("pickscore", "hpsv2", "imagereward", "clip", "aesthetic")),
    ]
    missing = [w for w in wanted if not (folder / w).exists()]
    if missing:
        return [Finding("weights", "broken", f"missing {', '.join(missing)}: reinstall prefbench")]
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return [Finding("weights", "ok", f"base checkpoint and five scorers, {size / 1e6:.1f} MB")]


def _prompt_texts() -> list[Finding]:
    folder = os.environ.get("PREFBENCH_PROMPTS")
    if not folder:
        return [
            Finding(
                "PREFBENCH_PROMPTS",
                "absent",
                "unset: partiprompts and hpdv2 need it, --prompts-dir, or a hub",
            )
        ]
    state: Literal["ok", "broken"] = "ok" if Path(folder).is_dir() else "broken"
    return [Finding("PREFBENCH_PROMPTS", state, folder if state == "ok" else f"{folder} is not a folder")]


def _hub() -> Finding:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Finding(
            "model hub", "absent", "HF_HUB_OFFLINE is set: give scorers and checkpoints as local paths"
        )
    host = urlsplit(constants.ENDPOINT).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=HUB_TIMEOUT_S).close()
    except OSError as error:
        return Finding("model hub", "absent", f"{host} does not answer ({error}): give local paths")
    return Finding("model hub", "ok", host)


def _browser() -> Finding:
    found = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
    return (
        Finding("browser", "ok", found)
        if found
        else Finding("browser", "absent", "only the browser tests need one")
    )
