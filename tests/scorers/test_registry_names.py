"""What may be typed as a scorer's name, and what is said of what may not."""

import pytest

from prefbench.bench.exceptions import UsageError
from prefbench.scorers import aesthetic, hpsv2, hpsv3, mps
from prefbench.scorers.registry import HAVE_ORIGINALS, TABLE, VARIANTS, load_scorer
from prefbench.scorers.upstream.originals import OPENERS


def test_the_listed_variants_are_those_of_the_modules_default_first() -> None:
    assert VARIANTS["hpsv2.1"] == VARIANTS["hpsv2.0"] == tuple(hpsv2.VARIANTS)
    assert VARIANTS["hpsv2.1"][0] == hpsv2.DEFAULT_VARIANT
    assert VARIANTS["hpsv3"] == tuple(hpsv3.VARIANTS)
    assert VARIANTS["mps"] == tuple(mps.VARIANTS)
    for name in ("aesthetic.v1", "aesthetic.v2"):
        assert set(VARIANTS[name]) == {tower for base, tower in aesthetic.HEADS if base == name}
    assert set(VARIANTS) <= set(TABLE)
    assert tuple(OPENERS) == HAVE_ORIGINALS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vqascore", "Did you mean 'vqascore.clip-flant5-xl'"),
        ("vqascore.vlm:", "lacks what is to stand for the <...> of 'vqascore.vlm:<hub id or folder>'"),
        ("vqascore.vlm:<hub id or folder>", "lacks what is to stand for the <...>"),
        (
            "mps@upstream",
            "mps has no original package that can be run here. These have one: pickscore, hpsv2.0",
        ),
        ("hpsv2.1@fp16@upstream", "computes in one way only; leave out 'fp16' or 'upstream'"),
        ("imagereward@fp16", "has no variants"),
        ("hpsv2.1@fp61", "Did you mean 'fp16'"),
    ],
)
def test_a_name_that_is_none_is_told_what_to_type(name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_scorer(name)
    assert message in str(raised.value)
