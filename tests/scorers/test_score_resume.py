"""`prefbench score` that is killed goes on; nothing is scored twice."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from prefbench.bench.image_manifest import Manifest, read_manifest
from prefbench.bench.score_manifest import score_manifest
from prefbench.bench.scores_table import read_scores
from prefbench.scorers.registry import load_scorer

from .conftest import picture

SLOW_SCORER = """
import sys, time
from prefbench.bench.cli import main
from prefbench.scorers import clip
plain = clip.image_features
def slowly(visual, pixels):
    time.sleep(0.5)
    return plain(visual, pixels)
clip.image_features = slowly
main()
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    for k in range(12):
        picture(24, 24, k).save(tmp_path / f"{k}.png")
    (tmp_path / "m.csv").write_text(
        "image,prompt\n" + "".join(f"{k}.png,prompt {k % 3}\n" for k in range(12))
    )
    return read_manifest(tmp_path / "m.csv")


def test_a_killed_command_goes_on_where_it_was_and_gives_the_same_scores(
    manifest: Manifest, folders: dict[str, Path], tmp_path: Path
) -> None:
    """SIGKILL once some scores are on disk; the second call scores only the rest."""
    cache = Path(os.environ["PREFBENCH_CACHE"]) / "measures.sqlite"
    arguments = ["score", str(manifest.path), "--scorer", "mini:clip", "--out", str(tmp_path / "out")]
    arguments += ["--weights", f"mini:clip={folders['mini:clip']}", "--batch-size", "1"]
    process = subprocess.Popen([sys.executable, "-c", SLOW_SCORER, *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while _rows(cache) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = _rows(cache)
    assert 3 <= kept < 12
    assert not (tmp_path / "out").exists()

    weights = {"mini:clip": str(folders["mini:clip"])}
    scored = score_manifest(manifest, ["mini:clip"], tmp_path / "out", weights=weights)
    assert scored.kept == {"mini:clip": kept}
    alone = load_scorer("mini:clip", weights=folders["mini:clip"]).score(
        manifest.images, scored.scores["prompt"].tolist()
    )
    np.testing.assert_allclose(read_scores(tmp_path / "out" / "scores.csv")["score"], alone, rtol=1e-5)


def test_a_changed_image_or_scorer_is_scored_again(
    manifest: Manifest, folders: dict[str, Path], tmp_path: Path
) -> None:
    weights = {"mini:hpsv2": str(folders["mini:hpsv2"])}
    score_manifest(manifest, ["mini:hpsv2"], tmp_path / "out", weights=weights)
    again = score_manifest(manifest, ["mini:hpsv2"], tmp_path / "out", weights=weights)
    assert again.kept == {"mini:hpsv2": 12}
    picture(24, 24, 99).save(manifest.images[5])
    changed = score_manifest(manifest, ["mini:hpsv2"], tmp_path / "out", weights=weights)
    assert changed.kept == {"mini:hpsv2": 11}
    other = {"mini:hpsv2@legacy-noaa": weights["mini:hpsv2"]}
    assert score_manifest(manifest, list(other), tmp_path / "out", weights=other).kept == dict.fromkeys(
        other, 0
    )


def test_the_command_says_how_many_scores_were_known(
    manifest: Manifest, folders: dict[str, Path], tmp_path: Path
) -> None:
    arguments = ["score", str(manifest.path), "--scorer", "mini:clip", "--out", str(tmp_path / "out")]
    arguments += ["--weights", f"mini:clip={folders['mini:clip']}"]
    command = [sys.executable, "-m", "prefbench.bench.cli", *arguments]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert "Known from an earlier call" not in first
    assert "Known from an earlier call and not scored again: 12 by mini:clip." in " ".join(second.split())
    assert json.loads((tmp_path / "out" / "scorers.json").read_text())["scorers"].keys() == {"mini:clip"}


def _rows(cache: Path) -> int:
    if not cache.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{cache}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM measures").fetchone()[0])
    except sqlite3.OperationalError:  # the table is being made
        return 0
