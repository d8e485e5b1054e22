"""The report in a real browser: it runs, obeys its own policy, sorts and filters, fits a phone, prints."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PAIRS = "[...document.querySelectorAll('#grid .pair')]"
UNITS = f"{PAIRS}.map((pair) => pair.dataset.unit)"


def data_of(report: Path) -> Any:
    text = report.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def ordered(data: Any, pair: str, key: str, sign: int) -> list[str]:
    """Unit ids sorted by a key of the data block; Python's sort is stable like the page's."""
    values = data["pairs"][pair][key]
    return [data["units"][i]["id"] for i in sorted(range(len(values)), key=lambda i: sign * values[i])]


def test_page_runs_without_error_request_or_policy_violation(browser: Any, report: Path) -> None:
    browser.open(report)
    assert browser.evaluate("document.documentElement.dataset.ready") == "yes"
    assert browser.evaluate("document.documentElement.dataset.error") is None
    assert browser.complaints() == []
    assert browser.requests() == [report.as_uri()]
    assert browser.evaluate(f"{PAIRS}.length") == 24
    assert browser.evaluate("document.getElementById('status').textContent") == "24 of 60 pairs"
    assert browser.evaluate(
        "Promise.all([...document.images].map((i) => i.decode())).then(() => "
        "[...document.images].every((i) => i.naturalWidth === 32))"
    )


def test_a_page_that_breaks_its_policy_is_noticed(browser: Any, report: Path, tmp_path: Path) -> None:
    """The check above can fail: one changed byte of the script or one inline style will do."""
    text = report.read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("const BATCH = 24;", "const BATCH = 25;"), encoding="utf-8")
    browser.open(broken)
    assert any("Content Security Policy" in complaint for complaint in browser.complaints())
    assert browser.evaluate("document.documentElement.dataset.ready") is None
    broken.write_text(text.replace("<h1>", '<h1 style="color:red">'), encoding="utf-8")
    browser.open(broken)
    assert any("Content Security Policy" in complaint for complaint in browser.complaints())


def test_a_hostile_prompt_is_text(browser: Any, report: Path, run: Any) -> None:
    browser.open(report, "left=base&right=dpo&sort=order")
    card = f"{PAIRS}.find((p) => p.dataset.unit === 'p007')"
    shown = browser.evaluate(f"{card}.querySelector('.prompt').textContent")
    assert shown == "<img src=x onerror=alert(1)></script> 🐉 قطة"
    assert browser.complaints() == []
    assert browser.evaluate("document.querySelectorAll('img[onerror]').length") == 0


@pytest.mark.parametrize(
    ("sort", "key", "sign"),
    [("worst", "margin", 1), ("best", "margin", -1), ("fight", "doubt", -1), ("against", "against", -1)],
)
def test_sorts_follow_their_keys(browser: Any, report: Path, sort: str, key: str, sign: int) -> None:
    browser.open(report, f"left=base&right=dpo&sort={sort}")
    assert browser.evaluate(UNITS) == ordered(data_of(report), "2,0", key, sign)[:24]


def test_turning_the_pair_round_turns_losses_into_wins(browser: Any, report: Path) -> None:
    browser.open(report, "left=dpo&right=base&sort=worst")
    assert browser.evaluate(UNITS) == ordered(data_of(report), "2,0", "margin", -1)[:24]
    captions = browser.evaluate(f"[...{PAIRS}[0].querySelectorAll('.label')].map((n) => n.textContent)")
    assert captions == ["dpo", "base"]


def test_a_card_shows_the_scores_of_the_table_and_marks_winners(browser: Any, report: Path, run: Any) -> None:
    browser.open(report, "left=base&right=dpo&sort=order&show=60")
    cards = browser.evaluate(
        f"{PAIRS}.map((p) => ({{id: p.dataset.unit, tally: p.querySelector('.tally').textContent, rows: "
        "[...p.querySelectorAll('tr')].map((r) => [...r.cells].map((c) => c.textContent))}))"
    )
    assert len(cards) == 60
    scores = run.scores.set_index(["checkpoint", "prompt_id", "scorer"])["score"]
    for card in cards:
        votes = 0
        for left, scorer, right in card["rows"]:
            a, b = scores["base", card["id"], scorer], scores["dpo", card["id"], scorer]
            assert ("✓" in left, "✓" in right) == (a > b, b > a)
            for text, value in ((left, a), (right, b)):
                assert float(text.replace("✓", "").replace("\u2212", "-")) == pytest.approx(value, abs=0.0051)
            votes += 0 if scorer == "truth" else int(b > a) - int(a > b)
        assert card["tally"].endswith(f"for {'dpo' if votes > 0 else 'base'}")


def test_typing_filters_prompts_and_the_address_keeps_it(browser: Any, report: Path) -> None:
    browser.open(report)
    browser.evaluate(
        "(() => { const q = document.getElementById('query'); q.value = 'NUMBER 5'; "
        "q.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert sorted(browser.evaluate(UNITS)) == sorted(["p005", *(f"p05{digit}" for digit in range(10))])
    assert browser.evaluate("document.getElementById('status').textContent") == "11 of 11 pairs"
    fragment = browser.evaluate("location.hash.slice(1)")
    units = browser.evaluate(UNITS)
    browser.open(report, fragment)
    assert browser.evaluate(UNITS) == units


def test_no_match_is_said(browser: Any, report: Path) -> None:
    browser.open(report, "left=base&right=dpo&sort=order&q=zebra")
    assert browser.evaluate(f"{PAIRS}.length") == 0
    assert browser.evaluate("document.getElementById('status').textContent") == "no prompt contains this"
    assert browser.evaluate("document.getElementById('more').hidden") is True


def test_show_more_adds_a_batch_until_all_are_there(browser: Any, report: Path) -> None:
    browser.open(report)
    counts = []
    for _ in range(2):
        browser.evaluate("document.getElementById('more').click()")
        counts.append(browser.evaluate(f"{PAIRS}.length"))
    assert counts == [48, 60]
    assert browser.evaluate("document.getElementById('more').hidden") is True


def test_choosing_the_same_checkpoint_twice_swaps_the_sides(browser: Any, report: Path) -> None:
    browser.open(report, "left=base&right=dpo&sort=order")
    browser.evaluate(
        "(() => { const r = document.getElementById('right'); r.value = '0'; r.dispatchEvent(new "
        "Event('change')); })()"
    )
    assert browser.evaluate("[left.selectedOptions[0].text, right.selectedOptions[0].text]") == [
        "dpo",
        "base",
    ]


def test_the_csv_download_is_the_whole_table(browser: Any, report: Path, run: Any, tmp_path: Path) -> None:
    browser.open(report)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.evaluate("document.getElementById('raw').open = true, document.getElementById('csv').click()")
    target = tmp_path / "comparisons.csv"
    for _ in range(200):
        if target.is_file():
            break
        browser.evaluate("new Promise((done) => setTimeout(done, 50))")
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"), newline="")))
    assert len(rows) == len(run.results["comparisons"])
    for row, stored in zip(rows, run.results["comparisons"], strict=True):
        assert (row["a"], row["b"], row["scorer"], row["slice"]) == tuple(
            stored[name] for name in ("a", "b", "scorer", "slice")
        )
        assert float(row["win_rate"]) == pytest.approx(stored["win_rate"], rel=1e-5)
        assert int(row["losses"]) == stored["losses"]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_sticks_out_of_the_window(browser: Any, report: Path, width: int) -> None:
    browser.open(report, width=width, height=844)
    assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_long_names_fit_a_phone(browser: Any, runs: Any, tmp_path: Path) -> None:
    from prefbench.reports.html import write_report

    long = "organisation/an-extraordinarily-long-checkpoint-name_without_end_" + "x" * 60
    run = runs.make_example(checkpoints=("base", long), prompts=["w" * 300, "b"])
    page = write_report(run.results, run.scores, tmp_path / "long.html")
    browser.open(page, width=390, height=844)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    assert browser.complaints() == []


@pytest.fixture(scope="module")
def full_report(runs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every block, all of it unfolded."""
    from prefbench.reports.html import write_report

    run = runs.make_full_example()
    page = write_report(run.results, run.scores, tmp_path_factory.mktemp("full") / "full.html")
    text = page.read_text(encoding="utf-8").replace('<details class="card"', '<details open class="card"')
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.parametrize("width", [390, 1280])
def test_every_block_fits_and_its_labels_stand_over_its_plots(
    browser: Any, full_report: Path, width: int
) -> None:
    browser.open(full_report, width=width)
    assert browser.complaints() == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    places = browser.evaluate(
        "['votes', 'seeds', 'slices'].map((id) => [...document.getElementById(id).querySelectorAll('table.forest')].flatMap("
        "(t) => { const centre = (n) => { const b = n.getBoundingClientRect(); return b.left + b.width / 2; };"
        "const label = centre([...t.querySelectorAll('.ticks text')].find((n) => n.textContent === '50'));"
        "return [...t.querySelectorAll('line.half')].map((line) => Math.abs(centre(line) - label)); }))"
    )
    assert [len(offsets) > 5 for offsets in places] == [True, True, True]
    assert max(offset for offsets in places for offset in offsets) <= 0.5
    narrowest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('main svg.lines')].map((n) => n.getBoundingClientRect().width))"
    )
    assert narrowest > 80


