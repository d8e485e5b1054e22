"""Data that would give a wrong number are refused with the rows, or left out and counted."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from prefbench.bench.cli import app
from prefbench.bench.exceptions import PrefbenchError
from prefbench.bench.judges.judging import described
from prefbench.bench.judges.opening import open_choices
from prefbench.bench.judges.scoring import recorded_scores, score_images
from prefbench.bench.store.measure_cache import MeasureCache

TABLES = {
    "long ratings": (
        "prompt,image,annotator,rating_x\na cat,a.png,1,4\na cat,b.png,1,2\na cat,a.png,2,3\n",
        "rows 1 and 3 are the image a.png of the prompt 'a cat'.*one row an image, one column an annotator",
    ),
    "a ranking that lists an image twice": (
        "instance,prompt,image,rank_a\n0,p,a.png,1\n0,p,b.png,2\n0,p,./a.png,3\n",
        "rows 1 and 3 are the image a.png of the prompt 'p'",
    ),
    "ranks below 1": (
        "instance,prompt,rank_a\n0,p,0\n0,p,1\n1,q,-1\n1,q,2\n",
        "2 problems in 4 rows .*row 1: rank_a is 0, and ranks begin with 1.*row 3: rank_a is -1",
    ),
    "ranks and ratings": (
        "instance,prompt,rank_a,rating_b\n0,p,1,2\n0,p,2,3\n",
        r"has ranks \(rank_a\) and ratings \(rating_b\)",
    ),
    "two scores of one image in pairs": (
        "prompt,image_0,image_1,label_0,s_0,s_1\np,a.png,b.png,1,0.5,0.1\np,c.png,a.png,1,0.2,0.4\n",
        "rows 1 and 2: s of the image a.png for the prompt 'p' is 0.5 and 0.4",
    ),
    "two scores of one image within a pair": (
        "prompt,image_0,image_1,label_0,s_0,s_1\np,a.png,a.png,1,0.5,0.1\nq,c.png,d.png,1,0.2,0.4\n",
        "row 1: s of the image a.png for the prompt 'p' is 0.5 and 0.1",
    ),
    "two scores of one image in two instances": (
        "instance,prompt,image,rank_a,s\n0,p,a.png,1,1\n0,p,b.png,2,2\n1,p,a.png,1,3\n1,p,b.png,2,2\n",
        "rows 1 and 3: s of the image a.png for the prompt 'p' is 1 and 3",
    ),
    "one row": ("prompt,rating_a\np,x\n", "1 problem in 1 row "),
    "only pairs of one image": (
        "prompt,image_0,image_1,label_0\np,a.png,a.png,1\n",
        "Left out: 1 pair of identical images",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_would_mislead_is_refused(tmp_path: Path, name: str) -> None:
    text, says = TABLES[name]
    (tmp_path / "t.csv").write_text(text)
    scored = ["s"] if re.search(r",s(_0|\n)", text) else []
    with pytest.raises(PrefbenchError, match=says):
        open_choices(str(tmp_path / "t.csv"), scored=scored, images=False)


def test_an_image_may_be_judged_again_in_another_instance_with_the_same_score(tmp_path: Path) -> None:
    rows = "0,p,a.png,1,0.1\n0,p,b.png,2,0.3\n1,p,a.png,2,0.10000001\n1,p,b.png,1,0.3\n"
    (tmp_path / "t.csv").write_text("instance,prompt,image,rank_a,s\n" + rows)
    choices = open_choices(str(tmp_path / "t.csv"), scored=["s"], images=False)
    assert (len(choices.pairs), described(choices)["images"]) == (2, 2)


def human_scores(path: Path, *scores: list[object]) -> str:
    entries = [
        {"text_id": "t", "image_path": f"{k}.jpg", "text": "p", "human_scores": found, "spice": k}
        for k, found in enumerate(scores)
    ]
    path.write_text(json.dumps(entries))
    return str(path)


@pytest.mark.parametrize("wrong", [float("nan"), 0, 6, True, "5", None, float("inf")])
def test_tifas_scores_are_numbers_from_1_to_5(tmp_path: Path, wrong: object) -> None:
    spec = human_scores(tmp_path / "tifa.json", [5, 3], [4, wrong])
    with pytest.raises(PrefbenchError, match="entry 2 has .* in human_scores, not a number from 1 to 5"):
        open_choices(spec, images=False)


def save(folder: Path, **levels: int) -> None:
    for name, level in levels.items():
        Image.new("RGB", (16, 16), (level,) * 3).save(folder / f"{name}.png")


FORMS = {
    "rankings": "instance,prompt,image,rank_a\n0,p,a.png,1\n0,p,b.png,2\n0,p,c.png,3\n",
    "ratings": "prompt,image,rating_a\np,a.png,5\np,b.png,4\np,c.png,1\n",
    "pairs": "prompt,image_0,image_1,label_0\np,a.png,b.png,1\np,a.png,c.png,1\np,b.png,c.png,1\n",
}


@pytest.mark.usefixtures("toy_plugin")
@pytest.mark.parametrize("form", FORMS)
def test_pairs_of_identical_images_are_left_out_in_every_form(tmp_path: Path, form: str) -> None:
    """a and b are one drawing in two files: of three pairs two are left, in which toy:bright is right or wrong."""
    save(tmp_path, a=200, b=200, c=20)
    (tmp_path / "t.csv").write_text(FORMS[form])
    choices = open_choices(str(tmp_path / "t.csv"))
    assert described(choices)["left_out"] == {"pairs of identical images": 1}
    assert described(choices)["pairs"] == 2
    with MeasureCache(tmp_path / "kept") as cache:
        (scores,) = score_images(choices, ["toy:bright"], cache)
    assert (scores.values[choices.pairs[:, 0]] > scores.values[choices.pairs[:, 1]]).all()


def test_a_pair_that_names_one_image_twice_is_left_out_though_nothing_is_opened(tmp_path: Path) -> None:
    rows = "prompt,image_0,image_1,label_0,s_0,s_1\np,a.png,a.png,1,2,2\nq,c.png,d.png,1,3,1\n"
    (tmp_path / "t.csv").write_text(rows)
    choices = open_choices(str(tmp_path / "t.csv"), scored=["s"], images=False)
    assert described(choices)["left_out"] == {"pairs of identical images": 1}
    (scores,) = recorded_scores(choices, [("s", True)])
    assert scores.values[choices.pairs].tolist() == [[3, 1]]


@pytest.mark.parametrize(("columns", "images"), [(True, 5), (False, None)])
def test_images_of_pairs_are_counted_by_name_or_not_at_all(
    tmp_path: Path, columns: bool, images: int | None
) -> None:
    """a, b of one prompt and c, d, e of another, c twice."""
    text = "prompt,image_0,image_1,label_0,s_0,s_1\np,a,b,1,2,1\nq,c,d,1,2,1\nq,c,e,1,2,1\n"
    if not columns:
        text = "\n".join(re.sub(r"^([^,]*),[^,]*,[^,]*", r"\1", line) for line in text.splitlines())
    (tmp_path / "t.csv").write_text(text)
    about = described(open_choices(str(tmp_path / "t.csv"), scored=["s"], images=False))
    assert (about["images"], about["pairs"]) == (images, 3)


def refusal(*arguments: object) -> str:
    error = CliRunner().invoke(app, ["judges", *map(str, arguments), "--out", "nowhere"]).exception
    assert isinstance(error, PrefbenchError), error
    return str(error)


PAIRS = "prompt,image_0,image_1,label_0,clip_0,clip_1,half_0\np,a,b,1,3,2,1\nq,c,d,0.5,1,1,1\nr,e,f,0,1,2,1\n"
NAMES = {
    "clip:lowr": r"only :lower \(lower is better\) can stand, not :lowr",
    "clp": "'clp'. Did you mean 'clip'\\? Known: clip\\.$",
    "clip_0": "Did you mean 'clip'",
    "half": r"has half_0 but no half_1",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_score_of_pairs_that_is_not_there_is_told_by_the_name_to_write(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text(PAIRS)
    assert re.search(NAMES[name], refusal(tmp_path / "t.csv", "--score-column", name))


def test_validation_on_the_data_themselves_is_refused(tmp_path: Path) -> None:
    """The same path, a link, a copy, and a copy in another order; data with one other score are other data."""
    (tmp_path / "t.csv").write_text(PAIRS)
    (tmp_path / "copy.csv").write_text(PAIRS)
    header, *rows = PAIRS.splitlines()
    (tmp_path / "turned.csv").write_text("\n".join([header, *rows[::-1]]) + "\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "t.csv")
    for name in ("t", "link", "copy", "turned"):
        arguments = (tmp_path / "t.csv", "--score-column", "clip", "--validation", tmp_path / f"{name}.csv")
        for ending in ((), ("--dry-run",)):
            assert "holds the same choices as DATA" in refusal(*arguments, *ending)
    (tmp_path / "other.csv").write_text(PAIRS.replace("p,a,b,1,3", "p,a,b,1,4"))
    arguments = ("--score-column", "clip", "--validation", tmp_path / "other.csv", "--out", tmp_path / "o")
    assert not CliRunner().invoke(app, ["judges", str(tmp_path / "t.csv"), *map(str, arguments)]).exit_code


def test_a_missing_file_is_named_as_what_it_was_given_as(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PAIRS)
    gone = tmp_path / "gone.csv"
    assert refusal(gone, "--score-column", "clip").startswith(f"DATA {gone}: there is no such file")
    text = refusal(tmp_path / "t.csv", "--score-column", "clip", "--validation", gone)
    assert text.startswith(f"--validation {gone}: there is no such file")


def test_a_folder_without_data_is_told_what_it_lacks_with_recorded_scores_too(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    for option in ("--score-column", "--scorer"):
        assert "has no .parquet file and no rankings.csv" in refusal(tmp_path, option, "mini:clip")


@pytest.mark.parametrize("resamples", [0, 999, 1_000_001])
def test_intervals_need_as_many_resamples_as_those_of_compare(tmp_path: Path, resamples: int) -> None:
    (tmp_path / "t.csv").write_text(PAIRS)
    for ending in ((), ("--dry-run",)):
        text = refusal(tmp_path / "t.csv", "--score-column", "clip", "--resamples", resamples, *ending)
        assert text.startswith(f"resamples is {resamples}; an interval needs at least 1000")


@pytest.mark.parametrize("spec", ["miniature:99999999", "miniature:5000x40"])
def test_more_simulated_pairs_than_anybody_waits_for_are_refused_at_once(spec: str) -> None:
    assert "at most 50,000 can be judged" in refusal(spec, "--scorer", "mini:clip", "--dry-run")


def test_the_scorer_that_knows_the_truth_says_which_simulated_people_it_can_be_held_against(
    tmp_path: Path,
) -> None:
    text = refusal("miniature:300", "--scorer", "mini:truth")
    assert re.search("of 186 prompts ask for no scene, such as .*miniature:50x4", text)
    small = ["judges", "miniature:5x4", "--scorer", "mini:truth", "--out", str(tmp_path / "o")]
    assert not CliRunner().invoke(app, small).exit_code
    (rate,) = json.loads((tmp_path / "o" / "results.json").read_text())["accuracy"]
    assert rate["accuracy"] == 1, "it is what these people chose by"
