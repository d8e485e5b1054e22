"""docs/human_votes.md shows a table that is read as it stands, options that exist and the names the code knows."""

import re
from pathlib import Path

from typer.testing import CliRunner

from prefbench.bench.cli import app
from prefbench.bench.people.columns import ALIASES, CHOICES
from prefbench.bench.people.comparable import ENOUGH
from prefbench.bench.people.reliability import FLAGGED, ONE_SIDE

TEXT = (Path(__file__).parents[3] / "docs" / "human_votes.md").read_text(encoding="utf-8")


def test_the_table_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(TEXT.split("```csv\n")[1].partition("```")[0])
    ran = CliRunner().invoke(app, ["import-votes", str(tmp_path / "votes.csv"), "--out", str(tmp_path / "o")])
    assert ran.exit_code == 0, ran.output
    assert "5 judgements by 3 annotators; 2 prompts, 2 pairs of images" in ran.output


def test_every_option_that_is_named_exists() -> None:
    helps = [
        CliRunner().invoke(app, [c, "--help"], env={"COLUMNS": "200"}).output
        for c in ("import-votes", "compare")
    ]
    named = set(re.findall(r"--[a-z][a-z-]+", TEXT))
    assert {"--drop-flagged", "--held-out"} <= named
    assert not {option for option in named if option not in "".join(helps)}


def test_each_other_name_and_word_is_told() -> None:
    for name in (alias for names in (*ALIASES.values(), *CHOICES.values()) for alias in names):
        assert f"`{name}`" in TEXT, name


def test_the_rules_are_the_codes() -> None:
    assert set(re.findall(r"^\| \*\*(.+?)\*\* \|", TEXT, re.MULTILINE)) == set(FLAGGED)
    assert f"one side of the screen in {100 * ONE_SIDE:.0f} % of the choices or more" in TEXT
    assert f"leave fewer than {ENOUGH} such sums of others" in TEXT
