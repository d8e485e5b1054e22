"""The known truth sees what a person would see, and each fault lowers it."""

import numpy as np
import pytest
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.miniature.render import PALETTE, SIDE, codes_of, degrade, render, to_uint8
from prefbench.bench.miniature.scenes import COLOURS, Scene, sample_scenes
from prefbench.bench.miniature.truth import measure
from prefbench.scorers.registry import load_scorer

RNG = np.random.default_rng
SCENES = sample_scenes(300, RNG(0))
CAPTIONS = [s.caption for s in SCENES]
CLEAN = render(codes_of(SCENES), RNG(1))


def test_faithful_renders_score_near_the_top() -> None:
    found = measure(CLEAN, CAPTIONS)
    assert found.utility.mean() > 0.85
    assert found.utility.min() > 0.6


def test_a_render_of_another_scene_scores_lower() -> None:
    other = np.roll(CLEAN, 1, axis=0)
    different = np.array([a != b for a, b in zip(SCENES, [SCENES[-1], *SCENES[:-1]], strict=True)])
    right, wrong = measure(CLEAN, CAPTIONS).align, measure(other, CAPTIONS).align
    assert (right > wrong)[different].mean() > 0.99


@pytest.mark.parametrize(
    "change",
    [{"colour": 1}, {"shape": 3}, {"size": 0}, {"background": 2}, {"relation": 2}, {"relation": -1}],
    ids=["colour", "shape", "size", "background", "relation", "object missing"],
)
def test_each_fault_of_meaning_lowers_the_alignment(change: dict[str, int]) -> None:
    asked = Scene(size=1, colour=0, shape=0, background=0, relation=3, size2=0, colour2=2, shape2=1)
    painted = Scene(**{**asked.__dict__, **change})
    right = measure(render(codes_of([asked]), RNG(0)), [asked.caption]).align[0]
    wrong = measure(render(codes_of([painted]), RNG(0)), [asked.caption]).align[0]
    assert wrong < right - 0.1


def test_a_plain_palette_colour_is_perfectly_clean_and_half_way_to_another_is_not() -> None:
    """Every pixel on a palette colour: distance 0, clean = exp(0) = 1. Black-to-grey middle: distance
    sqrt(3) * 0.21 = 0.3637 from both, clean = exp(-3.637) = 0.0263.
    """
    white = np.broadcast_to(PALETTE[len(COLOURS)], (1, SIDE, SIDE, 3)).astype(np.float32)
    middle = np.full((1, SIDE, SIDE, 3), 0.29, np.float32)
    assert measure(white, ["asdf"]).clean[0] == pytest.approx(1.0)
    assert measure(middle, ["asdf"]).clean[0] == pytest.approx(np.exp(-np.sqrt(3) * 0.21 / 0.10), rel=1e-4)


def test_utility_of_a_junk_prompt_is_cleanliness_alone() -> None:
    found = measure(CLEAN[:3], ["asdf"] * 3)
    assert np.isnan(found.align).all()
    np.testing.assert_array_equal(found.utility, found.clean)


def test_careless_painting_costs_utility_and_leaves_about_a_third_faultless() -> None:
    bad = measure(degrade(codes_of(SCENES), RNG(2)), CAPTIONS).utility
    good = measure(CLEAN, CAPTIONS).utility
    assert bad.mean() < good.mean() - 0.15
    assert 0.2 < np.mean(bad > 0.85) < 0.6


def test_the_scorer_gives_the_same_numbers_as_the_measure() -> None:
    images = to_uint8(CLEAN[:20])
    scorer = load_scorer("mini:truth")
    expected = measure(images.astype(np.float32) / 255, CAPTIONS[:20]).utility
    np.testing.assert_allclose(scorer.score([Image.fromarray(i) for i in images], CAPTIONS[:20]), expected)
    assert not scorer.truncated(CAPTIONS[:20]).any()


def test_the_scorer_refuses_prompts_and_images_of_another_world() -> None:
    scorer = load_scorer("mini:truth")
    with pytest.raises(DataError, match="captions only, not of 'a nice sunset'"):
        scorer.score([Image.new("RGB", (32, 32))], ["a nice sunset"])
    with pytest.raises(DataError, match="32 x 32 px, got 64 x 48"):
        scorer.score([Image.new("RGB", (64, 48))], CAPTIONS[:1])
    with pytest.raises(UsageError, match="takes neither weights"):
        load_scorer("mini:truth", weights="anything")
