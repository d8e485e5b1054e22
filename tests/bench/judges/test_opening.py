"""Every form of human choices, small and by hand; the published files as they are; and what cannot be read."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.judges.choices import HumanChoices
from prefbench.bench.judges.opening import open_choices

RATINGS = "prompt,image,rating_a,rating_b,clip\np,a.png,5,4,0.3\np,b.png,2,4,0.2\nq,c.png,1,1,0.1\nq,d.png,2,2,0.4\n"


def save_levels(folder: Path, *levels: int) -> list[str]:
    """Uniform grey images named after their level."""
    folder.mkdir(parents=True, exist_ok=True)
    for level in levels:
        Image.new("RGB", (16, 16), (level,) * 3).save(folder / f"{level}.png")
    return [f"{level}.png" for level in levels]


def shown(choices: HumanChoices) -> list[tuple[str, int, int, int]]:
    """(prompt, grey of the first image, of the second, people's choice) of each pair."""
    assert choices.read is not None
    grey = [int(np.asarray(choices.read(place))[0, 0, 0]) for place in range(len(choices.prompts))]
    return [
        (choices.prompts[one], grey[one], grey[other], choice)
        for (one, other), choice in zip(choices.pairs.tolist(), choices.people().tolist(), strict=True)
    ]


def write(path: Path, text: object) -> str:
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return str(path)


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (level,) * 3).save(buffer, "png")
    return buffer.getvalue()


def test_pick_a_pic_keeps_its_ties_and_leaves_out_an_image_against_itself(tmp_path: Path) -> None:
    rows = {
        "caption": ["p", "p", "q", "q"],
        "jpg_0": [png(10), png(20), png(30), png(30)],
        "jpg_1": [png(20), png(40), png(50), png(30)],
        "label_0": [1.0, 0.5, 0.0, 0.5],
        "image_0_uid": ["a", "b", "c", "c"],
        "image_1_uid": ["b", "d", "e", "c"],
    }
    pd.DataFrame(rows).to_parquet(tmp_path / "test.parquet")
    for spec in (tmp_path / "test.parquet", tmp_path):
        choices = open_choices(str(spec))
        assert shown(choices) == [("p", 10, 20, 1), ("p", 20, 40, 0), ("q", 30, 50, -1)]
        assert choices.left_out == {"pairs of identical images": 1}
        assert not choices.several_images
    assert choices.names[1] == choices.names[2], "b is shown twice under one prompt, and is one image"


def test_imagereward_ranks_of_one_annotator(tmp_path: Path) -> None:
    """Ranks 1, 2, 2: the first is above both, which tie."""
    names = save_levels(tmp_path / "there", 10, 20, 30)
    spec = write(
        tmp_path / "test.json", [{"id": "0", "prompt": "p", "generations": names, "ranking": [1, 2, 2]}]
    )
    choices = open_choices(spec, image_folder=tmp_path / "there")
    assert shown(choices) == [("p", 10, 20, 1), ("p", 10, 30, 1), ("p", 20, 30, 0)]
    assert choices.several_images


