"""The miniature prompt set: 200 captions on which nothing in this world was trained."""

from typing import NamedTuple

import numpy as np

from prefbench.bench.miniature.scenes import SHAPES, sample_scenes

__all__ = ["MiniaturePrompt", "miniature_prompts"]

PROMPTS = 200
SEED = 2026


class MiniaturePrompt(NamedTuple):
    """A row of the prompt set: category is the number of objects, challenge the first object's shape."""

    id: str
    text: str
    category: str
    challenge: str


def miniature_prompts(split: str = "test") -> list[MiniaturePrompt]:
    """200 captions of `split`; `validation` is for choosing constants, `test` for reporting.

    No caption stands twice. One-object captions are few (120 in the whole world), so most of the 200 have two objects.
    """
    rng = np.random.default_rng([SEED, ord(split[0])])
    scenes = sample_scenes(PROMPTS, rng, split, distinct=True)
    # Drawn without repetition the few one-object captions come early; mixed again, any first n prompts are like the rest.
    rng.shuffle(scenes)
    return [
        MiniaturePrompt(
            f"{k:03d}", s.caption, "two objects" if s.relation >= 0 else "one object", SHAPES[s.shape]
        )
        for k, s in enumerate(scenes)
    ]
