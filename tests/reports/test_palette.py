"""Contrast of every text and mark on its ground, in both themes (WCAG 2.2: 4.5 for text, 3 for marks)."""

import pytest

from prefbench.reports.palette import DARK, LEVELS, LIGHT, contrast, palette_css, tint, tint_level

THEMES = {"light": LIGHT, "dark": DARK}
TEXTS = [
    ("ink", "paper"),
    ("ink", "card"),
    ("soft", "paper"),
    ("soft", "card"),
    ("soft", "sunk"),
    ("win", "paper"),
    ("win", "card"),
    ("loss", "paper"),
    ("loss", "card"),
    ("warn-ink", "card"),
    ("warn-ink", "warn-paper"),
    ("warn-paper", "warn-ink"),
]
MARKS = [
    ("win", "card"),
    ("loss", "card"),
    ("open", "card"),
    ("open", "paper"),
    ("focus", "paper"),
    ("focus", "card"),
]


def test_contrast_of_known_pairs() -> None:
    """Black on white is 21; #767676 on white is the well-known grey that just passes 4.5."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)
    assert contrast("#777777", "#ffffff") < 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_is_readable(theme: str, text: str, ground: str) -> None:
    assert contrast(THEMES[theme][text], THEMES[theme][ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("mark", "ground"), MARKS)
def test_marks_stand_out(theme: str, mark: str, ground: str) -> None:
    assert contrast(THEMES[theme][mark], THEMES[theme][ground]) >= 3


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("level", range(-LEVELS, LEVELS + 1))
def test_matrix_numbers_are_readable_on_every_tint(theme: str, level: int) -> None:
    assert contrast(THEMES[theme]["ink"], tint(level, theme)) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_each_tint_differs_from_the_next(theme: str) -> None:
    tints = [tint(level, theme) for level in range(-LEVELS, LEVELS + 1)]
    assert len(set(tints)) == len(tints)


def test_tint_is_symmetric_about_one_half() -> None:
    for rate in (0.0, 0.2, 0.44, 0.5, 0.61, 1.0):
        assert tint_level(rate) == -tint_level(1 - rate)


def test_stylesheet_defines_each_colour_for_both_themes() -> None:
    css = palette_css()
    for name in LIGHT:
        assert css.count(f"--{name}:") == 2
    assert set(LIGHT) == set(DARK)
