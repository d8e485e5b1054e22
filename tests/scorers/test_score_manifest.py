"""`prefbench score`: a list of images in, a scores table out."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefbench.bench.commands.score import score_command
from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.bench.image_manifest import read_manifest
from prefbench.bench.score_manifest import score_manifest
from prefbench.bench.scores_table import read_scores
from prefbench.scorers.registry import load_scorer

from .conftest import picture

Rows = list[dict[str, object]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Rows], Path]:
    """Writes a manifest beside images a.png .. d.png."""
    for i, name in enumerate("abcd"):
        picture(20 + i, 30, i).save(tmp_path / f"{name}.png")

    def writer(rows: Rows) -> Path:
        path = tmp_path / "images.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        return path

    return writer


ROWS: Rows = [
    {"image": "a.png", "prompt": 'a cat, "red"'},
    {"image": "b.png", "prompt": "a dog"},
    {"image": "c.png", "prompt": 'a cat, "red"'},
]


def test_two_columns_are_enough_and_names_are_filled_in(write: Callable[[Rows], Path]) -> None:
    manifest = read_manifest(write(ROWS))
    assert manifest.frame["checkpoint"].tolist() == ["images"] * 3
    assert manifest.frame["prompt_id"].tolist() == ["prompt-0000", "prompt-0001", "prompt-0000"]
    assert manifest.frame["seed"].tolist() == [0, 0, 1]
    assert [path.name for path in manifest.images] == ["a.png", "b.png", "c.png"]


def test_given_columns_are_kept(write: Callable[[Rows], Path]) -> None:
    given = {"checkpoint": "base", "prompt_id": "p", "seed": 7, "category": "Animals", "challenge": ""}
    manifest = read_manifest(write([{"image": "a.png", "prompt": "a cat", **given}]))
    assert manifest.frame.iloc[0].to_dict() == {"prompt": "a cat", **given}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: {"prompt": " "}}, 'row 2: column "prompt" is empty'),
        ({0: {"image": ""}}, 'row 1: column "image" is empty'),
        (
            {0: {"image": "x.png"}, 2: {"image": "y.png"}},
            r"rows 1 \(.*x\.png\), 3 \(.*y\.png\): there is no such image",
        ),
        ({1: {"image": "images.csv"}}, r"row 2 \(.*images\.csv\): not an image"),
    ],
)
def test_a_bad_row_is_named_before_anything_is_scored(
    write: Callable[[Rows], Path], change: dict[int, dict[str, object]], message: str
) -> None:
    rows = [{**row, **change.get(i, {})} for i, row in enumerate(ROWS)]
    with pytest.raises(DataError, match=message):
        read_manifest(write(rows))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,prompt\n", "has a header and no rows"),
        (b"image,promt\na.png,x\n", "Is 'promt' meant to be 'prompt'"),
        (b"image,prompt,image\na.png,x,b.png\n", "'image' twice"),
        (b"image,prompt\na.png\n", "row 1: the number of values is not 2"),
        (b"image,prompt\na.png,caf\xe9\n", "is not UTF-8"),
        (b"image;prompt\na.png;a cat, red\n", "values look separated by ';' instead of a comma"),
        (b'image,prompt\na.png,"open\n', "not a well-formed CSV"),
        (b"image,prompt,prompt_id\na.png,x,p\nb.png,y,p\n", "prompt_id 'p' has two values"),
        (b"image,prompt,seed\na.png,x,0\nb.png,x,0\n", "an entry is given again"),
        (b"image,prompt,seed\na.png,x,first\n", 'column "seed" is not a whole number'),
    ],
)
def test_a_malformed_manifest_is_one_clear_error(
    write: Callable[[Rows], Path], tmp_path: Path, content: bytes, message: str
) -> None:
    write(ROWS)
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path / "bad.csv")


def test_an_image_in_place_of_the_manifest_is_told_what_is_expected(
    write: Callable[[Rows], Path], tmp_path: Path
) -> None:
    write(ROWS)
    with pytest.raises(DataError, match=r"a\.png is an image\. Give the manifest: a CSV file"):
        read_manifest(tmp_path / "a.png")


def test_scores_are_the_scorers_own_and_the_table_reads_back(
    write: Callable[[Rows], Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    manifest = read_manifest(write(ROWS))
    names = ["mini:hpsv2@legacy-noaa", "mini:aesthetic"]
    weights = {names[0]: str(folders["mini:hpsv2"]), names[1]: str(folders["mini:aesthetic"])}
    score_manifest(manifest, names, tmp_path / "out", weights=weights)
    table = read_scores(tmp_path / "out" / "scores.csv")
    pd.testing.assert_frame_equal(table, read_scores(tmp_path / "out" / "scores.parquet"))
    described = json.loads((tmp_path / "out" / "scorers.json").read_text())["scorers"]
    assert list(described) == names
    for name in names:
        scorer = load_scorer(name, weights=weights[name])
        expected = scorer.score(manifest.images, [str(row["prompt"]) for row in ROWS])
        np.testing.assert_allclose(table.loc[table["scorer"] == name, "score"], expected, rtol=1e-5)
        assert described[name]["fingerprint"] == scorer.info.fingerprint
    assert described[names[0]]["truncated_prompts"] == 0
    assert described[names[1]]["truncated_prompts"] is None


def test_many_images_are_scored_in_order_whatever_the_chunks(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """23 rows in batches of 2 pass through chunks of 2, 4, 8, ... images."""
    rows = []
    for i in range(23):
        picture(16, 24, i).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,prompt {i % 5}")
    (tmp_path / "m.csv").write_text("image,prompt\n" + "\n".join(rows) + "\n")
    manifest = read_manifest(tmp_path / "m.csv")
    weights = {"mini:clip": str(folders["mini:clip"])}
    scored = score_manifest(manifest, ["mini:clip"], tmp_path / "out", weights=weights, batch_size=2)
    expected = load_scorer("mini:clip", weights=folders["mini:clip"]).score(
        manifest.images, scored.scores["prompt"]
    )
    np.testing.assert_allclose(scored.scores["score"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("files", [["results.json", "scores.parquet"], ["scores.csv"], ["scorers.json"]])
def test_a_folder_of_something_else_is_refused_before_scoring(
    write: Callable[[Rows], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: list[str]
) -> None:
    monkeypatch.setattr("prefbench.scorers.registry.load_scorer", lambda *_, **__: pytest.fail("it scored"))
    manifest, out = read_manifest(write(ROWS)), tmp_path / "out"
    out.mkdir()
    for name in files:
        (out / name).write_text("mine")
    with pytest.raises(UsageError, match=rf"`prefbench score` did not write \({files[0]}"):
        score_manifest(manifest, ["mini:clip"], out)
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(files, "mine")


def test_an_earlier_score_folder_is_written_again_and_its_other_files_stay(
    write: Callable[[Rows], Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    manifest, out = read_manifest(write(ROWS)), tmp_path / "out"
    out.mkdir()
    for name in ("mini:clip", "mini:aesthetic"):
        score_manifest(manifest, [name], out, weights={name: str(folders[name])})
        (out / "notes.txt").write_text("mine")
    assert set(read_scores(out / "scores.csv")["scorer"]) == {"mini:aesthetic"}
    assert list(json.loads((out / "scorers.json").read_text())["scorers"]) == ["mini:aesthetic"]
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc takes no folder")
def test_a_place_that_takes_no_folder_is_refused_before_scoring(write: Callable[[Rows], Path]) -> None:
    with pytest.raises(UsageError, match="--out /proc/x cannot be written"):
        score_manifest(read_manifest(write(ROWS)), ["mini:truth"], Path("/proc/x"))


@pytest.mark.parametrize("first", [["mini:clip"], []])
def test_a_prompt_that_a_scorer_cannot_score_is_found_before_the_first_one_runs(
    write: Callable[[Rows], Path],
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    first: list[str],
) -> None:
    monkeypatch.setattr(
        "prefbench.bench.score_manifest._score_in_chunks", lambda *_: pytest.fail("it scored")
    )
    rows = [{"image": "a.png", "prompt": "a small red circle on a white background"}, ROWS[1]]
    weights = {name: str(folders[name]) for name in first}
    with pytest.raises(
        DataError, match=r"row 2: .* not of 'a dog'.* Leave out --scorer mini:truth"
    ) as caught:
        score_manifest(read_manifest(write(rows)), [*first, "mini:truth"], tmp_path / "out", weights=weights)
    assert "electorate" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_last_scorer_stops_before_the_first_one_scores(
    write: Callable[[Rows], Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    manifest = read_manifest(write(ROWS))
    weights = {"mini:clip": str(folders["mini:clip"]), "pickscore": str(tmp_path / "nowhere")}
    with pytest.raises(MissingWeightsError, match="nowhere"):
        score_manifest(manifest, ["mini:clip", "pickscore"], tmp_path / "out", weights=weights)
    assert not (tmp_path / "out").exists()


def test_a_picture_that_breaks_while_decoding_leaves_nothing_behind(
    write: Callable[[Rows], Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    path = write(ROWS)
    data = (tmp_path / "c.png").read_bytes()
    (tmp_path / "c.png").write_bytes(data[: len(data) // 2])
    weights = {"mini:clip": str(folders["mini:clip"])}
    with pytest.raises(DataError, match=r"Row 3 of the manifest: .*c\.png"):
        score_manifest(read_manifest(path), ["mini:clip"], tmp_path / "out", weights=weights)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("scorers", "weights", "message"),
    [
        (["pickscor"], {}, "Did you mean 'pickscore'"),
        (["mini:clip", "mini:clip"], {}, "given twice"),
        (["mini:clip"], {"mini:clp": "x"}, "Did you mean 'mini:clip'"),
        ([], {}, "No scorer is given"),
    ],
)
def test_a_bad_request_is_refused_by_name(
    write: Callable[[Rows], Path], tmp_path: Path, scorers: list[str], weights: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        score_manifest(read_manifest(write(ROWS)), scorers, tmp_path / "out", weights=weights)


@pytest.mark.parametrize("value", ["mini:clip", "=x", "mini:clip="])
def test_weights_without_name_or_path_are_refused(
    write: Callable[[Rows], Path], tmp_path: Path, value: str
) -> None:
    with pytest.raises(UsageError, match="is not of the form SCORER=PATH"):
        score_command(write(ROWS), ["mini:clip"], tmp_path / "out", weights=[value])


def test_real_images_through_the_real_command(
    reference_data: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Two instances of the HPDv2 gallery (JPEG files of several sizes), as a separate process."""
    gallery = pd.read_csv(reference_data / "hpdv2_test" / "rankings.csv")
    rows = gallery[gallery["instance"].isin([0, 1])]
    manifest = pd.DataFrame(
        {
            "image": [str(reference_data / "hpdv2_test" / name) for name in rows["image"]],
            "prompt": rows["prompt"],
            "checkpoint": [f"model-{slot}" for slot in rows["slot"]],
            "category": rows["style"],
        }
    )
    manifest.to_csv(tmp_path / "gallery.csv", index=False)
    scorers = ["mini:imagereward", "mini:hpsv2"]
    command = [
        sys.executable,
        "-c",
        "from prefbench.bench.cli import main; main()",
        "score",
        str(tmp_path / "gallery.csv"),
    ]
    for name in scorers:
        command += ["--scorer", name, "--weights", f"{name}={folders[name]}"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "scores.csv" in done.stdout
    assert "\u2501" not in done.stdout  # of a bar
    table = read_scores(tmp_path / "out" / "scores.parquet")
    assert len(table) == 2 * len(rows)
    assert set(table["category"]) == set(rows["style"])
    with Image.open(manifest["image"].iloc[0]) as image:
        expected = load_scorer("mini:hpsv2", weights=folders["mini:hpsv2"]).score(
            [image], [rows["prompt"].iloc[0]]
        )
    first = table[table["scorer"] == "mini:hpsv2"].iloc[0]
    assert first["checkpoint"] == manifest["checkpoint"].iloc[0]
    assert first["score"] == pytest.approx(expected[0], abs=1e-6)


def test_a_picture_that_is_too_large_is_not_said_to_be_none(
    write: Callable[[Rows], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"rows 1 \(.*a\.png\), 2 .*more pixels than Pillow opens"):
        read_manifest(write(ROWS))


@pytest.mark.parametrize("name", ["results.json", "scores.parquet"])
def test_another_file_in_place_of_the_manifest_is_told_what_is_expected(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"{}\n")
    with pytest.raises(DataError, match="is not a CSV. Give the manifest"):
        read_manifest(tmp_path / name)
