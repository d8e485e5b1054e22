"""Selection of a million scored pairs, and FiFA's neighbours among as many prompts as Pick-a-Pic has."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs, labelled_pairs
from prefbench.reference_trainers.selection.composing import compose
from prefbench.reference_trainers.selection.composition import Composition
from prefbench.reference_trainers.selection.selection_table import write_reasons
from prefbench.reference_trainers.selection.text_diversity import text_diversity

PAIRS, PROMPTS, WIDTH, NEIGHBOUR = 1_000_000, 60_000, 384, 3
QSD_S, NEIGHBOURS_S = 10, 60


def _no_image(row: int, side: int) -> Image.Image:
    raise AssertionError("scores are given: no image is needed")


def _scored(folder: Path) -> tuple[LabelledPairs, Path]:
    """A million pairs of 60,000 prompts, and a table with the scores of an HPSv2 (0.20 to 0.35)."""
    rng = np.random.default_rng(0)
    prompts = [f"a photo of object number {i}, oil on canvas" for i in range(PROMPTS)]
    prompts = [prompts[i] for i in rng.integers(PROMPTS, size=PAIRS)]
    pairs = labelled_pairs(
        source="a million pairs",
        prompts=prompts,
        label_0=rng.integers(0, 2, PAIRS).astype(np.float64),
        image=_no_image,
        image_names=lambda row, side: f"{row}-{side}",
    )
    scores = rng.uniform(0.2, 0.35, (PAIRS, 2))
    table = {"row": np.arange(1, PAIRS + 1), "prompt": prompts}
    table |= {f"hpsv2.1_{side}": scores[:, side] for side in (0, 1)}
    path = folder / "scores.parquet"
    pd.DataFrame(table).to_parquet(path)
    return pairs, path


def test_quality_selects_from_a_million_scored_pairs(tmp_path: Path, benchmark: Any) -> None:
    """From the table of scores on disk to the table of reasons on disk, checks of every row included."""
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    pairs, path = _scored(tmp_path)
    cfg = Composition(
        select="qsd",
        select_scorer="hpsv2.1",
        psi_scale="cosine",
        keep="5.33%",
        keep_of="pairs",
        scores=str(path),
    )

    def select() -> int:
        (tmp_path / "reasons.parquet").unlink(missing_ok=True)
        composed = compose(pairs, cfg, cache_dir=tmp_path / "cache")
        write_reasons(composed, tmp_path / "reasons.parquet")
        return len(composed.pairs)

    assert benchmark.pedantic(select, rounds=3, iterations=1) == 53_300
    seconds = benchmark.stats.stats.median
    benchmark.extra_info.update(
        what="selection of scored pairs by QSD",
        case=f"{PAIRS:,} pairs, table of scores to table of reasons",
        value=f"{seconds:.1f} s",
        target=f"under {QSD_S} s",
    )


def test_neighbours_of_sixty_thousand_prompts(benchmark: Any) -> None:
    """Exact search over unit vectors as wide as all-MiniLM-L6-v2's; random ones, on which no index could save work."""
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    rows = np.random.default_rng(0).normal(size=(PROMPTS, WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = benchmark.pedantic(text_diversity, args=(rows, NEIGHBOUR), rounds=1, iterations=1)
    assert found.shape == (PROMPTS,)
    seconds = benchmark.stats.stats.median
    benchmark.extra_info.update(
        what="FiFA's text diversity",
        case=f"neighbour {NEIGHBOUR} of {PROMPTS:,} prompts, {WIDTH} dimensions",
        value=f"{seconds:.1f} s",
        target=f"under {NEIGHBOURS_S} s",
    )
