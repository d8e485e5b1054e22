"""Krippendorff's alpha where not everybody judged everything: by hand, and pair of votes by pair of votes."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prefbench.bench.tally.agreement import krippendorff_alpha

NAN = float("nan")


def by_definition(table: list[list[float]]) -> float | None:
    """1 - D_o / D_e over all ordered pairs of pairable values, interval metric; pairs in a unit of m weigh 1 / (m - 1)."""
    units = [[v for v in unit if not np.isnan(v)] for unit in np.array(table).T]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]
    if not values:
        return None
    observed = sum(
        sum((v - w) ** 2 for v, w in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(values)
    expected = sum((v - w) ** 2 for v, w in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return None if expected == 0 else 1 - observed / expected


def test_a_missing_vote_by_hand() -> None:
    """Units (1, 1), (1, -1), (-1) and (-1, -1): the third has nobody to agree with.

    Observed: of 6 votes, the second unit's two ordered pairs differ by 4 each: 8 / 6. Expected: 3 ones and 3 minus ones, 18
    of 30 ordered pairs differ by 4: 72 / 30. Alpha is 1 - (4 / 3) / (12 / 5) = 4 / 9.
    """
    assert krippendorff_alpha([[1, 1, -1, -1], [1, -1, NAN, -1]]) == pytest.approx(4 / 9)


def test_nobody_met_is_no_number() -> None:
    assert krippendorff_alpha([[1, NAN], [NAN, -1]]) is None


def test_a_pair_with_three_votes_weighs_more_than_one_with_two() -> None:
    """Units (1, 1, 1) and (1, -1): observed (0 + 8) / 5; of 20 ordered pairs of 4 ones and a minus one 8 differ: 32 / 20."""
    assert krippendorff_alpha([[1, 1], [1, -1], [1, NAN]]) == pytest.approx(1 - (8 / 5) / (32 / 20))


@given(
    st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0, NAN]), min_size=3, max_size=3), min_size=1, max_size=8)
)
def test_it_is_what_the_definition_says(units: list[list[float]]) -> None:
    table = np.array(units).T.tolist()
    expected = by_definition(table)
    assume(expected is not None)
    assert krippendorff_alpha(table) == pytest.approx(expected)
