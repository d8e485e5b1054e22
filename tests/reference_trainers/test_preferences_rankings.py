"""Rankings of several images: the published schemas, and the pairs that follow from them."""

import csv
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences, open_rankings
from prefbench.reference_trainers.preferences.rankings import RankedImages
from prefbench.reference_trainers.recipes import resolve_recipe

PLAIN = DataConfig()


def save_levels(folder: Path, levels: list[int]) -> list[str]:
    """Uniform grey images named after their level."""
    folder.mkdir(parents=True, exist_ok=True)
    for level in levels:
        Image.new("RGB", (16, 16), (level,) * 3).save(folder / f"{level}.png")
    return [f"{level}.png" for level in levels]


def level(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


def winners_and_losers(pairs: Any) -> list[tuple[str, int, int]]:
    return [(pairs.prompt(i), level(pairs.winner(i)), level(pairs.loser(i))) for i in range(len(pairs))]


def write_json(path: Path, entries: object) -> str:
    path.write_text(json.dumps(entries))
    return str(path)


def test_imagereward_rankings_give_all_pairs_of_different_rank(tmp_path: Path):
    """Ranks 1, 2, 2 of images 10, 20, 30: 10 beats both, and 20 against 30 is a tie."""
    names = save_levels(tmp_path, [10, 20, 30])
    entry = {"id": "a-0", "prompt": "a", "generations": names, "ranking": [1, 2, 2]}
    other = {"id": "b-0", "prompt": "b", "generations": names[:2], "ranking": [4, 3]}
    spec = write_json(tmp_path / "train.json", [entry, other])
    pairs = open_preferences(spec, PLAIN)
    assert winners_and_losers(pairs) == [("a", 10, 20), ("a", 10, 30), ("b", 20, 10)]
    assert (pairs.counts.rows, pairs.counts.ties_dropped) == (4, 1)
    first = open_preferences(spec, DataConfig(ties="first_wins"))
    assert winners_and_losers(first)[2] == ("a", 20, 30)
    assert (first.counts.ties_dropped, first.counts.ties_first) == (0, 1)


def test_the_published_test_split_gives_the_published_number_of_pairs(reference_data: Path, tmp_path: Path):
    """466 prompts and 6,399 pairs (THUDM/ImageReward README); real rankings over stand-ins for the images."""
    entries = json.loads((reference_data / "imagereward" / "test.json").read_text(encoding="utf-8"))
    stand_in = tmp_path / "one.png"
    Image.new("RGB", (2, 2)).save(stand_in)
    for number, name in enumerate(name for entry in entries for name in entry["generations"]):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(stand_in.read_bytes() + str(number).encode())
    config = DataConfig(image_folder=str(tmp_path / "images"))
    pairs = open_preferences(write_json(tmp_path / "test.json", entries), config)
    assert len(set(pairs.prompts)) <= len(entries) == 466
    assert len(pairs) == 6399
    assert pairs.counts.ties_dropped == pairs.counts.rows - 6399
    assert pairs.counts.identical_dropped == 0


@pytest.mark.parametrize("key", ["file_path", "image_path"])
@pytest.mark.parametrize("beside", ["train", "."])
def test_hpdv2_train_marks_the_preferred_image_with_1(key: str, beside: str, tmp_path: Path):
    """Images in train/ beside train.json, as published, or beside the file."""
    names = save_levels(tmp_path / beside, [10, 20])
    entries = [
        {"prompt": "a", key: names, "human_preference": [0, 1], "user_hash": "x"},
        {"prompt": "b", key: names, "human_preference": [1, 0], "user_hash": "x"},
        {"prompt": "c", key: names, "human_preference": [1, 1], "user_hash": "x"},
    ]
    pairs = open_preferences(write_json(tmp_path / "train.json", entries), PLAIN)
    assert winners_and_losers(pairs) == [("a", 20, 10), ("b", 10, 20)]
    assert pairs.counts.ties_dropped == 1


def test_hpdv2_test_ranks_1_as_the_best(tmp_path: Path):
    names = save_levels(tmp_path / "test", [10, 20, 30])
    entries = [{"prompt": "a", "image_path": names, "rank": [3, 1, 2], "raw_annotations": []}]
    spec = write_json(tmp_path / "test.json", entries)
    assert winners_and_losers(open_preferences(spec, PLAIN)) == [("a", 20, 10), ("a", 30, 10), ("a", 20, 30)]
    rankings = open_rankings(spec, PLAIN)
    assert (len(rankings), rankings.items[0].mean_ranks().tolist()) == (1, [3, 1, 2])
    assert [level(rankings.image(0, place)) for place in range(3)] == [10, 20, 30]


def test_bad_entries_are_named_at_once(tmp_path: Path):
    names = save_levels(tmp_path, [10, 20])
    entries = [
        {"prompt": "a", "file_path": names, "human_preference": [1, 0]},
        {"prompt": " ", "file_path": names, "human_preference": [1, 0]},
        {"prompt": "a", "file_path": names[:1], "human_preference": [1]},
        {"prompt": "a", "file_path": names, "human_preference": [1, 0, 0]},
        {"prompt": "a", "file_path": names, "human_preference": [0.5, 2]},
        {"prompt": "a", "file_path": [names[0], "absent.png"], "human_preference": [1, 0]},
        {"prompt": "a"},
    ]
    with pytest.raises(DataError) as caught:
        open_preferences(write_json(tmp_path / "train.json", entries), PLAIN)
    text = str(caught.value)
    assert "entry 1:" not in text
    for part in (
        "entry 2: the prompt is empty",
        "entry 3: there are no two images",
        "entry 4: the ranks are not one number for each of the 2 images",
        "entry 5: the ranks are not",
        "entry 6: image",
        "absent.png is missing",
        "entry 7: there are no two images",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("{}", "no JSON list of objects"),
        ("[]", "no JSON list of objects"),
        ('[{"text": 1}]', "the first entry has text"),
    ],
)
def test_json_of_another_schema_is_refused(content: str, message: str, tmp_path: Path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=message):
        open_preferences(str(tmp_path / "x.json"), PLAIN)


