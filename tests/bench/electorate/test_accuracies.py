"""Accuracies from the three kinds of file, and the weights that follow."""

import json
from math import log

import pandas as pd
import pytest

from prefbench.bench.electorate.accuracies import Accuracies, read_accuracies, voter_weights
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.judges.session import Request, judge_data


def test_toml_and_json_hold_a_table_of_scorers(tmp_path):
    (tmp_path / "a.toml").write_text('[accuracy]\n"clip:b" = 0.6\nx = 0.2\n')
    (tmp_path / "a.json").write_text('{"accuracy": {"clip:b": 0.6, "x": 0.2}}')
    for name in ("a.toml", "a.json"):
        found = read_accuracies(tmp_path / name)
        assert found.values == {"clip:b": 0.6, "x": 0.2}
        assert found.source == str(tmp_path / name)


def test_what_prefbench_judges_wrote_is_read_with_its_ties_left_out(tmp_path):
    """Four pairs, one tied by people: x is right on 2 of 3, y on 1 of 3."""
    rows = [
        ("p1", "1", 1, 0, 0, 1),
        ("p2", "1", 1, 0, 1, 0),
        ("p3", "1", 0, 1, 0, 1),
        ("p4", "0.5", 1, 0, 1, 0),
    ]
    columns = ["prompt", "label_0", "x_0", "x_1", "y_0", "y_1"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "human.csv", index=False)
    judge_data(Request(str(tmp_path / "human.csv"), columns=["x", "y"]), tmp_path / "judged", resamples=1000)
    for path in (tmp_path / "judged", tmp_path / "judged" / "results.json"):
        found = read_accuracies(path)
        assert found.values == pytest.approx({"x": 2 / 3, "y": 1 / 3})
        assert "human.csv" in found.source
        assert "ties left out" in found.source


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "[accuracy\n", "neither TOML"),
        ("a.json", "[1]", "holds a list"),
        ("a.json", "{}", "no accuracies"),
        ("a.toml", "[accuracy]\nx = true\n", "not a number"),
        ("a.toml", "[accuracy]\nx = nan\n", "not a number"),
        ("a.toml", "[accuracy]\nx = 70\n", "lie between 0 and 1"),
        ("a.toml", "[accuracy]\nx = 0\n", "lie between 0 and 1"),
        ("a.toml", "[accuracy]\nx = 1.0\n", "outvote"),
        ("a.json", '{"accuracy": [{"scorer": "x"}]}', "prefbench judges"),
        ("a.json", '{"accuracy": [], "data": {"source": "d"}}', "tied every pair"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_accuracies(tmp_path / name)
    assert name in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml cannot be read"):
        read_accuracies(tmp_path / "none.toml")


def test_weights_are_those_of_the_voters_alone():
    accuracies = Accuracies({"x": 0.75, "y": 0.4, "stranger": 0.9}, "people.toml")
    assert voter_weights(accuracies, ["y", "x"]) == {"y": 0.0, "x": pytest.approx(log(3))}
    assert list(json.loads(json.dumps(voter_weights(accuracies, ["y", "x"])))) == ["y", "x"]


def test_a_voter_without_an_accuracy_and_an_electorate_of_coins_are_refused():
    accuracies = Accuracies({"x": 0.5, "y": 0.4}, "people.toml")
    with pytest.raises(UsageError, match=r"people\.toml has no accuracy of z"):
        voter_weights(accuracies, ["x", "z"])
    with pytest.raises(UsageError, match="no voter agrees with people more often"):
        voter_weights(accuracies, ["x", "y"])
