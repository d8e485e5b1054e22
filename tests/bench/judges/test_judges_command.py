"""`prefbench judges` as a person meets it: files, terminal, resume, refusals."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from prefbench.bench.cli import app
from prefbench.bench.exceptions import PrefbenchError

RANKINGS = """instance,prompt,image,rank_a,rank_b,own
0,a grey square,40.png,2,2,1
0,a grey square,80.png,1,1,2
1,a red cat,120.png,1,2,3
1,a red cat,160.png,2,1,4
2,a blue dog,200.png,2,2,5
2,a blue dog,220.png,1,1,6
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three prompts of two images, two annotators, and a cache of its own. Brighter is better, but for one tie."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "rankings.csv").write_text(RANKINGS)
    for level in (40, 80, 120, 160, 200, 220):
        Image.new("RGB", (24, 24), (level, level // 2, 10)).save(folder / f"{level}.png")
    return folder


def judges(*arguments: object, fails: bool = False) -> Result:
    result = CliRunner().invoke(app, ["judges", *map(str, arguments)])
    if not fails and result.exception:
        raise result.exception
    return result


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prefbench.bench.cli", "judges", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}, timeout=120
    )


def refusal(*arguments: object) -> str:
    error = judges(*arguments, fails=True).exception
    assert isinstance(error, PrefbenchError), error
    assert error.exit_code == 2
    return str(error)


def results_of(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


@pytest.mark.usefixtures("toy_plugin")
def test_scorers_and_recorded_scores_are_judged_together(data: Path, tmp_path: Path) -> None:
    """toy:bright and `own` rise with the brightness: right on both pairs that the two annotators decide."""
    out = tmp_path / "out"
    ran = judges(data, "--scorer", "toy:bright", "--score-column", "own:lower", "--out", out)
    assert "toy:bright" in ran.stderr, "progress goes to stderr"
    assert "images/s" not in ran.stdout
    found = results_of(out)
    assert (found["data"]["pairs"], found["data"]["ties"], found["data"]["annotators"]) == (3, 1, [2, 2])
    rates = {(e["scorer"], e["ties"]): e["accuracy"] for e in found["accuracy"]}
    assert (rates["toy:bright", "left_out"], rates["own", "left_out"]) == (1.0, 0.0)
    assert rates["toy:bright", "half"] == pytest.approx(2.5 / 3)
    assert found["scorers"]["toy:bright"]["fingerprint"]
    assert found["agreement"]["same_winner"] == [[1.0, 0.0], [0.0, 1.0]]
    assert found["people"]["one"]["who"]["a person"]["agreement"] == pytest.approx(2 / 3)
    assert max(map(len, ran.stdout.partition("Page:")[0].splitlines())) <= 80
    page = (out / "judges.md").read_text()
    assert "| toy:bright |" in page
    assert "own: recorded beside the choices, lower is better" in page


@pytest.mark.usefixtures("toy_plugin")
def test_a_second_run_reads_its_scores_and_a_killed_one_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toy_scorers import ToyScorer

    seen: list[int] = []
    plain = ToyScorer.score

    def counted(self, images, prompts):
        seen.append(len(images))
        return plain(self, images, prompts)

    monkeypatch.setattr(ToyScorer, "score", counted)
    judges(data, "--scorer", "toy:bright", "--out", tmp_path / "one")
    judges(data, "--scorer", "toy:bright", "--out", tmp_path / "two")
    assert seen == [6], "six images, once"
    with sqlite3.connect(tmp_path / "cache" / "measures.sqlite") as kept:
        kept.execute("DELETE FROM measures WHERE key IN (SELECT key FROM measures LIMIT 2)")
    judges(data, "--scorer", "toy:bright", "--out", tmp_path / "three")
    assert seen == [6, 2], "what a killed run had not scored yet"
    one, three = (results_of(tmp_path / name) for name in ("one", "three"))
    assert {**one, "created": ""} == {**three, "created": ""}


@pytest.mark.usefixtures("toy_plugin")
def test_local_weights_reach_the_scorer_and_are_part_of_its_identity(data: Path, tmp_path: Path) -> None:
    weights = ("--weights", "toy:bright=here.pt")
    judges(data, "--scorer", "toy:bright", *weights, "--out", tmp_path / "o")
    assert results_of(tmp_path / "o")["scorers"]["toy:bright"]["identity"]["weights"] == "here.pt"


@pytest.mark.usefixtures("toy_plugin")
def test_one_image_in_two_pairs_is_scored_once(tmp_path: Path, data: Path) -> None:
    rows = "prompt,image_0,image_1,label_0\np,40.png,80.png,0\np,80.png,120.png,0\np,40.png,120.png,0\n"
    (data / "pairs.csv").write_text(rows)
    out = judges(data / "pairs.csv", "--scorer", "toy:bright", "--out", tmp_path / "o", "--dry-run").output
    assert "3 images to score" in out
    assert not (tmp_path / "o").exists()


@pytest.mark.usefixtures("toy_plugin")
def test_a_score_that_is_not_finite_names_the_image_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    text = refusal(data, "--scorer", "toy:nan", "--out", tmp_path / "o")
    assert "toy:nan gave nan for 120.png" in text
    assert not (tmp_path / "o" / "results.json").exists()


@pytest.mark.usefixtures("toy_plugin")
def test_validation_data_choose_the_threshold(data: Path, tmp_path: Path) -> None:
    """toy:bright differs by about 20 on each pair; where people tie pairs that differ by up to 30, all become ties."""
    rows = "prompt,image_0,image_1,label_0\np,40.png,80.png,0.5\nq,120.png,160.png,0.5\nr,40.png,220.png,0\n"
    (data / "validation.csv").write_text(rows)
    out = tmp_path / "o"
    judges(data, "--scorer", "toy:bright", "--validation", data / "validation.csv", "--out", out)
    found = results_of(out)
    assert "validation.csv" in found["tie_thresholds"]["how"]
    (rate,) = [e for e in found["accuracy"] if e["ties"] == "pickscore"]
    assert rate["accuracy"] == rate["no_opinion"] == pytest.approx(2 / 3)


@pytest.mark.usefixtures("toy_plugin")
def test_validation_that_is_not_needed_is_said_so_and_not_scored(data: Path, tmp_path: Path) -> None:
    (data / "pairs.csv").write_text("prompt,image_0,image_1,label_0\np,40.png,80.png,0\nq,120.png,80.png,1\n")
    out = tmp_path / "o"
    judges(data / "pairs.csv", "--scorer", "toy:bright", "--validation", data, "--out", out)
    assert any("was not needed" in text for text in results_of(out)["warnings"])


def test_a_scorer_on_logits_has_its_threshold_as_a_probability_of_pickscores_grid(
    data: Path, tmp_path: Path
) -> None:
    """The real class at small size: three prompts, so three parts, each one of 0, 0.1, ... 1."""
    judges(data, "--scorer", "mini:pickscore", "--out", tmp_path / "o")
    stated = results_of(tmp_path / "o")["tie_thresholds"]["scorers"]["mini:pickscore"]
    assert stated["tried"] == "probabilities"
    assert len(stated["probabilities"]) == 3
    assert all(round(10 * share, 5) in range(11) for share in stated["probabilities"])


REFUSED = {
    "Nobody is to be judged": (),
    "'toy:bright' is given twice": ("--scorer", "toy:bright", "--scorer", "toy:bright"),
    "'own' is given twice": ("--score-column", "own", "--score-column", "own:lower"),
    "Unknown scorer in --weights 'toy:red'": ("--scorer", "toy:bright", "--weights", "toy:red=x"),
    "Unknown scorer 'toy:brigt'. Did you mean 'toy:bright'": ("--scorer", "toy:brigt"),
    "Unknown score column": ("--score-column", "owm"),
    "resamples is 0; an interval needs at least 1000": ("--score-column", "own", "--resamples", 0),
}


@pytest.mark.usefixtures("toy_plugin")
@pytest.mark.parametrize("says", REFUSED)
def test_a_request_that_cannot_be_met_is_refused(data: Path, tmp_path: Path, says: str) -> None:
    assert says in refusal(data, *REFUSED[says], "--out", tmp_path / "o")
    assert not (tmp_path / "o" / "results.json").exists()


def test_a_folder_with_the_results_of_something_else_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text('{"schema": 1, "comparisons": []}')
    assert "did not write" in refusal(data, "--score-column", "own", "--out", tmp_path / "run")
    assert "comparisons" in (tmp_path / "run" / "results.json").read_text()
    judges(data, "--score-column", "own", "--out", tmp_path / "mine")
    judges(data, "--score-column", "own", "--out", tmp_path / "mine")


def test_a_process_prints_the_judgement_and_an_error_exits_with_2(data: Path, tmp_path: Path) -> None:
    found = process(data, "--score-column", "own", "--out", tmp_path / "o")
    assert found.returncode == 0, found.stderr
    assert "Two annotators of a pair" in found.stdout.replace("\n", " ")
    assert not found.stderr
    assert max(map(len, found.stdout.partition("Page:")[0].splitlines())) <= 80
    broken = process(data / "nothing.csv", "--score-column", "own", "--out", tmp_path / "o")
    assert broken.returncode == 2
    assert "no such file" in broken.stderr
    assert "Traceback" not in broken.stderr
