import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefbench.bench.exceptions import DataError
from prefbench.bench.scores_table import check_complete, check_scores, read_scores, write_scores

HEADER = "checkpoint,prompt_id,prompt,seed,scorer,score\n"
GOOD = HEADER + "a,p1,a red cube,0,pick,0.5\nb,p1,a red cube,0,pick,0.25\n"


def written(folder, text, name="scores.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def refusal(path) -> str:
    with pytest.raises(DataError) as caught:
        read_scores(path)
    return str(caught.value)


def test_columns_get_their_types_and_order(tmp_path):
    mixed = "score,seed,category,prompt,scorer,checkpoint,prompt_id\n0.5,3,Animals,a cat,pick,base,007\n"
    frame = read_scores(written(tmp_path, mixed))
    assert list(frame.columns) == ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score", "category"]
    assert frame.iloc[0].tolist() == ["base", "007", "a cat", 3, "pick", 0.5, "Animals"]
    assert (frame["seed"].dtype, frame["score"].dtype) == (np.int64, np.float64)


def test_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    frame = read_scores(written(tmp_path, GOOD.replace("\n", "\r\n"), encoding="utf-8-sig"))
    assert frame["checkpoint"].tolist() == ["a", "b"]
    assert frame["score"].tolist() == [0.5, 0.25]


def test_words_that_look_like_missing_values_stay_words(tmp_path):
    frame = read_scores(written(tmp_path, HEADER + "None,nan,NA,0,null,1\nN/A,nan,NA,0,null,1\n"))
    assert frame.loc[0, ["checkpoint", "prompt_id", "prompt", "scorer"]].tolist() == [
        "None",
        "nan",
        "NA",
        "null",
    ]


def test_every_digit_of_a_score_survives(tmp_path):
    """A value that pandas' own reader rounds to a neighbour would turn a tie into a win."""
    values = [*np.random.default_rng(0).normal(size=2000).tolist(), 0.1 + 0.2, 5e-324, 1.7976931348623157e308]
    rows = "".join(f"a,p,x,{i},s,{value!r}\n" for i, value in enumerate(values))
    assert read_scores(written(tmp_path, HEADER + rows))["score"].tolist() == values


@pytest.mark.parametrize(("name", "says"), [("missing.csv", "no scores table"), (".", "is a folder")])
def test_a_missing_file_or_a_folder_is_said_to_be_one(tmp_path, name, says):
    assert says in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["is empty", "checkpoint,prompt_id"]),
        (HEADER, ["header and no rows"]),
        (GOOD.replace("prompt_id", "promptid"), ["lacks the column 'prompt_id'", "Is 'promptid' meant"]),
        (GOOD.replace("score\n", "Score\n"), ["lacks the column 'score'", "Is 'Score' meant to be 'score'?"]),
        (GOOD.replace(",", ";"), ["lacks", "other than a comma"]),
        (GOOD.replace("scorer", "scorer,style").replace("pick", "pick,x"), ["'style'", "category", "Drop"]),
        (GOOD.replace("seed", "prompt"), ["'prompt'", "twice"]),
        (GOOD + "c,p1\n", ["not a well-formed CSV", "Row #4", "got 2"]),
        (GOOD.replace(",", ";") + "c,p1\n", ["separated by semicolons, not commas", "got 2"]),
        (GOOD.replace(",", "\t") + "c,p1\n", ["separated by tabs, not commas", "got 2"]),
        (GOOD + "c,p1,a, b,0,pick,1\n", ["not a well-formed CSV", "double quotes"]),
        (GOOD.replace("0.25", "nan"), ["row 2", '"score"', "not a finite number", "'nan'"]),
        (GOOD.replace("0.25", "-inf"), ["row 2", "not a finite number"]),
        (GOOD.replace("0.25", ""), ["row 2", "not a finite number", "''", "--drop-incomplete"]),
        (GOOD.replace("0.5", "high"), ["row 1", "not a finite number", "'high'"]),
        (GOOD.replace(",0,", ",0.5,"), ["rows 1, 2", '"seed"', "whole number", "'0.5'"]),
        (GOOD.replace(",0,", ",99999999999999999999,"), ['"seed"', "64 bits"]),
        (GOOD.replace("a red cube", "", 1), ["row 1", '"prompt"', "is empty"]),
        (GOOD.replace("b,p1", " ,p1"), ["row 2", '"checkpoint"', "is empty"]),
        (GOOD.replace("b,p1", "a ,p1"), ["row 2", '"checkpoint"', "'a '", "look alike"]),
        (GOOD.replace("pick", "pi\x1b[2Jck", 1), ["row 1", '"scorer"', "does not print"]),
        (GOOD + "a,p1,a red cube,0,pick,0.6\n", ["row 3", "given again", "rows 1, 3", "different seeds"]),
        (GOOD + "a,p1,a blue cube,1,pick,0\n", ["'p1'", "'a red cube' in row 1", "'a blue cube' in row 3"]),
    ],
)  # fmt: skip
def test_a_faulty_table_is_refused_with_the_place_and_the_remedy(tmp_path, text, says):
    message = refusal(written(tmp_path, text))
    assert "scores.csv" in message
    assert "\n" not in message, "one paragraph"
    for words in says:
        assert words in message, message


