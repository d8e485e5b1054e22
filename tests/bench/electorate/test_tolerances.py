import pytest

from prefbench.bench.electorate.tolerances import parse_tolerances
from prefbench.bench.exceptions import DataError, UsageError


def test_names_and_a_file_together_and_a_name_replaces_the_file_s(tmp_path):
    file = tmp_path / "noise.toml"
    file.write_text("[tie_tolerance]\nx = 0.5\ny = 2\nelsewhere = 9.0\n")
    found = parse_tolerances(["y=0.25", str(file)], ["x", "y", "z"])
    assert found == {"x": 0.5, "y": 0.25}
    assert parse_tolerances([], ["x"]) == {}
    assert parse_tolerances(["z=0"], ["z"]) == {"z": 0.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pikscore=1", "Did you mean 'pickscore'"),
        ("pickscore=-1", "0 or more"),
        ("pickscore=nan", "finite"),
        ("pickscore=inf", "finite"),
        ("pickscore=much", "is no number"),
        ("pickscore", "not of the form"),
    ],
)
def test_a_tolerance_that_cannot_be_used_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        parse_tolerances([text], ["pickscore", "clip"])


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("x = 1", DataError, "no table `tie_tolerance`"),
        ("[tie_tolerance]", DataError, "no table `tie_tolerance`"),
        ("[tie_tolerance", DataError, "not valid TOML"),
        ('[tie_tolerance]\nx = "1"', DataError, "not a number"),
        ("[tie_tolerance]\nx = -1", UsageError, "0 or more"),
        ("[tie_tolerance]\nother = 1", UsageError, "has no effect"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, text, error, said):
    file = tmp_path / "noise.toml"
    file.write_text(text)
    with pytest.raises(error, match=said):
        parse_tolerances([str(file)], ["x"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"noise\.toml cannot be read"):
        parse_tolerances([str(tmp_path / "noise.toml")], ["x"])
