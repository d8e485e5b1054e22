"""QSD and votes on published per-image scores and human rankings, formulas computed again in plain Python."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs, labelled_pairs
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.selection.composing import compose
from prefbench.reference_trainers.selection.composition import Composition
from prefbench.reference_trainers.selection.selection_table import reasons_table

FOLDER = "real_scores_imagereward_benchmark"
SCORERS = {"imagereward": "ImageReward-v1.0-benchmark", "clip:openai-vit-l-14:cos": "CLIP-benchmark"}


def rewards(folder: Path, kind: str, model: str) -> dict[str, list[float]]:
    entries = json.loads((folder / f"{kind}-{model}-result.json").read_text(encoding="utf-8"))
    return {entry["prompt"]: entry["rewards"] for entry in entries}


@pytest.fixture(scope="module")
def real(
    reference_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LabelledPairs, pd.DataFrame, Path]:
    """1000 pairs of SD 1.4 against openjourney (100 prompts, 10 images), the second labelled as the winner.

    There are no images in the data, and none are needed: the scores are a table.
    """
    folder = reference_data / FOLDER
    found = {
        (name, side): rewards(folder, kind, model)
        for name, kind in SCORERS.items()
        for side, model in enumerate(("sd1-4", "openjourney"))
    }
    prompts = list(found["imagereward", 0])
    rows = [(prompt, i) for prompt in prompts for i in range(10)]
    table = pd.DataFrame({"row": np.arange(1, len(rows) + 1), "prompt": [prompt for prompt, _ in rows]})
    for (name, side), scores in found.items():
        table[f"{name}_{side}"] = [scores[prompt][i] for prompt, i in rows]
    path = tmp_path_factory.mktemp("real") / "scores.csv"
    table.to_csv(path, index=False)
    return pairs_of(table), table, path


def no_image(row: int, side: int) -> Image.Image:
    raise AssertionError("an image was opened")


def pairs_of(table: pd.DataFrame) -> LabelledPairs:
    return labelled_pairs(
        source="real scores",
        prompts=list(table["prompt"]),
        label_0=np.zeros(len(table)),
        image=no_image,
        image_names=lambda row, side: f"{row}:{side}",
    )


def test_quality_of_real_clip_cosines_keeps_the_pairs_that_plain_arithmetic_keeps(real, tmp_path: Path):
    pairs, table, path = real
    name = "clip:openai-vit-l-14:cos"
    cfg = Composition(
        select="qsd", select_scorer=name, psi_scale="cosine", keep="5.33%", keep_of="pairs", scores=str(path)
    )
    composed = compose(pairs, cfg, cache_dir=tmp_path)
    quality = [
        winner * (1 - loser) for loser, winner in zip(table[f"{name}_0"], table[f"{name}_1"], strict=True)
    ]
    best = sorted(range(len(quality)), key=lambda i: (-quality[i], i))[: int(Fraction("0.0533") * 1000)]
    assert len(best) == 53
    assert composed.pairs.rows.tolist() == sorted(best)
    np.testing.assert_allclose(composed.selection.score, quality, rtol=1e-12)


def test_real_image_rewards_are_refused_as_psi_unless_normalised_by_name(real, tmp_path: Path):
    pairs, table, path = real
    cfg = {"select": "qsd", "select_scorer": "imagereward", "keep": 50, "scores": str(path)}
    with pytest.raises(UsageError, match="imagereward is no cosine"):
        compose(pairs, Composition(**cfg, psi_scale="cosine"), cache_dir=tmp_path)
    composed = compose(pairs, Composition(**cfg, psi_scale="minmax"), cache_dir=tmp_path)
    scores = table[["imagereward_0", "imagereward_1"]].to_numpy()
    psi = (scores - scores.min()) / (scores.max() - scores.min())
    np.testing.assert_allclose(composed.selection.score, psi[:, 1] * (1 - psi[:, 0]), rtol=1e-12)


def test_two_real_scorers_tie_as_often_as_they_disagree(real, tmp_path: Path):
    pairs, table, path = real
    cfg = {"labels": "majority", "electorate": ",".join(SCORERS), "scores": str(path)}
    votes = np.array([np.sign(table[f"{name}_0"] - table[f"{name}_1"]) for name in SCORERS]).sum(axis=0)
    dropped = compose(pairs, Composition(**cfg, tie_rule="drop"), cache_dir=tmp_path)
    assert 100 < (votes == 0).sum() < 500
    assert dropped.pairs.rows.tolist() == np.flatnonzero(votes).tolist()
    assert dropped.pairs.winner_side.tolist() == [0 if vote > 0 else 1 for vote in votes if vote]
    human = compose(pairs, Composition(**cfg, tie_rule="human"), cache_dir=tmp_path)
    assert human.pairs.winner_side.tolist() == [0 if vote > 0 else 1 for vote in votes]
    voting = compose(pairs, Composition(**cfg, tie_rule="human_votes"), cache_dir=tmp_path)
    assert (voting.pairs.winner_side == human.pairs.winner_side).all()


def test_real_rankings_are_ranked_by_a_real_measure_of_their_images(
    reference_data: Path, grey_scorer, tmp_path: Path
):
    """Pairs of HPD v2's test gallery; the scorer is the mean grey of the real image, so the margin can be checked."""
    config = DataConfig()
    pairs = open_preferences(str(reference_data / "hpdv2_test"), config)
    few = compose(pairs, Composition(select="random", keep=40), cache_dir=tmp_path).pairs
    scorer = grey_scorer("pickscore")
    cfg = Composition(select="margin", select_scorer="pickscore", keep=10)
    composed = compose(few, cfg, cache_dir=tmp_path, load=lambda name: scorer)
    grey = [
        np.asarray(few.winner(i)).mean() / 255 - np.asarray(few.loser(i)).mean() / 255
        for i in range(len(few))
    ]
    np.testing.assert_allclose(composed.selection.score, grey, rtol=1e-9)
    best = sorted(range(40), key=lambda i: -grey[i])[:10]
    assert composed.pairs.rows.tolist() == [int(few.rows[i]) for i in sorted(best)]
    assert reasons_table(composed)["kept"].sum() == 10
