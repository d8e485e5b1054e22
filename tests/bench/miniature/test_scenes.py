"""Captions and scenes are two writings of the same thing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.miniature.prompts import miniature_prompts
from prefbench.bench.miniature.scenes import (
    BACKGROUNDS,
    COLOURS,
    ENDINGS,
    JUNK,
    OPENINGS,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    parse_caption,
    sample_scenes,
    split_of,
)


def _index(names: tuple[str, ...]) -> st.SearchStrategy[int]:
    return st.integers(0, len(names) - 1)


ONE_OBJECT = st.builds(Scene, _index(SIZES), _index(COLOURS), _index(SHAPES), _index(BACKGROUNDS))
TWO_OBJECTS = st.builds(
    Scene, _index(SIZES), _index(COLOURS), _index(SHAPES), _index(BACKGROUNDS),
    _index(RELATIONS), _index(SIZES), _index(COLOURS), _index(SHAPES),
)  # fmt: skip


@given(ONE_OBJECT | TWO_OBJECTS, st.sampled_from(OPENINGS), st.sampled_from(ENDINGS))
def test_a_caption_and_its_near_duplicates_read_back_as_the_scene(
    scene: Scene, opening: str, ending: str
) -> None:
    assert parse_caption(opening + scene.caption + ending) == scene


@pytest.mark.parametrize("text", [*JUNK, "", "a large red circle", "a huge red circle on a white background"])
def test_text_that_asks_for_no_scene_has_none(text: str) -> None:
    assert parse_caption(text) is None


def test_no_test_prompt_is_a_training_caption() -> None:
    training = {s.caption for s in sample_scenes(5000, np.random.default_rng(1), "train")}
    texts = [p.text for p in miniature_prompts()]
    assert len(set(texts)) == 200
    assert not training & set(texts)
    assert {split_of(s) for s in map(parse_caption, texts) if s} == {"test"}


def test_prompts_for_choosing_constants_and_for_reporting_share_no_caption() -> None:
    assert not {p.text for p in miniature_prompts("validation")} & {p.text for p in miniature_prompts("test")}


def test_the_second_object_always_has_another_colour() -> None:
    scenes = [s for s in sample_scenes(2000, np.random.default_rng(0)) if s.relation >= 0]
    assert len(scenes) > 500
    assert all(s.colour != s.colour2 for s in scenes)