def write_table(folder: Path, rows: list[list[object]], annotators: int = 3) -> Path:
    path = folder / "rankings.csv"
    header = ["instance", "prompt", "image", *(f"rank_{a}" for a in range(annotators))]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_the_majority_of_annotators_decides_each_pair(tmp_path: Path):
    """10 beats 20 by 2 to 1; 30 beats 20 by 3 to 0; 10 against 30: one vote each and one equal rank, a tie."""
    names = save_levels(tmp_path, [10, 20, 30])
    ranks = [[1, 3, 2], [2, 2, 3], [1.5, 1, 2]]
    path = write_table(tmp_path, [[7, "a", name, *rank] for name, rank in zip(names, ranks, strict=True)])
    pairs = open_preferences(str(path), PLAIN)
    assert winners_and_losers(pairs) == [("a", 10, 20), ("a", 30, 20)]
    assert pairs.counts.ties_dropped == 1
    assert open_preferences(str(tmp_path), PLAIN).sha256 == pairs.sha256


def test_a_rankings_table_reads_alike_from_csv_parquet_and_its_folder(tmp_path: Path):
    names = save_levels(tmp_path, [10, 20, 30])
    rows = [
        ["b", "y", names[0], 2],
        ["a", "x", names[1], 1],
        ["b", "y", names[2], 1],
        ["a", "x", names[0], 2],
    ]
    path = write_table(tmp_path, rows, annotators=1)
    frame = pd.DataFrame(rows, columns=["instance", "prompt", "image", "rank_0"])
    frame.to_parquet(tmp_path / "rankings.parquet")
    expected = [("y", 30, 10), ("x", 20, 10)]
    for spec in (path, tmp_path / "rankings.parquet", tmp_path):
        assert winners_and_losers(open_preferences(str(spec), PLAIN)) == expected


