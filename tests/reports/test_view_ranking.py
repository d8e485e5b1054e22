"""The ranking section: every number of the block, marks where they belong, nothing where there is no ranking."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefbench.reports.html import write_report
from prefbench.reports.view_ranking import ranking_view

SPEC = importlib.util.spec_from_file_location("report_page", Path(__file__).with_name("page.py"))
PAGE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PAGE)

QUALITIES = {"pick": [0.0, 0.2, 2.5, 0.3], "clip": [0.0, 0.2, 2.5, 0.3], "truth": [0.0, 0.2, 2.5, 0.3]}


@pytest.fixture(scope="module")
def run(example_of: Callable[..., Any]) -> Any:
    """Four checkpoints: "dpo" far ahead, the others close."""
    return example_of(checkpoints=("base", "sft", "dpo", "kto"), qualities=QUALITIES)


def test_every_checkpoint_stands_in_order_with_rank_rate_and_intervals(run: Any, tmp_path: Path) -> None:
    page = PAGE.parse(write_report(run.results, run.scores, tmp_path / "r.html").read_text(encoding="utf-8"))
    section = PAGE.by_id(page, "ranking")
    rows = section.find("tbody")[0].find("tr")
    standings = run.results["ranking"]["standings"]
    assert len(rows) == len(standings) == 4
    for row, line in zip(rows, standings, strict=True):
        assert row.find("th")[0].text == line["checkpoint"]
        rank, rate = row.find("td", class_="num")
        best, worst = line["rank_ci95"]
        assert rank.text == f"{line['rank']} {best}–{worst}" if best < worst else f"{line['rank']} {best}"
        low, high = (100 * x for x in line["ci95"])
        exact = "†" if line["ci_method"] == "exact" else ""
        assert rate.text == f"{100 * line['win_rate']:.1f} {low:.1f}–{high:.1f}{exact}"
    assert [link.text for link in page.find("a", href="#ranking")] == ["Ranking"]


def test_ranks_run_from_the_left_edge_to_the_right_and_a_lone_rank_is_filled(run: Any) -> None:
    """Four ranks on 3 % to 97 %: thirds of 94 %."""
    section = ranking_view(run.results)
    assert [(tick.x, tick.text) for tick in section.ticks] == [
        ("3.00%", "1"),
        ("34.33%", "2"),
        ("65.67%", "3"),
        ("97.00%", "4"),
    ]
    places = {tick.text: tick.x for tick in section.ticks}
    for row, line in zip(section.rows, run.results["ranking"]["standings"], strict=True):
        best, worst = line["rank_ci95"]
        assert (row.mark.x, row.mark.low, row.mark.high) == tuple(
            places[str(k)] for k in (line["rank"], best, worst)
        )
        assert row.mark.state == ("ink" if best == worst else "open")
    assert section.rows[0].mark.state == "ink", "dpo is first for sure"
    assert "rank 1 of 4, 95\u202f% interval 1;" in section.rows[0].mark.label


def test_two_checkpoints_and_old_results_have_no_such_section(
    run: Any, example_of: Callable[..., Any], tmp_path: Path
) -> None:
    two = example_of(checkpoints=("base", "dpo"), qualities={"clip": [0, 1], "truth": [0, 1]})
    old = {key: value for key, value in run.results.items() if key != "ranking"}
    for results, scores in ((two.results, two.scores), (old, run.scores)):
        text = write_report(results, scores, tmp_path / "r.html").read_text(encoding="utf-8")
        assert 'id="ranking"' not in text
        assert "#ranking" not in text


def test_circles_and_missing_strengths_are_told(run: Any) -> None:
    cycles = {"proven": [["base", "sft", "kto"]], "estimated": [["base", "dpo", "sft"]] * 5}
    results = run.results | {"ranking": run.results["ranking"] | {"cycles": cycles, "largest_misfit": None}}
    section = ranking_view(results)
    assert section.cautions == ("A proven circle: base beats sft beats kto beats base.",)
    assert section.notes[0].endswith("base beats dpo beats sft beats base (and 2 more circles).")
    assert "Strengths on one scale do not exist here" in section.notes[1]


def test_more_than_ten_ranks_are_labelled_every_other_one(run: Any) -> None:
    standing = run.results["ranking"]["standings"][0]
    results = {"ranking": run.results["ranking"] | {"standings": [standing] * 12}}
    assert [tick.text for tick in ranking_view(results).ticks] == ["1", "3", "5", "7", "9", "11"]


def test_one_prompt_has_ranks_without_bars(example_of: Callable[..., Any]) -> None:
    section = ranking_view(example_of(prompts=["only"]).results)
    assert {(row.mark.low, row.mark.high, row.interval) for row in section.rows} == {
        (None, None, "no interval (1 prompt)")
    }
