import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.toml_text import toml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = (
    TEXT | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)
VALUES = PLAIN | st.lists(PLAIN, max_size=4)
TABLES = st.recursive(
    st.dictionaries(TEXT, VALUES, max_size=4), lambda inner: st.dictionaries(TEXT, inner | VALUES)
)


@given(TABLES)
def test_the_standard_library_reads_back_what_was_written(table: dict[str, object]) -> None:
    assert tomllib.loads(toml_text(table)) == table


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), object()])
def test_what_toml_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no TOML form"):
        toml_text({"key": value})
