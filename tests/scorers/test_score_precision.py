"""Half precision is asked for by name, and its price is measured and written down."""

import json
from pathlib import Path

import numpy as np
import pytest

from prefbench.bench.exceptions import UsageError
from prefbench.bench.image_manifest import Manifest, read_manifest
from prefbench.bench.score_manifest import CHECKED_ROWS, score_manifest
from prefbench.scorers.registry import load_scorer

from .conftest import NAMES, picture


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    count = CHECKED_ROWS + 4
    for k in range(count):
        picture(24, 24, k).save(tmp_path / f"{k}.png")
    (tmp_path / "m.csv").write_text(
        "image,prompt\n" + "".join(f"{k}.png,a cat {k % 3}\n" for k in range(count))
    )
    return read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("name", NAMES)
def test_the_difference_to_float32_is_stated_and_true(
    name: str, manifest: Manifest, folders: dict[str, Path], tmp_path: Path
) -> None:
    weights = {name: str(folders[name])}
    scored = score_manifest(manifest, [name], tmp_path / "out", weights=weights, dtype="bfloat16")
    exact = load_scorer(name, weights=folders[name]).score(manifest.images, scored.scores["prompt"].tolist())
    stated = json.loads((tmp_path / "out" / "scorers.json").read_text())["scorers"][name]["precision"]
    differences = np.abs(scored.scores["score"].to_numpy() - exact)[:CHECKED_ROWS]
    assert stated["dtype"] == "bfloat16"
    assert stated["rows"] == CHECKED_ROWS
    assert stated["largest_difference"] == pytest.approx(differences.max(), rel=1e-3)
    assert 0 < stated["largest_difference"] < stated["deviation_of_scores"]


def test_float32_states_nothing_and_an_unknown_precision_is_refused(
    manifest: Manifest, folders: dict[str, Path], tmp_path: Path
) -> None:
    weights = {"mini:clip": str(folders["mini:clip"])}
    assert (
        "precision"
        not in score_manifest(manifest, ["mini:clip"], tmp_path / "out", weights=weights).scorers["mini:clip"]
    )
    with pytest.raises(UsageError, match="Unknown dtype 'half'"):
        score_manifest(manifest, ["mini:clip"], tmp_path / "other", weights=weights, dtype="half")