def test_imagerewards_own_test_set_has_its_6399_pairs_that_people_decided(
    reference_data: Path, tmp_path: Path
) -> None:
    """The images are not at hand: each name stands for one grey square. Identical bytes would be left out as no pair."""
    entries = json.loads((reference_data / "imagereward" / "test.json").read_text())
    for k, name in enumerate(name for entry in entries for name in entry["generations"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(k % 256) + str(k).encode())
    choices = open_choices(str(reference_data / "imagereward" / "test.json"), image_folder=tmp_path)
    people = choices.people()
    assert (len(set(choices.group.tolist())), int((people != 0).sum())) == (466, 6399)


def test_hpdv2_ranks_are_read_as_published(tmp_path: Path) -> None:
    names = save_levels(tmp_path / "test", 10, 20)
    spec = write(
        tmp_path / "test.json", [{"prompt": "p", "image_path": names, "rank": [2, 1], "raw_annotations": []}]
    )
    assert shown(open_choices(spec)) == [("p", 10, 20, -1)]


def test_a_table_of_rankings_counts_heads(tmp_path: Path) -> None:
    """10 is above 20 for two of three. The third did not rank 30: one of two has it below 10, both below 20."""
    save_levels(tmp_path, 10, 20, 30)
    rows = "instance,prompt,image,rank_a,rank_b,rank_c,s\n0,p,10.png,1,3,1,5\n0,p,20.png,2,1,2,6\n0,p,30.png,3,2,,7\n"
    write(tmp_path / "rankings.csv", rows)
    choices = open_choices(str(tmp_path), scored=["s"])
    assert shown(choices) == [("p", 10, 20, 1), ("p", 10, 30, 0), ("p", 20, 30, 1)]
    assert choices.recorded["s"].tolist() == [5, 6, 7]


def test_ratings_need_no_image_where_none_is_looked_at(tmp_path: Path) -> None:
    choices = open_choices(write(tmp_path / "ratings.csv", RATINGS), scored=["clip"], images=False)
    assert choices.people().tolist() == [1, -1]
    assert (choices.read, choices.comparable, choices.label) == (None, True, "mean")
    assert choices.recorded["clip"].tolist() == [0.3, 0.2, 0.1, 0.4]


def test_tifas_entries_are_ratings_and_one_may_have_fewer(tmp_path: Path) -> None:
    def entry(image: str, scores: list[int]) -> dict[str, object]:
        return {
            "text_id": "t",
            "image_path": image,
            "text": "p",
            "human_scores": scores,
            "human_avg": 9.0,
            "spice": 0.5,
        }

    content = {"x": entry("a.jpg", [5, 3]), "y": entry("b.jpg", [4]), "z": entry("c.jpg", [1, 5])}
    choices = open_choices(write(tmp_path / "tifa.json", content), scored=["spice"], images=False)
    # The second person did not rate b: a against b and b against c are the first person's alone.
    assert choices.people().tolist() == [1, 1, 1]
    assert np.isnan(choices.values[1, 1])
    with pytest.raises(UsageError, match="score column.*'human_avg'"):
        open_choices(str(tmp_path / "tifa.json"), scored=["human_avg"], images=False)


def test_a_table_of_pairs_reads_two_columns_a_score(tmp_path: Path) -> None:
    spec = write(tmp_path / "pairs.csv", "prompt,label_0,s_0,s_1\np,1,3,2\np,0.5,1,1\nq,0,0,1\n")
    choices = open_choices(spec, scored=["s"], images=False)
    assert choices.people().tolist() == [1, 0, -1]
    assert choices.recorded["s"].tolist() == [3, 2, 1, 1, 0, 1]


def test_the_same_choices_read_from_csv_jsonl_and_parquet_are_equal(tmp_path: Path) -> None:
    table = pd.read_csv(io.StringIO(RATINGS))
    table.to_json(tmp_path / "r.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "r.parquet")
    write(tmp_path / "r.csv", RATINGS)
    found = [open_choices(str(tmp_path / f"r.{kind}"), images=False) for kind in ("csv", "jsonl", "parquet")]
    assert all((one.values == found[0].values).all() and one.prompts == found[0].prompts for one in found)


def test_simulated_people_of_the_miniature_world_can_be_opened_by_name() -> None:
    assert len(open_choices("miniature:20").pairs) == 20


BAD_TABLES = {
    "prompt,image,rating_a\np,a.png,x\np,b.png,1\n": "row 1: rating_a is 'x', not a number",
    "prompt,image,rating_a\np,a.png,inf\np,b.png,1\n": "row 1: rating_a is 'inf', not a number",
    "prompt,image,rating_a\np,a.png,\np,b.png,1\n": "row 1: no annotator judged it",
    "prompt,image,rating_a\n,a.png,1\np,b.png,1\n": "row 1: the prompt is empty",
    "prompt,image,rating_a\np,a.png,1\nq,b.png,1\n": "no two images of one prompt",
    "prompt,rating_a,s\np,1,nan\np,2,1\n": "row 1: s is 'nan', not a number",
    "prompt,rating_a,s\np,1,\np,2,1\n": "row 1: s is empty, not a number",
    "instance,prompt,rank_a\n0,p,1\n0,q,2\n": "instance '0' has more than one prompt",
    "prompt,rank_a\np,1\np,2\n": "no column instance",
    "prompt,label_0\np,0.7\n": "label_0 is '0.7', not 0, 0.5 or 1",
    "prompt,score\np,0.7\n": "no label_0, rank_... or rating_...",
    "": "cannot be read as CSV",
}


@pytest.mark.parametrize("text", BAD_TABLES, ids=BAD_TABLES.values())
def test_a_bad_table_is_refused_with_the_row(tmp_path: Path, text: str) -> None:
    scored = ["s"] if ",s\n" in text else []
    with pytest.raises(DataError) as caught:
        open_choices(write(tmp_path / "table.csv", text), scored=scored, images=False)
    assert BAD_TABLES[text] in str(caught.value)
    assert "table.csv" in str(caught.value)


@pytest.mark.parametrize("name", ["ratings.tsv", "list.json", "numbers.json", "keys.json"])
def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    content: dict[str, object] = {
        "ratings.tsv": RATINGS,
        "list.json": [],
        "numbers.json": [1],
        "keys.json": [{"a": 1}],
    }
    with pytest.raises(DataError, match="Known: Pick-a-Pic.*ImageReward.*HPD v2.*TIFA.*ratings.*miniature"):
        open_choices(write(tmp_path / name, content[name]))


def test_a_missing_image_is_named_and_so_is_the_way_out(tmp_path: Path) -> None:
    save_levels(tmp_path, 10)
    rows = "prompt,image,rating_a\np,10.png,1\np,20.png,2\n"
    with pytest.raises(DataError, match=r"row 2: image .*20\.png is missing"):
        open_choices(write(tmp_path / "ratings.csv", rows))
    swapped = "prompt,image,rating_a\np,20.png,1\np,10.png,2\n"
    with pytest.raises(DataError, match=r"its first image 20\.png is not in .*--image-folder"):
        open_choices(write(tmp_path / "swapped.csv", swapped))
    with pytest.raises(UsageError, match="--image-folder .*no such folder"):
        open_choices(str(tmp_path / "ratings.csv"), image_folder=tmp_path / "nowhere")


def test_recorded_scores_are_refused_where_the_data_has_none_or_not_this_one(tmp_path: Path) -> None:
    spec = write(tmp_path / "ratings.csv", RATINGS)
    with pytest.raises(UsageError, match="'clp'. Did you mean 'clip'"):
        open_choices(spec, scored=["clp"], images=False)
    with pytest.raises(UsageError, match="carries no recorded scores"):
        open_choices("miniature:20", scored=["clip"])


def test_a_name_or_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Unknown data source 'minature'. Did you mean 'miniature'"):
        open_choices("minature")
    with pytest.raises(DataError, match="no such file"):
        open_choices(str(tmp_path / "nothing.csv"))
