"""The page of `prefbench history`: complete, safe, self-contained; lines only where releases may be joined."""

import base64
import hashlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from prefbench.reports.history import render_history
from prefbench.reports.view_course import HEIGHTS, column_x, mean_axis, vote_axis
from prefbench.reports.view_history import build_history_view


def _page_module() -> Any:
    spec = importlib.util.spec_from_file_location(
        "report_page_for_history", Path(__file__).with_name("page.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = _page_module()


def comparison(
    a: str, b: str, scorer: str, rate: float, spread: float = 0.04, **fields: Any
) -> dict[str, Any]:
    """100 prompts without ties; the mean difference is rate - 1/2 with the same spread."""
    entry = {
        "a": a,
        "b": b,
        "scorer": scorer,
        "slice": "all",
        "prompts": 100,
        "pairs": 100,
        "wins": round(100 * rate),
        "ties": 0,
        "losses": 100 - round(100 * rate),
        "win_rate": rate,
        "ci_method": "bootstrap",
        "p_value": None,
    }
    vote = scorer == "majority"
    limits = [rate - 0.5 - spread, rate - 0.5 + spread]
    return {
        **entry,
        "ci95": [rate - spread, rate + spread],
        "mean_difference": None if vote else rate - 0.5,
        "mean_difference_ci95": None if vote else limits,
        "voters": ["pick"],
        **fields,
    }


def example(first: str = "v1", **changes: Any) -> dict[str, Any]:
    """Four releases by pick and held-out truth (lower is better); between the second and third other sampling settings."""
    names = [first, "v2", "v3", "v4"]
    means = {"pick": (20.0, 20.2, 20.1, 20.6), "truth": (1.0, 0.9, 0.8, 0.9)}
    steps = "steps is 50 in v3 and 30 in v2"
    return {
        "schema": 1,
        "prefbench": "0.1.0",
        "created": "2026-11-22T00:00:00+00:00",
        "against": "first",
        "allowed": [],
        "electorate": {
            "voters": ["pick"],
            "held_out": ["truth"],
            "tie_rule": "ties count half",
            "tie_tolerance": {},
            "of": "v4",
        },
        "releases": [
            {
                "name": name,
                "saved": f"2026-0{i}-01T00:00:00+00:00",
                "sha256": hashlib.sha256(name.encode()).hexdigest(),
                "checkpoint": "mine",
                "kind": "pipeline",
                "spec": f"models/{name}",
                "identity": None,
                "suite": "parti",
                "prefbench": "0.1.0",
                "prompts": 100,
                "pairs": 100,
                "seeds": [0],
            }
            for i, name in enumerate(names, start=1)
        ],
        "scorers": {
            "pick": {"role": "votes", "direction": "higher", "scale": "logit", "prompt_blind": False},
            "truth": {"role": "held out", "direction": "lower", "scale": None, "prompt_blind": True},
        },
        "means": [
            {"release": name, "scorer": scorer, "mean": mean, "ci95": [mean - 0.1, mean + 0.1]}
            for scorer, values in means.items()
            for name, mean in zip(names, values, strict=True)
        ],
        "comparisons": [
            comparison("v2", first, "majority", 0.52),
            comparison("v2", first, "pick", 0.52),
            comparison("v2", first, "truth", 0.4),
            comparison("v4", "v3", "majority", 0.7),
            comparison("v4", "v3", "pick", 0.7),
            comparison("v4", "v3", "truth", 0.6),
        ],
        "missing": [],
        "breaks": [
            {
                "after": "v2",
                "before": "v3",
                "kind": "sampling",
                "text": steps,
                "judges": ["majority", "pick", "truth"],
            }
        ],
        "notes": [],
        "intervals": {"method": "bootstrap.", "resamples": 1000, "seed": 0},
        **changes,
    }


def page_of(**changes: Any) -> Any:
    return PAGE.parse(render_history(example(**changes)))


def classes(element: Any) -> list[str]:
    return (element.attributes.get("class") or "").split()


def test_every_number_stands_under_its_release() -> None:
    vote = PAGE.by_id(page_of(), "vote").find("table")[0]
    rows = {
        row.find("th")[0].text: [cell.text for cell in row.find("td")]
        for row in vote.find("tr", class_="numbers")
    }
    assert [text.replace("\u202f", "") for text in rows["win rate"]] == [
        "50%",
        "52.0% 48.0–56.0",
        "50%",
        "70.0% 66.0–74.0",
    ]
    assert rows["against"] == ["–", "v1", "–", "v3"]
    assert [cell.text for cell in vote.find("tr", class_="names")[0].find("th")] == [
        "v1",
        "v2",
        "v3",
        "v4",
    ]
    pick, truth = PAGE.by_id(page_of(), "scorers").find("table")
    means, differences = ([cell.text for cell in row.find("td")] for row in pick.find("tr", class_="numbers"))
    assert means == [
        "20.00 19.90 to 20.10",
        "20.20 20.10 to 20.30",
        "20.10 20.00 to 20.20",
        "20.60 20.50 to 20.70",
    ]
    assert differences == ["–", "+0.02 \u22120.02 to +0.06", "–", "+0.20 +0.16 to +0.24"]
    assert [tag.text for tag in PAGE.by_id(page_of(), "scorers").find("small", class_="tag")] == [
        "held out",
        "prompt-blind",
        "lower is better",
    ]
    assert truth.find("tr", class_="numbers")


def test_a_break_is_never_joined_and_its_reason_is_printed() -> None:
    """Four points and one break: two lines, v1-v2 and v3-v4; without the break and against v1 three."""
    page = page_of()
    for plot in page.find("svg", class_="lines"):
        paths = [(line.attributes["x1"], line.attributes["x2"]) for line in plot.find("line", class_="path")]
        assert paths == [("12.50%", "37.50%"), ("62.50%", "87.50%")]
        assert [line.attributes["x1"] for line in plot.find("line", class_="gap")] == ["50.00%"]
        assert plot.find("text", class_="gap-number")[0].text == "break 1"
    listed = PAGE.by_id(page, "breaks").find("li")[0].text
    assert "v2 to v3 sampling breaks every course" in listed
    assert "steps is 50 in v3 and 30 in v2" in listed
    entries = [
        comparison(name, "v1", judge, 0.6)
        for name in ("v2", "v3", "v4")
        for judge in ("majority", "pick", "truth")
    ]
    whole = page_of(breaks=[], comparisons=entries)
    assert [len(plot.find("line", class_="path")) for plot in whole.find("svg", class_="lines")] == [3, 3, 3]
    assert not [element for element in whole.everything() if element.attributes.get("id") == "breaks"]


def test_marks_of_different_references_are_not_joined() -> None:
    """Each against the one before: v2 over v1 and v3 over v2 are not on one scale."""
    entries = [
        comparison("v2", "v1", "majority", 0.6),
        comparison("v3", "v2", "majority", 0.6),
        comparison("v4", "v3", "majority", 0.6),
    ]
    page = page_of(breaks=[], comparisons=entries, against="previous")
    assert PAGE.by_id(page, "vote").find("line", class_="path") == []


def test_colour_says_better_or_worse_whatever_the_direction() -> None:
    """Truth falls by .1 in v2, and lower is better there; it rises in v4."""
    vote, pick, truth = page_of().find("svg", class_="lines")
    assert [classes(mark)[1:] for mark in vote.find("svg", class_="mark")] == [
        ["diamond", "ink"],
        ["diamond", "open"],
        ["diamond", "ink"],
        ["diamond", "higher"],
    ]
    assert [classes(mark)[1] for mark in pick.find("svg", class_="mark")] == ["dot"] * 4
    assert [classes(mark)[1:] for mark in truth.find("svg", class_="mark")] == [
        ["ring", "ink"],
        ["ring", "higher"],
        ["ring", "ink"],
        ["ring", "lower"],
    ]


def test_the_headline_is_the_newest_release_and_what_contradicts_it() -> None:
    page = page_of()
    assert page.find("h1")[0].text == "v4 beats v3, win rate 70.0\u202f%"
    assert "4 releases, saved from 2026-01-01 to 2026-04-01" in page.find("p", class_="lead")[0].text
    entries = [comparison("v4", "v3", "majority", 0.7), comparison("v4", "v3", "truth", 0.3)]
    cautions = [p.text for p in page_of(comparisons=entries).find("p", class_="caution")]
    assert cautions[0].startswith("The held-out truth says the opposite: 30.0\u202f% against v3.")
    assert cautions[1].startswith("The vote's course breaks once")
    alone = page_of(comparisons=[])
    assert alone.find("h1")[0].text == "v4 is held against no other release"
    broken = example()["breaks"][0] | {"after": "v3", "before": "v4"}
    assert (
        "It begins a new stretch: steps is 50"
        in page_of(comparisons=[], breaks=[broken]).find("p", class_="lead")[0].text
    )


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\"quotes\" & '&lt;'", "{{ 7 * 7 }}", "قطة"])
def test_text_from_outside_is_shown_and_never_markup(text: str) -> None:
    page = page_of(first=text, notes=[text])
    assert page.find("script") == []
    assert text in page.find("tr", class_="names")[0].text
    assert text in PAGE.by_id(page, "notes").text