def test_many_faults_are_counted_and_the_first_are_listed(tmp_path):
    rows = "".join(f"a,p,x,{i},s,nan\n" for i in range(40))
    assert "rows 1, 2, 3, 4, 5 and 35 more" in refusal(written(tmp_path, HEADER + rows))


def test_another_encoding_is_named_by_byte_and_line(tmp_path):
    latin = GOOD.replace("red", "rosé").encode("latin-1")
    message = refusal(written(tmp_path, latin))
    assert f"byte 0xE9 at offset {latin.index(0xE9)}, line 2" in message
    assert "UTF-16" in refusal(written(tmp_path, GOOD, encoding="utf-16"))


def test_a_parquet_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "scores.parquet"
    write_scores(read_scores(written(tmp_path, GOOD)), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a readable Parquet" in refusal(path)


def test_one_prompt_has_one_category(tmp_path):
    text = HEADER.replace("score\n", "score,category\n") + "a,p1,x,0,s,1,Animals\nb,p1,x,0,s,1,Arts\n"
    assert "'category'" in refusal(written(tmp_path, text))


def test_same_text_under_two_ids_and_an_empty_category_are_fine(tmp_path):
    text = HEADER.replace("score\n", "score,category\n") + "a,p1,x,0,s,1,\na,p2,x,0,s,1,Arts\n"
    assert read_scores(written(tmp_path, text))["category"].tolist() == ["", "Arts"]


def test_missing_entries_are_counted_and_the_first_are_listed():
    rows = [
        (c, f"p{p}", f"text {p}", s, k, 0.5)
        for c in "ab"
        for p in range(3)
        for s in (0, 1)
        for k in ("x", "y")
    ]
    frame = check_scores(pd.DataFrame(rows, columns=HEADER.strip().split(",")))
    check_complete(frame)
    with pytest.raises(DataError) as caught:
        check_complete(frame.drop(index=[0, 23]), source="run/scores.csv")
    message = str(caught.value)
    assert "run/scores.csv: 2 of 24 scores are missing" in message
    assert "(a, prompt p0, seed 0, x), (b, prompt p2, seed 1, y)" in message
    with pytest.raises(DataError, match=r"6 of 24 .*and 1 more"):
        check_complete(frame[(frame["scorer"] == "x") | (frame["prompt_id"] != "p1")].iloc[2:])


def test_a_scorer_that_skipped_a_prompt_everywhere_is_a_hole_too():
    rows = [
        (c, p, p, 0, k, 0.5) for c in "ab" for p in ("p", "q") for k in ("x", "y") if (p, k) != ("q", "y")
    ]
    with pytest.raises(DataError, match="2 of 8 scores are missing"):
        check_complete(check_scores(pd.DataFrame(rows, columns=HEADER.strip().split(","))))


def test_frames_with_numbers_or_text_or_missing_values_are_checked_alike():
    columns = HEADER.strip().split(",")
    frame = check_scores(pd.DataFrame([("a", 7, "x", 1.0, "s", np.float32(0.5))], columns=columns))
    assert frame.iloc[0].tolist() == ["a", "7", "x", 1, "s", 0.5]
    for row, column in (
        ((None, "p", "x", 0, "s", 1.0), "checkpoint"),
        (("a", "p", "x", 0, "s", None), "score"),
        (("a", "p", "x", True, "s", 1.0), "seed"),
        (("a", "p", "x", 0, "s", True), "score"),
    ):
        with pytest.raises(DataError, match=f'"{column}"'):
            check_scores(pd.DataFrame([row], columns=columns))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(str.strip)
NAME = TEXT.filter(lambda text: text == text.strip() and text.isprintable())


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    prompts=st.dictionaries(TEXT, TEXT, min_size=1, max_size=4),
    names=st.lists(NAME, min_size=1, max_size=2, unique=True),
    seed=st.integers(-(2**63), 2**63 - 1),
    score=st.floats(allow_nan=False, allow_infinity=False),
)
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_any_text_and_any_number_survive_writing_and_reading(tmp_path, name, prompts, names, seed, score):
    rows = [(c, key, text, seed, "s", score) for c in names for key, text in prompts.items()]
    frame = check_scores(pd.DataFrame(rows, columns=HEADER.strip().split(",")))
    write_scores(frame, tmp_path / name)
    pd.testing.assert_frame_equal(read_scores(tmp_path / name), frame, check_exact=True, check_dtype=False)


def test_writing_elsewhere_than_csv_or_parquet_is_refused_and_nothing_is_left(tmp_path):
    frame = read_scores(written(tmp_path, GOOD))
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        write_scores(frame, tmp_path / "scores.xlsx")
    with pytest.raises(DataError, match="finite"):
        write_scores(frame.assign(score=np.nan), tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