def test_a_scorer_that_was_trained_against_is_not_in_the_tally(browser: Any, full_report: Path) -> None:
    """Four voters; against dpo_0 three are left, against kto all of them, who may tie."""
    for right, voters in (("dpo_0", 3), ("kto", 4)):
        browser.open(full_report, f"left=base&right={right}&sort=order&show=60")
        cards = browser.evaluate(
            f"{PAIRS}.map((p) => ({{score: p.querySelector('.tally').textContent, "
            "barred: [...p.querySelectorAll('tr.barred th')].map((n) => n.textContent)}))"
        )
        assert len(cards) == 60
        for card in cards:
            numbers = [int(n) for n in re.findall(r"\d+", card["score"].replace(right, ""))]
            assert sum(numbers) == voters
            assert card["barred"] == (["pickscoretrained against"] if right == "dpo_0" else [])


def test_rank_labels_stand_over_their_lines(browser: Any, report: Path) -> None:
    """Three checkpoints: three labels, three lines in each row, centres equal to half a pixel."""
    browser.open(report, width=390)
    places = browser.evaluate(
        "(() => { const t = document.querySelector('table.ranks');"
        "const centres = (nodes) => [...nodes].map((n) => n.getBoundingClientRect()).map((b) => b.left + b.width / 2);"
        "return [centres(t.querySelectorAll('.ticks text')),"
        " ...[...t.querySelectorAll('tbody tr')].map((row) => centres(row.querySelectorAll('line.rule')))]; })()"
    )
    labels, *rows = (np.array(row) for row in places)
    assert (len(labels), len(rows)) == (3, 3)
    for row in rows:
        assert np.abs(row - labels).max() <= 0.5