def test_nothing_is_loaded_and_the_policy_allows_exactly_the_inlined_style() -> None:
    page = page_of()
    for element in page.everything():
        assert "style" not in element.attributes
        assert not [name for name in element.attributes if name.startswith("on") or name == "src"]
        assert (element.attributes.get("href") or "#").startswith("#")
    policy = next(m.attributes["content"] for m in page.find("meta") if "http-equiv" in m.attributes)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(page.find("style")[0].text.encode()).digest()).decode()
    assert (rules["default-src"], rules["script-src"], rules["style-src"]) == (
        "'none'",
        "'none'",
        f"'sha256-{digest}'",
    )


def test_headings_plots_and_links_can_be_read_aloud() -> None:
    page = page_of()
    assert [e.tag for e in page.everything() if re.fullmatch("h[1-6]", e.tag)].count("h1") == 1
    assert all(plot.attributes["aria-label"] for plot in page.find("svg", class_="lines"))
    assert (
        page.find("svg", class_="lines")[0]
        .attributes["aria-label"]
        .startswith("Majority vote over releases: v1 50")
    )
    ids = [e.attributes["id"] for e in page.everything() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    assert all(link.attributes["href"][1:] in ids for link in page.find("a"))


def test_heights_of_the_plots_are_those_of_the_stylesheet() -> None:
    style = page_of().find("style")[0].text
    for kind, height in HEIGHTS.items():
        assert f".courses svg.{kind}{{height:{height}px}}" in style


def test_a_release_without_a_scorer_has_a_gap() -> None:
    means = [entry for entry in example()["means"] if (entry["release"], entry["scorer"]) != ("v4", "pick")]
    page = page_of(
        means=means,
        comparisons=[],
        missing=[{"release": "v4", "scorer": "pick", "reason": "v4 was not scored by pick"}],
    )
    card = PAGE.by_id(page, "scorers").find("article")[0]
    assert len(card.find("svg", class_="mark")) == 3
    assert card.find("tr", class_="numbers")[0].find("td")[3].text == "–"
    assert card.find("p", class_="fine")[0].text == "v4 was not scored by pick."


def test_axes_hold_every_value_between_round_labels() -> None:
    for low, high in ((0.1, 0.9), (20.13, 20.19), (-3.2, 1100.0), (5.0, 5.0), (0.0, 0.0), (-1e-5, 2e-5)):
        axis = mean_axis([low, high], 170)
        rounding = 1e-9 * (axis.high - axis.low)
        assert axis.low - rounding <= low <= high <= axis.high + rounding
        assert 2 <= len(axis.ticks) <= 6
        assert 0 <= axis.y(high) <= axis.y(low) <= 170
        shown = [float(tick.text.replace("\u2212", "-")) for tick in axis.ticks]
        assert shown == sorted(set(shown))
    assert [tick.text for tick in vote_axis([0.5, 0.82], 230).ticks] == ["0", "25", "50", "75", "100"]
    assert [tick.half for tick in vote_axis([0.45], 230).ticks] == [False, False, True, False, False]
    assert vote_axis([0.45], 230).y(0.5) == 115


def test_marks_stand_in_the_middle_of_their_columns() -> None:
    assert [column_x(i, 2) for i in (0, 0.5, 1)] == ["25.00%", "50.00%", "75.00%"]
    view = build_history_view(example())
    assert [point.x for point in view.vote.points] == ["12.50%", "37.50%", "62.50%", "87.50%"]
