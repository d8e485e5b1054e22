"""Votes counted otherwise, scorers trained against, planned and explored, kin, training seeds, definitions."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefbench.reports.html import write_report
from prefbench.reports.view import build_view
from prefbench.reports.view_facts import read_facts
from prefbench.reports.view_forest import plot_x
from prefbench.reports.view_numbers import NARROW
from prefbench.reports.view_votes import votes_view

SPEC = importlib.util.spec_from_file_location("report_page", Path(__file__).with_name("page.py"))
PAGE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PAGE)


@pytest.fixture(scope="module")
def page(full: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = write_report(full.results, full.scores, tmp_path_factory.mktemp("full") / "r.html")
    return PAGE.parse(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def view(full: Any) -> Any:
    return build_view(full.results, full.scores)


def cells(row: Any) -> list[str]:
    return [child.text.strip() for child in row.children if not isinstance(child, str)]


def state(ci95: list[float]) -> str:
    return "better" if ci95[0] > 0.5 else "worse" if ci95[1] < 0.5 else "open"


def shown(row: Any) -> str:
    """`60.0 53.0–67.0`, of an entry with an interval."""
    low, high = (100 * bound for bound in row["ci95"])
    return f"{100 * row['win_rate']:.1f} {low:.1f}–{high:.1f}"


def test_every_way_to_count_stands_in_the_card_of_its_comparison(page: Any, full: Any) -> None:
    found = {}
    for card in PAGE.by_id(page, "votes").find("details"):
        names = tuple(who.text for who in card.find("summary")[0].find("span", class_="who"))
        rows = card.find("tbody")[1].find("tr")
        found[names] = {row.find("th")[0].children[0]: cells(row)[-1] for row in rows}
        assert len(card.find("tbody")[0].find("tr")) == 1
    variants = [v for v in full.results["votes"]["variants"] if v["rule"] != "majority"]
    for name in ("dpo_0", "dpo_1", "kto"):
        ways = [v for v in variants if (v["a"], v["b"]) == (name, "base")]
        assert len(ways) == len(found[name, "base"]) >= 5
        assert sorted(found[name, "base"].values()) == sorted(shown(way) for way in ways)


def test_a_way_that_decides_otherwise_is_marked_and_named_on_top(page: Any, full: Any) -> None:
    """By hand from results.json: verdict of the variant against that of the majority."""
    votes = full.results["votes"]["variants"]
    plain = {(v["a"], v["b"]): state(v["ci95"]) for v in votes if v["rule"] == "majority"}
    other = [v for v in votes if state(v["ci95"]) != plain[v["a"], v["b"]]]
    assert other, "the example is made so that some way decides otherwise"
    section = PAGE.by_id(page, "votes")
    tags = [tag.text for tag in section.find("small", class_="tag")]
    assert sorted(tags) == sorted(f"{state(v['ci95'])}: changes the verdict" for v in other)
    changed = len({(v["a"], v["b"]) for v in other})
    sentence = section.find("p", class_="intro")[0].text
    assert sentence.startswith(f"{changed} of 6 verdict")
    first = next(v for v in other if v["b"] == "base")
    assert f"{first['a']} against base is {plain[first['a'], 'base']}, but " in sentence


def test_unchanged_verdicts_are_said_in_one_sentence(full: Any) -> None:
    variants = full.results["votes"]["variants"]
    plain = {(v["a"], v["b"]): v for v in variants if v["rule"] == "majority"}
    same = [v | {key: plain[v["a"], v["b"]][key] for key in ("win_rate", "ci95")} for v in variants]
    results = full.results | {"votes": full.results["votes"] | {"variants": same}}
    section = votes_view(read_facts(results), results)
    assert section is not None
    others = len(variants) - len(plain)
    assert section.sentence == (
        "No other rule and no single left-out scorer changes a verdict: "
        f"{others} other counts of 6 verdicts end like the plain majority."
    )
    assert [card.name.text for card in section.cards] == ["dpo_0", "dpo_1", "kto"]


def test_a_scorer_that_was_trained_against_stands_apart_and_says_that_it_does_not_vote(
    page: Any, full: Any
) -> None:
    cards = PAGE.by_id(page, "verdicts").find("article")
    for name, card in zip(("dpo_0", "dpo_1"), cards, strict=False):
        row = next(row for row in card.find("tr", class_="barred"))
        assert row.find("th")[0].text == "pickscore trained against: does not vote"
        assert len(row.find("svg", class_="cross")) == 1
        assert len(card.find("tbody")[1].find("svg", class_="dot")) == 3, "the three that vote"
        with_it = next(
            v
            for v in full.results["votes"]["variants"]
            if (v["rule"], v["a"], v["b"]) == ("with trained-against", name, "base")
        )
        assert f"pickscore does not vote here: {name} was trained against it." in card.text
        assert f"With it the vote would have been {100 * with_it['win_rate']:.1f}{NARROW}%" in card.text
    assert not cards[2].find("tr", class_="barred")
    assert "trained against, no vote" in page.find("ul", class_="legend")[0].text
    assert "Majority vote of 3 scorers" in page.find("p", class_="lead")[0].text
    assert "Voters 3–4" in page.find("dl", class_="facts")[0].text


def test_votes_on_the_page_are_those_of_the_results(page: Any, full: Any) -> None:
    """Barred scorers and the tolerance hold pair by pair: signs on the page add up to wins, ties, losses."""
    data = PAGE.data_of(page)
    names = data["checkpoints"]
    for row in full.results["comparisons"]:
        if (row["scorer"], row["slice"]) == ("majority", "all"):
            pair = data["pairs"][f"{names.index(row['a'])},{names.index(row['b'])}"]
            signs = [pair["vote"].count(sign) for sign in "+0-"]
            assert signs == [row["wins"], row["ties"], row["losses"]]
            barred = [data["scorers"][k]["name"] for k in pair["barred"]]
            assert barred == (["pickscore"] if {row["a"], row["b"]} & {"dpo_0", "dpo_1"} else [])


def test_a_pair_that_the_tie_rule_leaves_out_has_no_winner_on_the_page(
    full: Any, example_of: Callable[..., Any]
) -> None:
    from prefbench.bench.electorate.rules import VotingRules

    run = example_of(
        checkpoints=("base", "dpo"),
        qualities={"clip": [0, 0.2], "pick": [0, 0.2]},
        held_out=(),
        options={"rules": VotingRules(tie_rule="abstain")},
    )
    view = build_view(run.results, run.scores)
    vote = next(row for row in run.results["comparisons"] if row["scorer"] == "majority")
    assert vote["abstained"] > 0
    assert view.pictures.data["pairs"]["1,0"]["vote"].count("x") == vote["abstained"]
    assert f"{vote['abstained']} further pair" in view.verdicts[0].notes[-1]


def test_planned_slices_are_marked_and_p_stands_beside_its_adjusted_value(page: Any, full: Any) -> None:
    stored = {
        (row["a"], row["slice"]): row
        for row in full.results["comparisons"]
        if row["scorer"] == "majority" and row["b"] == "base"
    }
    section = PAGE.by_id(page, "slices")
    for name, card in zip(("dpo_0", "dpo_1", "kto"), section.find("details"), strict=True):
        for row in card.find("tr", class_="slice"):
            entry = stored[name, f"category={row.find('th')[0].children[0].strip()}"]
            assert bool(row.find("small", class_="tag")) == entry["planned"]
            p, adjusted = row.find("td", class_="p")[0].text.split()
            for text, value in ((p, entry["p_value"]), (adjusted, entry["p_adjusted"])):
                assert text == "<0.001" if value < 0.001 else float(text) == pytest.approx(value, abs=6e-4)
    planned = sum(row["planned"] for row in full.results["comparisons"])
    assert planned == 6, "the vote of three checkpoints against base, on all prompts and on one slice"
    note = section.find("p", class_="intro")[0].text
    assert note.startswith("1 slice of 2 was planned and is marked")
    assert "Holm over the 6 planned comparisons" in note
    assert f"over the {len(full.results['comparisons']) - 6:,} explored" in note
    assert "of 3 explored intervals about" in note, "the other slice, of three checkpoints"


def test_p_values_and_effect_sizes_of_every_scorer_are_in_their_table(page: Any, full: Any) -> None:
    groups = PAGE.by_id(page, "tests").find("tbody")
    stored = {
        (row["a"], row["scorer"]): row
        for row in full.results["comparisons"]
        if row["slice"] == "all" and row["b"] == "base"
    }
    assert len(groups) == 3
    for name, group in zip(("dpo_0", "dpo_1", "kto"), groups, strict=True):
        head, *rows = group.find("tr")
        assert head.text.strip() == f"{name} over base"
        assert len(rows) == 6
        for row in rows:
            scorer = row.find("th")[0].text.split(" ")[0].replace("Majority", "majority")
            entry = stored[name, scorer]
            values = [cell.text for cell in row.find("td")]
            wanted = (entry["p_value"], entry["p_adjusted"], entry["permutation_p_value"])
            for text, value in zip(values[1:4], wanted, strict=True):
                assert text == "<0.001" if value < 0.001 else float(text) == pytest.approx(value, abs=6e-4)
            if entry["effect_size"] is None:
                assert values[4] == ""
            else:
                number = float(values[4].replace("\u2212", "-"))
                assert number == pytest.approx(entry["effect_size"], abs=0.0051)


def test_a_decided_verdict_whose_adjusted_p_is_not_small_says_what_it_goes_by(full: Any) -> None:
    rows = [
        row | {"p_adjusted": 0.2}
        if (row["a"], row["scorer"], row["slice"]) == ("dpo_0", "majority", "all")
        else row
        for row in full.results["comparisons"]
    ]
    notes = build_view(full.results | {"comparisons": rows}, full.scores).verdicts[0].notes
    assert any(
        note.endswith("comparisons 0.200. The verdict goes by the interval, which is not adjusted.")
        for note in notes
    )


def test_agreement_says_alpha_tau_and_who_was_made_from_one_network(page: Any, full: Any) -> None:
    section, agreement = PAGE.by_id(page, "judges"), full.results["agreement"]
    alpha, low, high = (
        f"{x:.2f}".replace("-", "\u2212")
        for x in (agreement["krippendorff_alpha"], *agreement["krippendorff_ci95"])
    )
    assert f"alpha of the voters is {alpha} (95\u202f% interval {low} to {high});" in section.text
    kin = [cell for cell in section.find("td", class_="kin")]
    assert [cell.find("span")[0].text.strip() for cell in kin] == ["family A", "family A"]
    assert (
        "Family A, outlined: pickscore and hpsv2.1 were made from one network, CLIP ViT-H/14" in section.text
    )
    assert "held out, prompt-blind" in [tag.text for tag in section.find("small", class_="tag")]
    rows = section.find("details")[0].find("tbody")[0].find("tr")
    for i, row in enumerate(rows):
        for j, cell in enumerate(row.find("td")):
            if i == j:
                assert cell.text == "–"
            else:
                tau = float(cell.text.replace("\u2212", "-"))
                assert tau == pytest.approx(agreement["kendall_tau"][i][j], abs=0.0051)


def test_single_trainings_stand_as_dots_where_their_rates_are(page: Any, view: Any, full: Any) -> None:
    """x = 3 + 94 * rate."""
    entries = [e for e in full.results["methods"]["comparisons"] if e["scorer"] == "majority"]
    rows = PAGE.by_id(page, "seeds").find("table")[0].find("tbody")[0].find("tr")
    assert len(rows) == len(entries) == 2
    for row, entry in zip(rows, entries, strict=True):
        name, _, rate, spread, trainings = cells(row)
        assert name == f"{entry['a']} over {entry['b']}"
        assert rate == shown(entry)
        assert float(spread) == pytest.approx(100 * entry["seed_spread"], abs=0.051)
        assert trainings in ("2 v 1", "1 v 2")
        dots = [dot.attributes["cx"] for dot in row.find("circle", class_="seed")]
        assert dots == [plot_x(single["win_rate"]) for single in entry["per_seed"]]
        label = row.find("svg", class_="lines")[0].attributes["aria-label"]
        for single in entry["per_seed"]:
            assert f"{100 * single['win_rate']:.1f}" in label.split("single trainings")[1]
    assert view.seeds.notes[0] == "Trainings: dpo is dpo_0 and dpo_1."


def test_every_share_of_every_definition_is_in_its_cell(page: Any, full: Any) -> None:
    table = PAGE.by_id(page, "definitions").find("table")[0]
    columns = [th.text for th in table.find("thead")[0].find("th")][1:]
    found = {}
    for body in table.find("tbody"):
        head, *rows = body.find("tr")
        for row in rows:
            for column, cell in zip(columns, row.find("td"), strict=True):
                if cell.text:
                    found[head.text.strip(), row.find("th")[0].text, column] = cell.text
    stored = {
        (
            f"{e['a']} over {e['b']}",
            "Majority vote" if e["scorer"] == "majority" else e["scorer"],
            e["definition"].replace("_", " "),
        ): f"{100 * e['value']:.1f}"
        for e in full.results["definitions"]
    }
    assert found == stored


@pytest.mark.parametrize("name", ["example", "full"])
def test_results_of_old_still_make_a_report(
    name: str,
    request: pytest.FixtureRequest,
    old_of: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Nothing of the new is there, and nothing is empty in its place."""
    run = request.getfixturevalue(name)
    old = old_of(run.results)
    text = write_report(old, run.scores, tmp_path / "r.html").read_text(encoding="utf-8")
    for section in ("votes", "seeds", "tests", "definitions"):
        assert f'id="{section}"' not in text
        assert f"#{section}" not in text.split("</style>")[1]
    main = text.split("<main>")[1].split("</main>")[0]
    assert not re.search(r"\bnan\b|None|adjusted</span>|Kendall|class=\"[^\"]*\bkin\b", main)
    assert "Exploratory: nothing here was planned" in main
    header = PAGE.by_id(PAGE.parse(text), "comparisons").find("thead")[0].find("th")
    assert header[-1].text == "ci_method"


def test_blocks_that_are_not_there_add_no_sections(example: Any, tmp_path: Path) -> None:
    """One training each, nobody asked for definitions, nobody was trained against."""
    text = write_report(example.results, example.scores, tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'id="votes"' in text
    for absent in ('id="seeds"', 'id="definitions"', "trained against, no vote", 'class="barred"'):
        assert absent not in text
