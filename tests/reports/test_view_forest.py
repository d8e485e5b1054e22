"""Geometry derived by hand: 3 per cent of the plot is free at either end, so x = 3 + 94 * rate."""

import pytest

from prefbench.reports.view_facts import Comparison
from prefbench.reports.view_forest import axis_ticks, forest_row, mark, plot_x
from prefbench.reports.view_numbers import NARROW, percent


def comparison(win_rate: float, ci95: tuple[float, float] | None, prompts: int = 200) -> Comparison:
    return Comparison(
        "dpo",
        "base",
        "majority",
        "all",
        prompts,
        prompts,
        1,
        0,
        0,
        win_rate,
        ci95,
        None,
        None,
        None,
        "bootstrap",
    )


@pytest.mark.parametrize(
    ("rate", "x"), [(0.0, "3.00%"), (0.25, "26.50%"), (0.5, "50.00%"), (0.75, "73.50%"), (1.0, "97.00%")]
)
def test_rates_fall_where_arithmetic_puts_them(rate: float, x: str) -> None:
    assert plot_x(rate) == x


def test_ticks_stand_at_the_places_of_their_numbers() -> None:
    """0 -> 3, 25 -> 26.5, 50 -> 50, 75 -> 73.5, 100 -> 97."""
    assert [(tick.text, tick.x) for tick in axis_ticks()] == [
        ("0", "3.00%"),
        ("25", "26.50%"),
        ("50", "50.00%"),
        ("75", "73.50%"),
        ("100", "97.00%"),
    ]


def test_mark_and_bar_of_one_comparison() -> None:
    """0.8 -> 3 + 75.2 = 78.2; 0.75 -> 73.5; 0.85 -> 82.9."""
    made = mark(comparison(0.8, (0.75, 0.85)), "diamond", "Majority vote")
    assert (made.x, made.low, made.high, made.state) == ("78.20%", "73.50%", "82.90%", "higher")
    assert made.label == (f"Majority vote: 80.0{NARROW}%, 95{NARROW}% interval 75.0 to 85.0{NARROW}%, higher")


@pytest.mark.parametrize(
    ("ci95", "state"),
    [
        ((0.51, 0.6), "higher"),
        ((0.5, 0.6), "open"),
        ((0.4, 0.6), "open"),
        ((0.4, 0.5), "open"),
        ((0.4, 0.49), "lower"),
        (None, "open"),
    ],
)
def test_a_mark_is_filled_only_where_the_interval_excludes_one_half(
    ci95: tuple[float, float] | None, state: str
) -> None:
    assert mark(comparison(0.5, ci95), "dot", "clip").state == state


def test_without_an_interval_the_mark_has_no_bar_and_says_why() -> None:
    row = forest_row(comparison(1.0, None, prompts=1), "dot", "clip")
    assert row.mark.low is None
    assert row.mark.high is None
    assert row.interval == "no interval (1 prompt)"
    assert "no interval (1 prompt)" in row.mark.label


def test_turning_a_comparison_round_twice_gives_it_back() -> None:
    row = comparison(0.8, (0.75, 0.875))
    assert row.turned().win_rate == pytest.approx(0.2)
    assert row.turned().ci95 == (0.125, 0.25)
    assert row.turned().turned() == row
    assert percent(comparison(0.3925, None).turned().win_rate) == "60.8", (
        "1 - 0.3925 in binary is below 60.75 %"
    )
