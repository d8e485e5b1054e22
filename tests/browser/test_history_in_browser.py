"""The page of `prefbench history` in a real browser: it obeys its policy, fits a phone, marks stand over their numbers."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stored_runs
from PIL import Image

from prefbench.bench.baselines.folder import save_baseline
from prefbench.bench.baselines.history import PAGE, make_history, write_history

NAMES = [f"acme-sd15-2026-{month:02d}-release-candidate" for month in range(1, 9)]
HOSTILE = "<img src=x onerror=alert(1)></script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight releases with long names by three scorers, one of a hostile name; the last two with other settings."""
    folder = tmp_path_factory.mktemp("releases")
    rng = np.random.default_rng(0)
    stored = []
    for month, name in enumerate(NAMES, start=1):
        drawn = rng.normal(0.1 * month, 1, (3, 40, 1)).tolist()
        scores = dict(zip(("pick", HOSTILE, "truth"), drawn, strict=True))
        run = stored_runs.write_run(
            folder / f"run{month}",
            stored_runs.table({"mine": scores, "copy": scores}),
            held_out=["truth"],
            sampling=stored_runs.SAMPLING | {"steps": 50 if month > 6 else 30},
        )
        now = datetime(2026, month, 1, tzinfo=UTC)
        stored.append(save_baseline(run, name, checkpoint="mine", folder=folder / "baselines", now=now))
    write_history(make_history(stored, resamples=1000), folder / "out")
    return folder / "out" / PAGE


def test_page_obeys_its_policy_and_asks_for_nothing(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert HOSTILE in browser.evaluate("document.body.textContent")


@pytest.mark.parametrize("width", [390, 1280])
def test_marks_stand_over_their_columns(browser: Any, page: Path, width: int) -> None:
    """Centre of every mark and of the release's name below it: within a pixel, on a phone too."""
    browser.open(page, width=width)
    offsets = browser.evaluate(
        "[...document.querySelectorAll('table.courses')].flatMap((t) => {"
        "const centre = (n) => { const b = n.getBoundingClientRect(); return b.left + b.width / 2; };"
        "const names = [...t.querySelectorAll('tr.names th')].map(centre);"
        "return [...t.querySelectorAll('svg.mark')].map((m, i) => Math.abs(centre(m) - names[i])); })"
    )
    assert len(offsets) == 4 * len(NAMES)
    assert max(offsets) <= 1


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_page_does_not_scroll_sideways(browser: Any, page: Path, width: int) -> None:
    browser.open(page, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('.courses td, .courses th')].filter((c) => c.scrollWidth > c.clientWidth + 1).length"
    assert browser.evaluate(cut) == 0


def test_plots_scroll_on_a_phone_and_keep_their_axis(browser: Any, page: Path) -> None:
    browser.open(page, width=390)
    box = "document.querySelector('#vote .scroll')"
    assert browser.evaluate(f"{box}.scrollWidth > {box}.clientWidth")
    browser.evaluate(f"{box}.scrollTo(400, 0)")
    left = browser.evaluate(
        f"{box}.querySelector('.axis').getBoundingClientRect().left - {box}.getBoundingClientRect().left"
    )
    assert abs(left) <= 1


@pytest.mark.parametrize(("dark", "ground"), [(False, (250, 248, 244)), (True, (20, 22, 26))])
def test_screenshot_is_drawn_on_the_ground_of_its_theme(
    browser: Any, page: Path, dark: bool, ground: tuple[int, int, int]
) -> None:
    browser.open(page, dark=dark)
    shot = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB"))
    assert tuple(shot[2, 2]) == ground
    assert len(np.unique(shot[:200].reshape(-1, 3), axis=0)) > 50


def test_page_prints(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.print_pdf().startswith(b"%PDF")
