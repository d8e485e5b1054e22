"""Memory of five scorers, one after the other, against the largest of them alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .test_scorer_speed import FORWARDS, load_small

IMAGES = 16
CHILD = """
import json, sys
from pathlib import Path
import torch, transformers, open_clip
from prefbench.bench.image_manifest import read_manifest
from prefbench.bench.score_manifest import score_manifest
from prefbench.scorers import clip, hpsv2, imagereward, pickscore

def status(name):
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024

manifest, out, memory, *given = sys.argv[1:]
weights = dict(text.split("=", 1) for text in given)
before = status("VmRSS")
score_manifest(read_manifest(Path(manifest)), list(weights), Path(out), weights=weights, memory=memory)
print(json.dumps({"peak": status("VmHWM"), "before": before}))
"""


def peak_of(folder: Path, weights: dict[str, Path], memory: str) -> int:
    """Resident bytes that scoring adds to a process in which the libraries are loaded."""
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
    environment |= {
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "PREFBENCH_CACHE": str(folder / f"cache-{memory}-{len(weights)}"),
    }
    arguments = [f"{name}={path}" for name, path in weights.items()]
    out = folder / f"out-{memory}-{len(weights)}-{min(weights)}"
    command = [sys.executable, "-c", CHILD, str(folder / "images.csv"), str(out), memory, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return int(found["peak"] - found["before"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_peak_memory_of_all_scorers_against_the_largest(benchmark: Any, tmp_path: Path) -> None:
    """Target: at most 1.1 with `--memory low`. With `high` all are held, for comparison."""
    if benchmark.disabled:
        pytest.skip("a measurement: run with --benchmark-enable")
    from PIL import Image

    weights = {}
    for name in (*FORWARDS, "aesthetic.v2"):
        weights[name] = tmp_path / name.replace(":", "-")
        load_small(name, weights[name])
    for k in range(IMAGES):
        Image.effect_noise((512, 512), 60 + k).convert("RGB").save(tmp_path / f"{k}.png")
    (tmp_path / "images.csv").write_text(
        "image,prompt\n" + "".join(f"{k}.png,a cat\n" for k in range(IMAGES))
    )
    alone = {name: peak_of(tmp_path, {name: path}, "low") for name, path in weights.items()}
    largest = max(alone.values())
    low = benchmark.pedantic(peak_of, (tmp_path, weights, "low"), rounds=1, iterations=1)
    high = peak_of(tmp_path, weights, "high")
    benchmark.extra_info.update(
        what="peak memory: all scorers one after the other / the largest alone",
        case=f"{len(weights)} scorers of ViT-B size, --memory low; with --memory high {high / largest:.2f}",
        alone_mib={name: round(value / 2**20) for name, value in alone.items()},
        value=f"{low / largest:.3f}",
        target="at most 1.1",
    )
