from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefbench.bench.tally.cycles import shortest_cycles


def graph(n, *edges):
    beats = np.zeros((n, n), dtype=bool)
    for a, b in edges:
        beats[a, b] = True
    return beats


def test_a_transitive_order_has_no_circle():
    assert shortest_cycles(np.triu(np.ones((6, 6)), 1)) == []


def test_two_separate_circles_are_both_found_and_start_with_their_smallest():
    found = shortest_cycles(graph(7, (2, 1), (1, 0), (0, 2), (6, 3), (3, 4), (4, 5), (5, 6)))
    assert found == [[0, 2, 1], [3, 4, 5, 6]]


def test_a_circle_of_four_with_a_shortcut_is_told_by_its_triangles_and_what_they_leave_out():
    """0 > 1 > 2 > 3 > 0 and 2 > 0: through 0, 1, 2 the triangle is shortest, through 3 the circle of four is."""
    assert shortest_cycles(graph(4, (0, 1), (1, 2), (2, 3), (3, 0), (2, 0))) == [[0, 1, 2], [0, 1, 2, 3]]


@settings(max_examples=60)
@given(
    st.integers(3, 5).flatmap(lambda n: st.lists(st.sampled_from((-1, 0, 1)), min_size=n * n, max_size=n * n))
)
def test_every_checkpoint_in_a_circle_stands_in_one_as_short_as_any(signs):
    n = int(len(signs) ** 0.5)
    upper = np.triu(np.array(signs).reshape(n, n), 1)
    beats = (upper > 0) | (upper < 0).T
    circles = [
        order
        for size in range(3, n + 1)
        for order in permutations(range(n), size)
        if all(beats[order[k - 1], order[k]] for k in range(size))
    ]
    found = shortest_cycles(beats)
    assert all(tuple(circle) in circles for circle in found)
    for node in range(n):
        through = [len(circle) for circle in circles if node in circle]
        assert min(through, default=None) == min((len(c) for c in found if node in c), default=None)


@pytest.mark.parametrize("beats", [np.ones((2, 3)), graph(2, (0, 1), (1, 0)), graph(2, (0, 0))])
def test_what_is_no_result_of_a_round_robin_is_refused(beats):
    with pytest.raises(ValueError, match="square"):
        shortest_cycles(beats)
