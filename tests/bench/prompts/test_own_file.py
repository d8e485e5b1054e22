from pathlib import Path

import pytest

from prefbench.bench.exceptions import DataError
from prefbench.bench.prompts.prompt_set import Prompt, load_prompt_set


def _write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_csv_with_a_prompt_column_alone_numbers_its_rows(tmp_path: Path) -> None:
    chosen = load_prompt_set(_write(tmp_path / "mine.csv", 'prompt\n"a, b"\nc\n'))
    assert chosen.prompts == (Prompt("row-00001", "a, b"), Prompt("row-00002", "c"))
    assert (chosen.name, len(chosen.sha256)) == ("mine", 64)


def test_csv_columns_may_come_in_any_order_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    chosen = load_prompt_set(
        _write(tmp_path / "m.csv", "\ufeffid,challenge,prompt,category\n7,hard,x,cats\n8,,y,\n")
    )
    assert chosen.prompts == (Prompt("7", "x", "cats", "hard"), Prompt("8", "y"))


def test_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    chosen = load_prompt_set(_write(tmp_path / "m.txt", '"quoted" cat\n\n dog \n'))
    assert chosen.prompts == (Prompt("line-00001", '"quoted" cat'), Prompt("line-00003", "dog"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.csv", "text\nx\n", "no column `prompt` (found: text)"),
        ("m.csv", "", "no column `prompt` (found: nothing)"),
        ("m.csv", "prompt,colour\nx,red\n", "unknown column 'colour'"),
        ("m.csv", "prompt,id\na, b,1\n", "line 2: the row has another number of fields than the header"),
        ("m.csv", "prompt,id\na\n", "line 2: the row has another number of fields"),
        ("m.csv", "prompt,id\nx,1\ny,1\n", "the id '1' occurs twice"),
        ("m.csv", "prompt\nx\n  \n", "prompt 2 (id 'row-00002'): the text is empty"),
        ("m.csv", "prompt\n", "holds no prompt"),
        ("m.csv", b"prompt\nok\ncaf\xe9\n", "line 3 is not UTF-8"),
        ("m.csv", 'prompt\n"open\n', "Mend the quotation marks"),
        ("m.csv", "prompt,prompt\na,b\n", "column `prompt` stands in it twice"),
        ("m.csv", "prompt\na\nb\0c\n", "line 3 has a NUL byte"),
        ("m.txt", "a\0\n", "line 1 has a NUL byte"),
        ("m.csv", "prompt\n" + "a" * 200_000, "a prompt has 131,072 characters at most"),
        ("m.json", "[]", "a .csv or a .txt file, not .json"),
    ],
)
def test_a_faulty_file_names_the_row(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load_prompt_set(_write(tmp_path / name, content))
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        load_prompt_set(str(tmp_path / "none.csv"))
