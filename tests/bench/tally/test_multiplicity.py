import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.bench.tally.multiplicity import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_holm_by_hand():
    """Of .01, .02, .03, .04: 4 x .01, 3 x .02, 2 x .03, and .04 not below .06."""
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_benjamini_hochberg_by_hand():
    """4 x .01 and 4/2 x .04 = .08, bounded by 4/3 x .05 = .0667; .9 stays."""
    assert benjamini_hochberg([0.9, 0.01, 0.05, 0.04]).tolist() == pytest.approx(
        [0.9, 0.04, 0.2 / 3, 0.2 / 3]
    )


@given(P_VALUES)
def test_benjamini_hochberg_is_scipys(p):
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p), abs=1e-12)


@given(P_VALUES)
def test_holm_rejects_step_by_step_as_its_procedure_does(p):
    """The procedure itself at alpha: go up from the smallest and stop at the first above alpha / (n - k)."""
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for k, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] * (len(p) - k) > alpha:
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(holm(p) <= alpha).tolist()) == rejected


@given(P_VALUES)
def test_no_adjustment_makes_a_p_value_smaller_and_holm_is_the_stricter(p):
    assert (benjamini_hochberg(p) >= np.array(p) - 1e-12).all()
    assert (holm(p) >= benjamini_hochberg(p) - 1e-12).all()
    assert holm(p).max() <= 1


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_one_test_is_left_alone_and_none_is_none(adjust):
    assert adjust([0.03]).tolist() == [0.03]
    assert adjust([]).tolist() == []
    assert adjust([1.0, 1.0, 1.0]).tolist() == [1.0, 1.0, 1.0], "all ties"


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("p", [[0.5, np.nan], [-0.1], [1.1], [[0.5]]])
def test_what_is_no_p_value_is_refused(adjust, p):
    with pytest.raises(ValueError, match="p-values"):
        adjust(p)
