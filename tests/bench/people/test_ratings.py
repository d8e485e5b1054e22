"""ImagenHub's and TIFA's ratings as judgements of pairs: by hand, refused, and the real ones."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prefbench.bench.cli import app
from prefbench.bench.exceptions import DataError
from prefbench.bench.importers import imagenhub, tifa
from prefbench.bench.judges.opening import open_choices
from prefbench.bench.scores_table import read_scores

HEADER = "uid\tA\tB\tC\n"


def rated(folder: Path, rater: int, *rows: str, task: str = "Text-To-Image") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{task}_rater{rater}.tsv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return folder


def test_the_higher_product_wins_and_equal_ones_tie(tmp_path: Path) -> None:
    """A 1/4, B 1/2, C 1/2 of rater 1: B and C beat A and tie. Rater 2 sees nothing in C."""
    folder = rated(tmp_path / "r", 1, "s.jpg\t[0.5, 0.5]\t[0.5,1]\t[1, 0.5]")
    rated(folder, 2, "s.jpg\t[0.5, 0.5]\t[1, 1]\t[0, 1]")
    table = imagenhub.read_judgements(folder).table
    found = table[["annotator", "checkpoint_a", "checkpoint_b", "choice"]].to_numpy().tolist()
    assert found == [
        ["rater1", "A", "B", "b"],
        ["rater1", "A", "C", "b"],
        ["rater1", "B", "C", "tie"],
        ["rater2", "A", "B", "b"],
        ["rater2", "A", "C", "a"],
        ["rater2", "B", "C", "a"],
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("s.jpg\t[0.5, 0.5]\t[0.7, 1]\t[1, 1]", "row 1: B is '[0.7, 1]', not two of 0, 0.5 and 1"),
        ("s.jpg\t[0.5, 0.5]\t\t[1, 1]", "row 1: B is ''"),
        ("s.jpg\t[0.5, 0.5]\t[1, 1]", "row 1 has 3 fields and not 4"),
    ],
)
def test_a_cell_that_is_no_rating_is_named(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(DataError, match="rater1.tsv") as caught:
        imagenhub.read_judgements(rated(tmp_path / "r", 1, row))
    assert told in str(caught.value)


def test_files_of_two_tasks_or_none_are_refused(tmp_path: Path) -> None:
    good = "s.jpg\t[1, 1]\t[1, 1]\t[1, 1]"
    folder = rated(rated(tmp_path / "r", 1, good), 1, good, task="Text-Guided_IE")
    with pytest.raises(DataError, match=r"several tasks \(Text-Guided_IE, Text-To-Image\)"):
        imagenhub.read_judgements(folder)
    with pytest.raises(DataError, match="has no file named like"):
        imagenhub.read_judgements(tmp_path)
    with pytest.raises(
        DataError, match="row 2, A: rater1 rates the image again after Text-To-Image_rater1.tsv row 1, A"
    ):
        imagenhub.read_judgements(rated(tmp_path / "t", 1, good, good))


def entry(model: str, ratings: list[int], clip: float = 1.0, text_id: str = "coco_1") -> dict:
    scores = {"human_scores": ratings, "human_avg": 0, "clipscore": clip}
    return {"text_id": text_id, "text": "a cat", "image_path": f"{text_id}_{model}.jpg", **scores}


def test_tifas_ratings_and_scores_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "tifa.json"
    path.write_text(json.dumps({"x": entry("sd_v1", [5, 3], 0.3), "y": entry("dalle", [4, 3], 0.4)}))
    table = tifa.read_judgements(path).table
    assert table[["annotator", "checkpoint_a", "checkpoint_b", "choice"]].to_numpy().tolist() == [
        ["rating 1", "sd_v1", "dalle", "a"],
        ["rating 2", "sd_v1", "dalle", "tie"],
    ]
    assert tifa.main([str(path), "--out", str(tmp_path / "scores.csv")]) == 0
    scores = read_scores(tmp_path / "scores.csv")
    assert scores["scorer"].tolist() == ["clipscore", "clipscore"], "human_avg is no score"
    assert scores["score"].tolist() == [0.3, 0.4]


def test_a_model_that_cannot_be_told_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = entry("dalle", [4, 3]) | {"image_path": "images/7.jpg"}
    (tmp_path / "tifa.json").write_text(json.dumps([entry("sd", [5, 3]), wrong]))
    assert tifa.main([str(tmp_path / "tifa.json"), "--out", str(tmp_path / "scores.csv")]) == 2
    assert (
        "entry 2 has the image 'images/7.jpg', which is not its text_id, _ and a model"
        in capsys.readouterr().err
    )
    assert tifa.main([str(tmp_path / "none.json"), "--out", str(tmp_path / "scores.csv")]) == 2


def test_imagenhubs_published_sums_are_met(reference_data: Path) -> None:
    """HumanEvalSum of TIGER-AI-Lab/ImagenHub@7f281ab AnalyzeHumanEval.ipynb, Text-To-Image: roots of the products, summed."""
    published = {
        "DALLE": [96.68, 109.88, 113.57],
        "SD": [96.58, 91.82, 104.39],
        "DALLE3": [160.75, 125.8, 161.77],
    }
    for rater in (1, 2, 3):
        path = reference_data / "human_ratings" / f"imagenhub_t2i_rater{rater}.tsv"
        header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
        for model, sums in published.items():
            products = [imagenhub.overall(row[header.index(model)]) for row in rows]
            assert sum(p**0.5 for p in products if p is not None) == pytest.approx(sums[rater - 1], abs=0.005)


def test_the_real_ratings_of_imagenhub(reference_data: Path, tmp_path: Path) -> None:
    command = ["import-votes", str(reference_data / "human_ratings"), "--format", "imagenhub"]
    ran = CliRunner().invoke(app, [*command, "--resamples", "1000", "--out", str(tmp_path / "o")])
    assert ran.exit_code == 0, ran.output
    found = json.loads((tmp_path / "o" / "people.json").read_text())
    assert found["votes"]["judgements"] == 3 * 21 * 197
    assert found["krippendorff_alpha"] == pytest.approx(0.358, abs=0.001)
    assert {each["name"]: each["verdict"] for each in found["annotators"]} == {
        "rater1": "agrees",
        "rater2": "agrees less",
        "rater3": "agrees",
    }
    best = next(each for each in found["comparisons"] if each["b"] == "DALLE3" and each["a"] == "SD")
    assert best["ci95"][1] < 0.2


def test_the_real_ratings_of_tifa_are_judged_as_prefbench_judges_does(
    reference_data: Path, tmp_path: Path
) -> None:
    """The same pairs as with `prefbench judges`, there by mean rating, here by majority: people agree alike with one another."""
    path = reference_data / "human_ratings" / "tifa_human_annotations_with_scores.json"
    assert tifa.main([str(path), "--out", str(tmp_path / "scores.parquet")]) == 0
    command = ["import-votes", str(path), "--format", "tifa", "--scores", str(tmp_path / "scores.parquet")]
    ran = CliRunner().invoke(app, [*command, "--resamples", "1000", "--out", str(tmp_path / "o")])
    assert ran.exit_code == 0, ran.output
    found = json.loads((tmp_path / "o" / "people.json").read_text())
    judged = open_choices(str(path), images=False)
    assert found["scorers"]["data"]["pairs"] == len(judged.pairs) == 1600
    assert found["people"]["one"]["who"]["a person"]["agreement"] == pytest.approx(0.818, abs=0.001)
    accuracy = {e["scorer"]: e["accuracy"] for e in found["scorers"]["accuracy"] if e["ties"] == "left_out"}
    assert accuracy["clipscore_vitb32"] == pytest.approx(0.696, abs=0.001)
    assert accuracy["tifa_mplug-large"] == pytest.approx(0.682, abs=0.001)
    assert not any(each["flagged"] for each in found["annotators"])
