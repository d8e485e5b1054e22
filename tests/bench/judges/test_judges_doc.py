"""docs/judges.md shows tables that are read as they stand, and commands whose options exist."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prefbench.bench.cli import app
from prefbench.bench.judges.credit import FOLDS

TEXT = (Path(__file__).parents[3] / "docs" / "judges.md").read_text(encoding="utf-8")
PAIRS, RANKINGS, RATINGS = (part.partition("```")[0] for part in TEXT.split("```csv\n")[1:])
IMAGES = {"PAIRS": 5, "RANKINGS": 5, "RATINGS": 4}
OPTIONS = {"PAIRS": ["clip"], "RANKINGS": ["clip"], "RATINGS": ["clip", "fid:lower"]}


@pytest.mark.parametrize(("name", "table"), [("PAIRS", PAIRS), ("RANKINGS", RANKINGS), ("RATINGS", RATINGS)])
def test_each_table_is_judged_as_it_stands(tmp_path: Path, name: str, table: str) -> None:
    (tmp_path / "table.csv").write_text(table)
    columns = [part for column in OPTIONS[name] for part in ("--score-column", column)]
    result = CliRunner().invoke(
        app, ["judges", str(tmp_path / "table.csv"), *columns, "--out", str(tmp_path / "o")]
    )
    assert result.exit_code == 0, result.output
    assert name.lower() in (tmp_path / "o" / "judges.md").read_text()
    assert f", {IMAGES[name]} images, " in result.output


def test_every_option_that_is_named_exists() -> None:
    shown = CliRunner().invoke(app, ["judges", "--help"], env={"COLUMNS": "200"}).output
    named = set(re.findall(r"--[a-z][a-z-]+", TEXT))
    assert named
    assert not {option for option in named if option not in shown}


def test_the_number_of_parts_is_the_codes() -> None:
    assert f"in {['', 'one', 'two', 'three', 'four', 'five'][FOLDS]} parts" in TEXT
