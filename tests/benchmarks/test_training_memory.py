"""Memory of LoRA-DPO, whose reference is the same network without adapters, against LoRA-SFT."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines

IMAGES = 16
CHILD = """
import json, sys
from pathlib import Path
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import prepare_run, training_steps
from prefbench.reference_trainers.preferences.opening import open_preferences
from prefbench.reference_trainers.recipes import resolve_recipe

def status(name):
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024

folder, method, batch = sys.argv[1:]
given = {"batch": int(batch), "steps": 2, "cache": True, "lora_rank": 4, "resolution": 64}
recipe = resolve_recipe(method, "miniature", {k: Constant(v, "test") for k, v in given.items()})
run = prepare_run(recipe, open_backbone(folder), open_preferences("miniature:64", recipe.data))
Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts here: encoding is no part of it
before = status("VmRSS")
losses = [line["loss"] for line in training_steps(run)]
print(json.dumps({"peak": status("VmHWM"), "before": before, "losses": losses}))
"""


def peak_of(folder: Path, method: str, batch: int) -> dict[str, Any]:
    # One arena, and freed memory goes back at once, so that the mark is what was in use.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
    environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
    command = [sys.executable, "-c", CHILD, str(folder), method, str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_peak_memory_of_lora_dpo_against_lora_sft(benchmark: Any, tmp_path: Path):
    """As many images a step: 8 pairs, or 16 winners. Target: at most 1.15, of what training adds to the process."""
    if benchmark.disabled:
        pytest.skip("a measurement: run with --benchmark-enable")
    folder = tiny_pipelines.save_sd(tmp_path / "pipeline", size=tiny_pipelines.MINIATURE)
    sft = peak_of(folder, "sft", IMAGES)
    dpo = benchmark.pedantic(peak_of, (folder, "diffusion_dpo", IMAGES // 2), rounds=1, iterations=1)
    added = [found["peak"] - found["before"] for found in (dpo, sft)]
    assert min(added) > 30 * 2**20, "too small to compare"
    benchmark.extra_info.update(
        what="peak memory LoRA-DPO / LoRA-SFT",
        case=f"{IMAGES} images a step, 64 px, miniature's networks; resident memory that training adds, on a CPU",
        added_mib=[round(value / 2**20) for value in added],
        whole_process=dpo["peak"] / sft["peak"],
        value=f"{added[0] / added[1]:.3f}",
        target="at most 1.15",
    )
