"""The published architectures at full size with random weights, through the real command on real images.

No published weights are needed: what is shown is that file formats, sizes, memory and preprocessing of the
real path work.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.scores_table import read_scores

IMAGES = 6
MOST_GIB = 20.0

# Runs in a process of its own, so that its memory does not count. %s is the folder.
WRITE = {
    "pickscore": """
from pathlib import Path
from prefbench.scorers import pickscore
torch.manual_seed(0)
folder = Path(%r)
pickscore.save_folder(folder, pickscore.build(pickscore.ARCHITECTURE), pickscore.ARCHITECTURE)
(folder / "config.json").unlink()
""",
    "hpsv2.1": """
from pathlib import Path
from prefbench.scorers import hpsv2
torch.manual_seed(0)
folder = Path(%r)
folder.mkdir()
state = hpsv2.build(hpsv2.ARCHITECTURE).half().state_dict()
torch.save({"state_dict": state}, folder / "HPS_v2.1_compressed.pt")
""",
    "mps": """
from pathlib import Path
from prefbench.scorers import mps
torch.manual_seed(0)
folder = Path(%r)
mps.save_folder(folder, mps.build(mps.ARCHITECTURE), mps.ARCHITECTURE)
(folder / "architecture.json").unlink()
""",
    "imagereward": """
from pathlib import Path
from prefbench.scorers import imagereward
torch.manual_seed(0)
folder = Path(%r)
letters = [chr(code) for code in range(97, 123)]
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
words += [f"[unused{i}]" for i in range(30522 - len(words))]
imagereward.save_folder(folder, imagereward.build(imagereward.ARCHITECTURE), imagereward.ARCHITECTURE, words)
(folder / "architecture.json").unlink()
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITE)
def test_full_size_network_scores_real_images_within_memory(
    name: str, reference_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    subprocess.run([sys.executable, "-c", "import torch\n" + WRITE[name] % str(weights)], check=True)
    gallery = pd.read_csv(reference_data / "hpdv2_test" / "rankings.csv").iloc[:IMAGES]
    images = [str(reference_data / "hpdv2_test" / image) for image in gallery["image"]]
    pd.DataFrame({"image": images, "prompt": gallery["prompt"]}).to_csv(tmp_path / "m.csv", index=False)
    command = [
        "score",
        str(tmp_path / "m.csv"),
        "--scorer",
        name,
        "--weights",
        f"{name}={weights}",
        "--device",
        "cpu",
    ]
    started = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from prefbench.bench.cli import main; main()",
            *command,
            "--out",
            str(tmp_path / "out"),
        ]
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds, peak_gib = time.monotonic() - started, usage.ru_maxrss / 2**20
    with capsys.disabled():
        print(f"\n{name}: {IMAGES} images in {seconds:.0f} s with loading, peak {peak_gib:.1f} GiB")
    assert os.waitstatus_to_exitcode(status) == 0
    assert peak_gib < MOST_GIB
    table = read_scores(tmp_path / "out" / "scores.csv")
    assert len(table) == IMAGES
    assert np.isfinite(table["score"]).all()
    assert table["score"].nunique() == IMAGES
    described = json.loads((tmp_path / "out" / "scorers.json").read_text())["scorers"][name]
    assert described["identity"]["scorer"] == name.partition(".")[0]
    shutil.rmtree(weights)  # pytest keeps the folders of three sessions, and each file has 2 GB
