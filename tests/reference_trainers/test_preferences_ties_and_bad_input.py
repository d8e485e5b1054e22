"""Ties, identical images, odd image files, and tables that cannot be used."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers import recipes
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.diffusion_dpo import METHOD
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.pair_feed import PairFeed
from prefbench.reference_trainers.preferences.image_files import read_rgb
from prefbench.reference_trainers.preferences.labelled_pairs import flip_labels
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.recipes import resolve_recipe
from prefbench.scorers.image_io import open_rgb

PLAIN = DataConfig()
LABELS = [1, 0.5, 0, 0.5, 0.5]


def level(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


def write_rows(folder: Path, rows: list[list[object]]) -> str:
    path = folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["prompt", "image_0", "image_1", "label_0"], *rows])
    return str(path)


@pytest.fixture
def five_rows(tmp_path: Path) -> str:
    """Image 0 is dark, image 1 light; rows 2, 4 and 5 are ties."""
    for name, value in (("dark", 10), ("light", 200)):
        Image.new("RGB", (16, 16), (value,) * 3).save(tmp_path / f"{name}.png")
    return write_rows(tmp_path, [[f"p{i}", "dark.png", "light.png", label] for i, label in enumerate(LABELS)])


@pytest.mark.parametrize(
    ("ties", "prompts", "winners", "tied", "sentence"),
    [
        ("drop", "p0 p2", [10, 200], [0, 0], "5 rows read, 3 ties dropped."),
        ("first_wins", "p0 p1 p2 p3 p4", [10, 10, 200, 10, 10], [0] * 5, "a win of the first image"),
        ("keep", "p0 p1 p2 p3 p4", [10, 10, 200, 10, 10], [0, 1, 0, 1, 1], "5 rows read, 3 ties kept."),
    ],
)
def test_ties_are_dropped_counted_for_the_first_or_kept_as_asked(
    ties: str, prompts: str, winners: list[int], tied: list[int], sentence: str, five_rows: str
):
    pairs = open_preferences(five_rows, DataConfig(ties=ties))  # type: ignore[arg-type]
    assert " ".join(pairs.prompts) == prompts
    assert [level(pairs.winner(i)) for i in range(len(pairs))] == winners
    assert pairs.tied.tolist() == [bool(value) for value in tied]
    assert sentence in pairs.counts.sentence()
    counts = pairs.counts
    assert counts.ties_dropped + counts.ties_first + counts.ties_kept == 3


def test_the_three_ways_with_ties_are_three_data_sets(five_rows: str):
    ways = [
        open_preferences(five_rows, DataConfig(ties=way)).sha256 for way in ("drop", "first_wins", "keep")
    ]
    assert len(set(ways)) == 3


def test_flips_leave_kept_ties_alone(five_rows: str):
    """Of 5 pairs 2 have a winner: all of them is 2 flips."""
    pairs = open_preferences(five_rows, DataConfig(ties="keep", flip=1.0))
    assert pairs.flipped.tolist() == [True, False, True, False, False]
    assert pairs.counts.flipped == 2
    assert flip_labels(pairs, 1.0, 0).flipped.sum() == 0


def test_ties_can_be_kept_only_where_the_method_accepts_them(five_rows: str, monkeypatch: pytest.MonkeyPatch):
    import dataclasses

    keep = {"ties": Constant("keep", "test")}
    with pytest.raises(UsageError, match=r"ties = keep: diffusion_dpo needs a winner.*Set ties=drop"):
        resolve_recipe("diffusion_dpo", "miniature", keep)
    with pytest.raises(UsageError, match="ties = 'both'"):
        resolve_recipe("diffusion_dpo", "miniature", {"ties": Constant("both", "test")})
    accepting = dataclasses.replace(METHOD, accepts_ties=True)
    monkeypatch.setattr(recipes, "load_method", lambda name: accepting)
    assert resolve_recipe("diffusion_dpo", "miniature", keep).data.ties == "keep"


def test_a_batch_says_which_of_its_pairs_are_ties(five_rows: str, tiny_pipeline: Path):
    from prefbench.reference_trainers.draws import MicroBatch

    config = DataConfig(ties="keep")
    pairs = open_preferences(five_rows, config)
    feed = PairFeed(
        open_backbone(str(tiny_pipeline)),
        pairs,
        np.arange(5),
        config,
        seed=0,
        device=torch.device("cpu"),
        uses_loser=True,
        met=np.arange(5),
    )
    ((_, batch, _),) = feed.stream([MicroBatch(0, (0, 1, 2), (3, 2, 1), last=True)])
    assert batch.tied.tolist() == [True, False, True]


def test_counts_are_told_before_training_and_stand_in_the_card(
    five_rows: str, tiny_pipeline: Path, tmp_path: Path
):
    from prefbench.reference_trainers.progress import SilentProgress

    class Notes(SilentProgress):
        def __init__(self) -> None:
            self.texts: list[str] = []

        def note(self, text: str) -> None:
            self.texts.append(text)

    notes = Notes()
    given = {"steps": 1, "batch": 2, "ties": "first_wins"}
    recipe = resolve_recipe("sft", "miniature", {k: Constant(v, "test") for k, v in given.items()})
    result = train(recipe, backbone=str(tiny_pipeline), data=five_rows, out=tmp_path / "o", progress=notes)
    assert "5 rows read, 3 ties counted as a win of the first image." in notes.texts
    data = result.card["data"]
    assert (data["rows"], data["ties_first"], data["ties_dropped"], data["pairs"]) == (5, 3, 0, 5)
    assert result.card["constants"]["ties"]["value"] == "first_wins"


def test_pairs_of_one_image_with_itself_are_left_out_and_counted(tmp_path: Path):
    """The same file, and another file of the same bytes; files of equal size and other bytes stay."""
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "a.bmp")
    (tmp_path / "copy.bmp").write_bytes((tmp_path / "a.bmp").read_bytes())
    Image.new("RGB", (4, 4), (8, 8, 8)).save(tmp_path / "b.bmp")
    rows = [["p", "a.bmp", "a.bmp", 1], ["p", "a.bmp", "copy.bmp", 0.5], ["q", "a.bmp", "b.bmp", 1]]
    pairs = open_preferences(write_rows(tmp_path, [*rows, ["q", "a.bmp", "b.bmp", 0.5]]), PLAIN)
    assert (list(pairs.prompts), pairs.counts.identical_dropped, pairs.counts.ties_dropped) == (["q"], 2, 1)
    assert "2 pairs of identical images left out" in pairs.counts.sentence()
    with pytest.raises(DataError, match=r"each a tie \(label_0 = 0.5\) or a pair of identical images \(2\)"):
        open_preferences(write_rows(tmp_path, rows[:2]), PLAIN)


def test_pairs_whose_images_have_two_sizes_are_counted_among_those_that_stay(tmp_path: Path):
    """Two of four pairs are mixed; one of these is a tie and dropped. Parquet is not looked into, so nothing is known."""
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "square.bmp")
    Image.new("RGB", (4, 4), (7, 7, 7)).save(tmp_path / "other.bmp")
    Image.new("RGB", (4, 6), (8, 8, 8)).save(tmp_path / "tall.bmp")
    rows = [["p", "square.bmp", "tall.bmp", 1], ["q", "tall.bmp", "square.bmp", 0.5]]
    rows += [["r", "square.bmp", "other.bmp", 0], ["s", "other.bmp", "square.bmp", 1]]
    counts = open_preferences(write_rows(tmp_path, rows), PLAIN).counts
    assert (counts.mixed_sizes, counts.ties_dropped) == (1, 1)
    assert "1 pair of images of two sizes" in counts.sentence()
    buffers = [(tmp_path / name).read_bytes() for name in ("square.bmp", "tall.bmp")]
    table = pd.DataFrame({"caption": ["p"], "jpg_0": buffers[:1], "jpg_1": buffers[1:], "label_0": [1.0]})
    table.to_parquet(tmp_path / "pairs.parquet")
    counts = open_preferences(str(tmp_path / "pairs.parquet"), PLAIN).counts
    assert (counts.mixed_sizes, counts.sentence()) == (None, "")


def test_pickapic_rows_with_one_uid_are_left_out_and_counted(tmp_path: Path):
    def jpeg(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (value,) * 3).save(buffer, "JPEG")
        return buffer.getvalue()

    columns = ["caption", "jpg_0", "jpg_1", "label_0", "image_0_uid", "image_1_uid"]
    rows = [["p", jpeg(1), jpeg(2), 1.0, "u", "v"], ["q", jpeg(3), jpeg(3), 1.0, "w", "w"]]
    pd.DataFrame([*rows, ["r", jpeg(1), jpeg(2), 0.0, None, None]], columns=columns).to_parquet(
        tmp_path / "with.parquet"
    )
    pd.DataFrame(rows, columns=columns)[columns[:4]].to_parquet(tmp_path / "without.parquet")
    pairs = open_preferences(str(tmp_path), PLAIN)
    assert list(pairs.prompts) == ["p", "r", "p", "q"]
    assert pairs.counts.identical_dropped == 1


def test_pickapic_rows_that_show_one_image_name_it_by_its_uid(tmp_path: Path):
    """One image in three rows, liked once: for single images it is one image, desirable; without uids it would be three."""
    from prefbench.reference_trainers.preferences.single_images import single_images

    def jpeg(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (value,) * 3).save(buffer, "JPEG")
        return buffer.getvalue()

    rows = [["p", jpeg(1), jpeg(i), float(i == 2), "one", f"other {i}"] for i in (2, 3, 4)]
    columns = ["caption", "jpg_0", "jpg_1", "label_0", "image_0_uid", "image_1_uid"]
    for part, name in ((rows[:2], "a"), (rows[2:], "b")):
        pd.DataFrame(part, columns=columns).to_parquet(tmp_path / f"{name}.parquet")
    pairs = open_preferences(str(tmp_path), PLAIN)
    names = [pairs.image_names(row, 0) for row in range(3)]
    assert len(set(names)) == 1
    assert names[0].startswith("uid:")
    images = single_images(pairs, np.arange(3))
    assert len(images.pair) == 4
    assert images.desirable.tolist().count(True) == 3


def save_modes(folder: Path) -> dict[str, tuple[int, int, int]]:
    """One colour in each mode that image files come in, and the RGB value that it must give."""
    Image.new("RGB", (4, 4), (200, 100, 50)).save(folder / "rgb.png")
    Image.new("RGBA", (4, 4), (200, 100, 50, 0)).save(folder / "rgba.png")
    Image.new("L", (4, 4), 77).save(folder / "grey.png")
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(folder / "deep.png")
    Image.new("LA", (4, 4), (77, 0)).save(folder / "greyalpha.png")
    Image.new("1", (4, 4), 1).save(folder / "bit.png")
    Image.new("RGB", (4, 4), (200, 100, 50)).quantize(4).save(folder / "palette.png")
    colour, grey = (200, 100, 50), (77, 77, 77)
    return {
        "rgb.png": colour,
        "rgba.png": (255, 255, 255),
        "grey.png": grey,
        "greyalpha.png": (255, 255, 255),
        "deep.png": (156, 156, 156),
        "bit.png": (255, 255, 255),
        "palette.png": colour,
    }


def test_every_mode_becomes_rgb_as_the_scorers_see_it(tmp_path: Path):
    """White under full transparency; 40000 / 257 = 155.6; the same pixels as scorers/image_io.py."""
    for name, expected in save_modes(tmp_path).items():
        image = read_rgb(tmp_path / name, "row 1")
        assert (image.mode, image.getpixel((1, 1))) == ("RGB", expected), name
        assert np.array_equal(image, open_rgb(tmp_path / name)), name


def test_a_picture_that_exif_turns_is_turned(tmp_path: Path):
    """Orientation 6: the left column of the file is the top row of the picture."""
    sideways = Image.new("RGB", (4, 2), (0, 0, 255))
    sideways.paste((255, 0, 0), (0, 0, 1, 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "turned.png", exif=exif)
    image = read_rgb(tmp_path / "turned.png", "row 1")
    assert image.size == (2, 4)
    assert image.getpixel((0, 0)) == image.getpixel((1, 0)) == (255, 0, 0)
    assert image.getpixel((0, 1)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float.tif", "floating-point values without a stated range"),
        ("folder", "is not an image"),
        ("", "an image has no name"),
        ("empty.png", "is not an image"),
    ],
)
def test_files_that_cannot_be_an_rgb_image_are_named_before_training(name: str, message: str, tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "good.png")
    Image.new("F", (4, 4), 0.5).save(tmp_path / "float.tif")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=message) as caught:
        open_preferences(write_rows(tmp_path, [["p", "good.png", name, 1]]), PLAIN)
    assert "row 1" in str(caught.value)


def test_an_image_that_is_cut_short_is_named_when_its_pixels_are_read(tmp_path: Path):
    Image.effect_noise((64, 64), 80).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    pairs = open_preferences(write_rows(tmp_path, [["p", "whole.png", "cut.png", 1]]), PLAIN)
    assert pairs.winner(0).size == (64, 64)
    with pytest.raises(DataError, match=r"pairs.csv row 1: .*cut.png cannot be read as an image"):
        pairs.loser(0)


def test_json_lines_read_like_the_csv_of_the_same_rows(tmp_path: Path, write_manifest: Callable[..., Path]):
    path = write_manifest(tmp_path, 6, lambda i: (1, 0, 0.5)[i % 3])
    table = pd.read_csv(path)
    lines = [json.dumps(row) for row in table.to_dict("records")]
    (tmp_path / "pairs.jsonl").write_text("\n".join([*lines[:2], "", *lines[2:], ""]), encoding="utf-8")
    table.to_parquet(tmp_path / "pairs.parquet")
    opened = [
        open_preferences(str(tmp_path / f"pairs.{kind}"), PLAIN) for kind in ("csv", "jsonl", "parquet")
    ]
    assert len({pairs.sha256 for pairs in opened}) == 1
    assert {pairs.counts for pairs in opened} == {opened[0].counts}
    assert opened[0].counts.ties_dropped == 2


def test_bad_json_lines_are_named(tmp_path: Path):
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n[1]\n')
    with pytest.raises(DataError, match=r"line 2 is not JSON.*line 3 is no JSON object"):
        open_preferences(str(tmp_path / "pairs.jsonl"), PLAIN)
    (tmp_path / "pairs.jsonl").write_text(
        '{"prompt": "a", "image_0": "x", "image_1": null, "label_0": null}\n'
    )
    with pytest.raises(
        DataError, match=r"label_0 is .*; row 1: image .*x is missing; row 1: an image has no"
    ):
        open_preferences(str(tmp_path / "pairs.jsonl"), PLAIN)


def test_image_paths_can_be_relative_to_another_folder(tmp_path: Path, write_manifest: Callable[..., Path]):
    path = write_manifest(tmp_path / "here", 4)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = path.rename(elsewhere / "pairs.csv")
    with pytest.raises(DataError, match="is missing"):
        open_preferences(str(moved), PLAIN)
    pairs = open_preferences(str(moved), DataConfig(image_folder=str(tmp_path / "here")))
    assert len(pairs) == 4
    assert pairs.winner(0).size == (16, 16)
