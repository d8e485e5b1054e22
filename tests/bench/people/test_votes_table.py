"""Reading a table of votes: what is taken, under which names, and what is refused, by row and column."""

from pathlib import Path

import pandas as pd
import pytest

from prefbench.bench.exceptions import DataError
from prefbench.bench.people.columns import ALIASES, CHOICES, COLUMNS
from prefbench.bench.people.votes_table import read_votes

PLAIN = """prompt_id,prompt,seed,checkpoint_a,checkpoint_b,annotator,choice
p1,a red cube,0,mine,base,anna,a
p1,a red cube,0,base,mine,ben,mine
p2,two cats,1,mine,base,anna,tie
"""


def written(folder: Path, text: str, name: str = "votes.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(DataError) as caught:
        read_votes(written(folder, text))
    assert "votes.csv" in str(caught.value)
    return str(caught.value)


def test_a_choice_is_a_side_a_tie_or_the_checkpoint(tmp_path: Path) -> None:
    table = read_votes(written(tmp_path, PLAIN)).table
    assert table["choice"].tolist() == ["a", "b", "tie"], "ben saw base first and preferred mine, the second"
    assert table["seed"].tolist() == [0, 0, 1]


def test_what_is_written_as_parquet_is_read_back(tmp_path: Path) -> None:
    first = read_votes(written(tmp_path, PLAIN))
    first.table[list(COLUMNS)].to_parquet(tmp_path / "votes.parquet")
    assert read_votes(tmp_path / "votes.parquet").table.equals(first.table)


def test_chatbot_arenas_columns_and_words_are_read(tmp_path: Path) -> None:
    text = "question_id,model_a,model_b,winner,judge,turn\nq,x,y,model_b,me,1\nq,x,z,tie (bothbad),me,1\n"
    read = read_votes(written(tmp_path, text))
    assert read.table["choice"].tolist() == ["b", "tie"]
    assert read.table["prompt_id"].tolist() == ["q", "q"]
    assert read.unread == ["turn"]
    assert not read.seeded


def test_each_other_name_of_a_column_is_read_in_capitals_too(tmp_path: Path) -> None:
    plain = read_votes(written(tmp_path, PLAIN, "plain.csv")).table
    header, rest = PLAIN.split("\n", 1)
    for column, names in ALIASES.items():
        for alias in names:
            renamed = ",".join(f" {alias.upper()}" if name == column else name for name in header.split(","))
            assert read_votes(written(tmp_path, f"{renamed}\n{rest}")).table.equals(plain), alias


def test_each_word_for_a_choice_is_read(tmp_path: Path) -> None:
    for side, words in CHOICES.items():
        for word in words:
            text = (
                f"prompt,checkpoint_a,checkpoint_b,annotator,choice\np,mine,base,anna,{word.capitalize()}\n"
            )
            assert read_votes(written(tmp_path, text)).table["choice"].tolist() == [side], word


def test_two_columns_for_one_thing_are_refused(tmp_path: Path) -> None:
    text = PLAIN.replace("annotator,choice", "annotator,choice,rater").replace(",a\n", ",a,x\n")
    said = refusal(tmp_path, text.replace(",mine\n", ",mine,x\n").replace(",tie\n", ",tie,x\n"))
    assert "'annotator' and 'rater' could each be 'annotator'" in said


@pytest.mark.parametrize("column", ["checkpoint_a", "checkpoint_b", "annotator", "choice"])
def test_a_missing_column_is_named_with_its_other_names(tmp_path: Path, column: str) -> None:
    said = refusal(tmp_path, PLAIN.replace(column, "other", 1))
    assert f"lacks the column {column}" in said
    assert f"{column} may be called {' or '.join(ALIASES[column])}" in said


def test_a_prompt_or_its_id_is_needed(tmp_path: Path) -> None:
    said = refusal(tmp_path, "checkpoint_a,checkpoint_b,annotator,choice\nx,y,me,a\n")
    assert "lacks the column prompt_id (or prompt)" in said


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (",anna,tie", ",anna,c", "row 3: choice is 'c', not a, b, tie, 'mine' or 'base'"),
        (",anna,tie", ",anna,", 'row 3: column "choice" is empty'),
        (",anna,tie", ",,tie", 'row 3: column "annotator" is empty'),
        ("two cats,1,", "two cats,one,", "row 3: column \"seed\" is not a whole number"),
        ("p2,two cats,1,mine,base", "p2,two cats,1,mine,mine", "row 3: checkpoint_a and checkpoint_b are both 'mine'"),
        ("p2,two cats", "p1,two cats", "row 3: the prompt of prompt_id 'p1' is 'two cats', in row 1 it is 'a red cube'"),
        (",ben", ",anna", "row 2: 'anna' judges 'base' and 'mine' for the prompt 'p1', seed 0, again after row 1"),
        ("p2,two cats,1,mine,base", "p2,two cats,1,a,tie", "row 3: choice is 'tie', which can mean b and tie of 'a' and 'tie'"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in PLAIN
    assert told in refusal(tmp_path, PLAIN.replace(old, new))


def test_not_a_table_is_refused(tmp_path: Path) -> None:
    assert "has a header and no rows" in refusal(tmp_path, PLAIN.split("\n")[0] + "\n")
    assert "is empty. A table of votes begins with a header" in refusal(tmp_path, "")
    with pytest.raises(DataError, match="is a folder, not a table of votes"):
        read_votes(tmp_path)
    with pytest.raises(DataError, match="There is no table of votes at"):
        read_votes(tmp_path / "none.csv")


def test_a_cut_row_is_refused(tmp_path: Path) -> None:
    assert "is not a well-formed CSV" in refusal(tmp_path, PLAIN + "p3,two dogs\n")


def test_words_that_look_like_missing_values_are_text(tmp_path: Path) -> None:
    text = "prompt,checkpoint_a,checkpoint_b,annotator,choice\nNA,null,None,nan,None\n"
    table = read_votes(written(tmp_path, text)).table
    assert table.loc[0, ["prompt", "checkpoint_a", "annotator", "choice"]].tolist() == [
        "NA",
        "null",
        "nan",
        "b",
    ]
    assert isinstance(table, pd.DataFrame)
