"""Rounding, signs and missing values as a reader sees them."""

import doctest
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.reports.view_numbers import decimals_for, percent, percent_interval, signed, split_name

MODULES = ("html", "palette", "view_forest", "view_numbers")


@pytest.mark.parametrize("name", MODULES)
def test_documented_examples_run(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"prefbench.reports.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


@given(st.text())
def test_split_name_loses_no_character(text: str) -> None:
    assert "".join(split_name(text).parts) == text


def test_zero_has_no_sign_even_when_rounded_from_below() -> None:
    assert percent(-0.00001) == "0.0"
    assert signed(-0.00001, 3) == "0.000"


@given(st.floats(0, 1), st.floats(0, 1))
def test_an_interval_that_excludes_one_half_does_not_print_fifty(low: float, high: float) -> None:
    """A bound within 1e-8 of one half may still print 50: six decimals of a per cent are the limit."""
    text = percent_interval((low, high))
    assert text is not None
    for bound, printed in zip((low, high), text.split("–"), strict=True):
        if abs(bound - 0.5) > 1e-8:
            assert float(printed) != 50


@given(st.floats(1e-4, 1e4))
def test_decimals_show_a_fiftieth_of_the_spread_and_no_more_than_needed(spread: float) -> None:
    digits = decimals_for(spread)
    assert 10.0**-digits <= spread / 50 * (1 + 1e-6) or digits == 6
    if digits > 0:
        assert 10.0 ** -(digits - 1) > spread / 50 * (1 - 1e-6)
