"""`prefbench noise`: pictures in, tolerances out, by real scorers and by one whose scores are known."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from prefbench.bench.cli import app
from prefbench.bench.electorate.tolerances import read_tolerances
from prefbench.bench.exceptions import DataError, PrefbenchError
from prefbench.bench.image_manifest import read_manifest
from prefbench.bench.progress import silent
from prefbench.bench.reencoding.copies import ENCODINGS, write_copies
from prefbench.bench.registry import Registry
from prefbench.bench.scores_table import read_scores
from prefbench.scorers import registry
from prefbench.scorers.image_io import open_rgb

IMAGES = 24
PREFBENCH = (sys.executable, "-m", "prefbench.bench.cli")

PLUGIN = '''
import numpy as np
from prefbench.scorers.image_io import open_rgb
from prefbench.scorers.info import ScorerInfo

class Size:
    """Scores a file by its suffix: what a lossy copy changes is known."""
    batch_size = 4
    def __init__(self, name):
        self.info = ScorerInfo(name, None, "none", "none", "nothing", {"name": name})
    def _one(self, image):
        path = str(image)
        number = int(path.rpartition("/")[2][:6].lstrip("g") or 0)
        return float(open_rgb(image).width) + {".jpg": number, ".webp": -number}.get(path[path.rindex("."):], 0)
    def score(self, images, prompts):
        return np.array([self._one(image) for image in images])
    def truncated(self, prompts):
        return np.zeros(len(prompts), dtype=bool)

class Gaps(Size):
    """Has no score for the WebP copies of the first images."""
    missing = 2
    def score_or_reason(self, images, prompts, keep=None):
        scores = self.score(images, prompts)
        gone = [str(i).endswith(".webp") and int(str(i)[-11:-5]) <= self.missing for i in images]
        scores[gone] = np.nan
        return scores, ["too large" if g else "" for g in gone]

class Holes(Gaps):
    missing = 10

def load(name, *, weights, architecture, device, dtype):
    return {"size": Size, "gaps": Gaps, "holes": Holes}[name](name)
'''


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scorers of PLUGIN beside the built-in ones, and 80 columns."""
    (tmp_path / "noise_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    table = registry.TABLE | dict.fromkeys(("size", "gaps", "holes"), "noise_plugin:load")
    monkeypatch.setattr(registry, "REGISTRY", Registry("scorer", table, group="prefbench.scorers"))
    monkeypatch.setattr(registry, "TABLE", table)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """Smooth pictures 000001.png ..., two a prompt, the first of them also as the format that is named."""

    def write(images: int = IMAGES, first: str = "png") -> Path:
        rng = np.random.default_rng(0)
        for k in range(images):
            small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            name = f"g{k:05d}.{first if k == 0 else 'png'}"
            small.resize((32, 32), Image.Resampling.BICUBIC).save(tmp_path / name)
        names = [f"g{k:05d}.{first if k == 0 else 'png'}" for k in range(images)]
        rows = "".join(f"{name},a picture of {k // 2}\n" for k, name in enumerate(names))
        (tmp_path / "m.csv").write_text("image,prompt\n" + rows)
        return tmp_path / "m.csv"

    return write


def noise(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["noise", *map(str, arguments)])
    if result.exception:
        raise result.exception
    return result.output


def test_tolerances_are_those_of_changes_that_are_known(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    """Image k changes by +k and -k, k = 1 to 24: shifts 12.5, variance 50 for either encoding.

    A step of s images moves 24 - s pairs by s and s by 24 - s; steps 1 to 12 are all pairs (twice at 12). The quantile is
    counted out here.
    """
    out = tmp_path / "out"
    shown = noise(manifest(), "--scorer", "size", "--out", out)
    found = json.loads((out / "noise.json").read_text())["scorers"]["size"]
    moved = [value for s in range(1, 13) for value in [s] * (24 - s) + [24 - s] * s]
    assert found["shifts"] == {"jpeg 95": 12.5, "webp 95": -12.5}
    assert found["score_sd"] == pytest.approx(np.sqrt(50))
    assert found["difference_sd"] == pytest.approx(10)
    assert found["tolerance"] == pytest.approx(np.quantile(moved * 2, 0.95))
    assert found["lossless_largest"] == 0
    assert found["votes"]["tied"] == 1, "all pictures are 32 wide"
    written = tomllib.loads((out / "tolerances.toml").read_text())
    assert written["tie_tolerance"] == {"size": found["tolerance"]}
    assert written["fingerprint"] == {"size": found["fingerprint"]}
    assert read_tolerances(out / "tolerances.toml") == {"size": found["tolerance"]}
    assert "lossless copies have the same scores." in " ".join(shown.split())
    assert all(len(line) <= 80 for line in shown.splitlines() if "Tolerances:" not in line)


def test_a_picture_that_is_there_twice_counts_once(
    manifest: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 3 names the file of row 1 again, and row 2 is another file, under another prompt, with the pixels of row 6."""
    path = manifest()
    Image.open(tmp_path / "g00003.png").save(tmp_path / "g99999.bmp")
    header, *rows = path.read_text().splitlines(keepends=True)
    again = [rows[0], "g99999.bmp,another prompt\n", *rows]
    path.write_text("".join([header, *again]))
    shown = noise(path, "--scorer", "size", "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert (found["images"], found["repeated"], found["prompts"]) == (IMAGES, 2, 13)
    assert found["scorers"]["size"]["votes"]["pairs"] == IMAGES // 2 - 1, (
        "one lost its partner to another prompt"
    )
    assert "Left out: 2 rows of the manifest with the pixels of an earlier row." in " ".join(shown.split())
    path.write_text("".join([header, *rows[:19], *rows[:5]]))
    # They are counted before any is re-encoded.
    monkeypatch.setattr("prefbench.bench.reencoding.session.write_copies", None)
    with pytest.raises(DataError, match="has 19 different images"):
        noise(path, "--scorer", "size", "--out", tmp_path / "other")


def test_scores_are_kept_as_a_scores_table_of_encodings(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    noise(manifest(), "--scorer", "size", "--out", tmp_path / "out")
    scores = read_scores(tmp_path / "out" / "scores" / "scores.csv")
    assert sorted(scores["checkpoint"].unique()) == ["as given", "jpeg 95", "png", "webp 95"]
    third = scores[scores["prompt_id"] == "row-000003"].set_index("checkpoint")["score"]
    assert third.to_dict() == {"as given": 32, "png": 32, "jpeg 95": 35, "webp 95": 29}


def test_a_lossless_copy_has_the_same_pixels_and_exactly_the_same_scores(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    """One image at a time: in batches a float32 sum may round otherwise in another place. A JPEG among the given ones."""
    path = manifest(20, first="jpg")
    shown = noise(
        path, "--scorer", "mini:clip", "--batch-size", 1, "--device", "cpu", "--out", tmp_path / "out"
    )
    found = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert found["encodings"]["png"]["psnr_db"] is None
    row = found["scorers"]["mini:clip"]
    assert row["lossless_largest"] == 0
    assert 0 < row["tolerance"] < row["deviation_of_scores"]
    assert row["tolerance_ci95"][0] <= row["tolerance"] <= row["tolerance_ci95"][1]
    assert row["votes"]["pairs"] == 10
    assert "mini:clip" in shown


def test_copies_are_what_they_are_called(manifest: Callable[..., Path], tmp_path: Path) -> None:
    given = read_manifest(manifest())
    (tmp_path / "copies").mkdir()
    copies = write_copies(given, tmp_path / "copies", silent)
    paths, psnr = copies.paths, copies.psnr
    formats = {name: Image.open(files[0]).format for name, files in paths.items()}
    assert formats == {"png": "PNG", "jpeg 95": "JPEG", "webp 95": "WEBP"}
    for encoding in ENCODINGS:
        same = [
            (np.asarray(open_rgb(copy)) == np.asarray(open_rgb(image))).all()
            for copy, image in zip(paths[encoding.name], given.images, strict=True)
        ]
        assert all(same) if encoding.lossless else not any(same)
        assert np.isinf(psnr[encoding.name]).all() == encoding.lossless
    jpeg, webp = psnr["jpeg 95"].mean(), psnr["webp 95"].mean()
    assert jpeg > 40
    assert webp > 30


def test_copies_that_may_be_seen_are_told(manifest: Callable[..., Path], tmp_path: Path) -> None:
    """Coloured noise, pixel by pixel: WebP halves its colour."""
    path = manifest()
    rng = np.random.default_rng(1)
    for row in pd.read_csv(path)["image"]:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / row)
    shown = " ".join(noise(path, "--scorer", "size", "--out", tmp_path / "out").split())
    assert "Warning: webp 95 copies have a median PSNR of" in shown


def test_images_without_a_score_of_some_copy_are_left_out_and_counted(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    shown = " ".join(noise(manifest(), "--scorer", "gaps", "--out", tmp_path / "out").split())
    found = json.loads((tmp_path / "out" / "noise.json").read_text())["scorers"]["gaps"]
    assert (found["images"], found["left_out"]) == (IMAGES - 2, 2)
    assert found["shifts"] == {"jpeg 95": 13.5, "webp 95": -13.5}, "the mean of 3 to 24"
    assert f"gaps has no score for some copy of 2 of {IMAGES} images" in shown
    with pytest.raises(DataError, match="holes has scores of all copies for 14 of 24 images"):
        noise(manifest(), "--scorer", "holes", "--out", tmp_path / "other")


def test_the_same_call_again_goes_through_and_gives_the_same_tolerances(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    """Also after a kill between the scores and what is made of them."""
    out, path = tmp_path / "out", manifest()
    noise(path, "--scorer", "size", "--out", out)
    first = (out / "tolerances.toml").read_text()
    (out / "noise.json").unlink()
    (out / "tolerances.toml").unlink()
    noise(path, "--scorer", "size", "--out", out)
    noise(path, "--scorer", "size", "--out", out)
    assert (out / "tolerances.toml").read_text() == first


def test_a_folder_of_something_else_is_refused_and_stays(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    out, path = tmp_path / "out", manifest()
    out.mkdir()
    (out / "tolerances.toml").write_text("mine")
    with pytest.raises(PrefbenchError, match="`prefbench noise` did not write .tolerances.toml"):
        noise(path, "--scorer", "size", "--out", out)
    assert (out / "tolerances.toml").read_text() == "mine"
    (out / "tolerances.toml").rename(tmp_path / "kept")
    (out / "scores").mkdir()
    (out / "scores" / "mine.txt").write_text("")
    with pytest.raises(PrefbenchError, match="`prefbench score` did not write"):
        noise(path, "--scorer", "size", "--out", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scorer", "sise"], "size"),
        (["--scorer", "size", "--scorer", "size"], "given twice"),
        (["--scorer", "size", "--weights", "clip=x"], "--weights"),
        (["--scorer", "mini:clip", "--dtype", "int8"], "dtype"),
        (["--scorer", "size", "--device", "tpu9"], "no device"),
    ],
)
def test_bad_options_are_refused(
    manifest: Callable[..., Path], tmp_path: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(PrefbenchError, match=message):
        noise(manifest(), *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "noise.json").exists()


def test_too_few_images_are_refused_before_any_is_copied(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="has 19 different images"):
        noise(manifest(19), "--scorer", "size", "--out", tmp_path / "out")


def test_a_broken_image_is_named_with_its_row(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest()
    whole = (tmp_path / "g00004.png").read_bytes()
    (tmp_path / "g00004.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"m.csv row 5: .*g00004.png cannot be decoded.*Nothing was scored"):
        noise(path, "--scorer", "size", "--out", tmp_path / "out")


def test_an_image_too_wide_for_a_format_is_named(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest()
    Image.new("RGB", (16_384, 1)).save(tmp_path / "g00002.png")
    with pytest.raises(
        DataError, match=r"row 3: .*g00002.png has a side of 16384 pixels, and webp 95 holds 16383"
    ):
        noise(path, "--scorer", "size", "--out", tmp_path / "out")


def test_as_a_process_an_error_is_a_paragraph_and_exit_code_2(tmp_path: Path) -> None:
    found = subprocess.run(
        [
            *PREFBENCH,
            "noise",
            str(tmp_path / "no.csv"),
            "--scorer",
            "mini:clip",
            "--out",
            str(tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
        timeout=120,
    )
    assert found.returncode == 2
    assert "There is no manifest at" in found.stderr
    assert "Traceback" not in found.stderr