def test_bad_rows_of_a_rankings_table_are_named(tmp_path: Path):
    names = save_levels(tmp_path, [10, 20])
    path = write_table(tmp_path, [[0, "a", names[0], "first"], [0, "b", names[1], 2]], annotators=1)
    with pytest.raises(DataError) as caught:
        open_preferences(str(path), PLAIN)
    assert "row 1: rank_0 is 'first', not a number" in str(caught.value)
    assert "instance '0' has more than one prompt" in str(caught.value)
    path = write_table(tmp_path, [[0, "a", names[0], 1], [1, "b", names[1], 2]], annotators=1)
    with pytest.raises(DataError, match="instance 1: there are no two images"):
        open_preferences(str(path), PLAIN)
    path = write_table(tmp_path, [], annotators=1)
    with pytest.raises(DataError, match="holds no ranking"):
        open_preferences(str(path), PLAIN)


@given(
    st.integers(2, 5).flatmap(
        lambda k: st.lists(st.lists(st.integers(1, 4), min_size=k, max_size=k), min_size=1, max_size=4)
    )
)
def test_a_label_is_that_of_the_reversed_pair_turned_round(table: list[list[int]]):
    ranked = RankedImages("a", tuple(range(len(table[0]))), np.array(table))
    for one, other in combinations(range(len(table[0])), 2):
        assert ranked.label(one, other) + ranked.label(other, one) == 1
        wins = sum(row[one] < row[other] for row in table) - sum(row[one] > row[other] for row in table)
        assert ranked.label(one, other) == (1.0 if wins > 0 else 0.0 if wins < 0 else 0.5)


def test_real_rankings_of_ten_annotators_agree_with_their_mean_rank(reference_data: Path):
    """40 instances of 9 or 10 images: 29 x 36 + 11 x 45 = 1,539 pairs; a majority of ten seldom contradicts the mean."""
    spec = str(reference_data / "hpdv2_test")
    rankings, pairs = open_rankings(spec, PLAIN), open_preferences(spec, PLAIN)
    sizes = [len(item.images) for item in rankings.items]
    assert (len(rankings), sum(sizes)) == (40, 371)
    assert {item.ranks.shape[0] for item in rankings.items} == {10}
    assert pairs.counts.rows == sum(k * (k - 1) // 2 for k in sizes) == 29 * 36 + 11 * 45
    assert len(pairs) + pairs.counts.ties_dropped == pairs.counts.rows
    agree = 0
    for item in rankings.items:
        mean = item.mean_ranks()
        for one, other in combinations(range(len(item.images)), 2):
            agree += item.label(one, other) == 0.5 * (1 + np.sign(mean[other] - mean[one]))
    assert agree > 0.85 * pairs.counts.rows


def test_two_steps_of_dpo_from_real_ranked_images(reference_data: Path, tiny_pipeline: Path, tmp_path: Path):
    from diffusers import StableDiffusionPipeline

    given = {"steps": 2, "batch": 4, "lora_rank": 2}
    recipe = resolve_recipe("diffusion_dpo", "miniature", {k: Constant(v, "test") for k, v in given.items()})
    data = str(reference_data / "hpdv2_test")
    result = train(recipe, backbone=str(tiny_pipeline), data=data, out=tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert np.isfinite(lines[1]["loss"])
    assert result.card["data"]["rows"] == 1539
    assert result.card["data"]["pairs"] == 1539 - result.card["data"]["ties_dropped"]
    StableDiffusionPipeline.from_pretrained(tiny_pipeline).load_lora_weights(tmp_path / "out")


def test_data_of_pairs_holds_no_rankings(tmp_path: Path):
    with pytest.raises(DataError, match="holds pairs, not rankings"):
        open_rankings("miniature", PLAIN)
    with pytest.raises(UsageError, match="Unknown data source"):
        open_rankings("nothing", PLAIN)
    with pytest.raises(DataError, match="there is no such folder"):
        open_preferences(
            write_json(tmp_path / "x.json", [{"generations": [], "ranking": []}]),
            DataConfig(image_folder=str(tmp_path / "absent")),
        )