@pytest.mark.parametrize("width", [390, 1280])
def test_axis_labels_stand_over_the_plot(browser: Any, report: Path, width: int) -> None:
    """The 50 of the axis and the line of one half have the same centre in every table, to half a pixel."""
    browser.open(report, width=width)
    offsets = browser.evaluate(
        "[...document.querySelectorAll('table.forest:not(.ranks)')].filter((t) => "
        "t.getClientRects().length).flatMap((t) => {"
        "const centre = (n) => { const b = n.getBoundingClientRect(); return b.left + b.width / 2; };"
        "const label = centre([...t.querySelectorAll('.ticks text')].find((n) => n.textContent === '50'));"
        "return [...t.querySelectorAll('line.half')].map((line) => Math.abs(centre(line) - label)); })"
    )
    assert len(offsets) > 10
    assert max(offsets) <= 0.5


@pytest.mark.parametrize(("dark", "ground"), [(False, (250, 248, 244)), (True, (20, 22, 26))])
def test_screenshot_is_drawn_on_the_ground_of_its_theme(
    browser: Any, report: Path, dark: bool, ground: tuple[int, int, int]
) -> None:
    browser.open(report, dark=dark)
    shot = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB"))
    assert shot.shape == (800, 1280, 3)
    assert tuple(shot[2, 2]) == ground
    assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 50


def test_page_prints(browser: Any, report: Path) -> None:
    browser.open(report)
    pdf = browser.print_pdf()
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000


def test_a_report_without_pictures_lists_prompts(browser: Any, run: Any, tmp_path: Path) -> None:
    from prefbench.reports.html import write_report

    page = write_report(run.results, run.scores, tmp_path / "table.html")
    browser.open(page, "left=base&right=sft&sort=fight")
    assert browser.evaluate(f"{PAIRS}.length") == 24
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate(UNITS) == ordered(data_of(page), "1,0", "doubt", -1)[:24]
    assert browser.complaints() == []
