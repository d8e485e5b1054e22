"""Scenes of the miniature world and their captions.

A scene is one or two coloured shapes on a plain background. Its caption is a fixed grammar, so that a caption can be
read back into its scene and an image be held against it: that is what gives this world a known truth.

    a {small|large} {colour} {shape}[ {relation} a {size} {colour} {shape}] on a {background} background
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "RELATIONS",
    "SHAPES",
    "SIZES",
    "WORDS",
    "Scene",
    "parse_caption",
    "sample_scenes",
    "split_of",
]

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple")
BACKGROUNDS = ("white", "grey", "black")
SIZES = ("small", "large")
RELATIONS = ("above", "below", "left of", "right of")

#: Ways to ask for the same scene: a near-duplicate prompt takes one of each.
OPENINGS = ("", "a picture of ", "an image of ")
ENDINGS = ("", ".", ", simple shapes")

#: Junk prompts as a crowd types them: nothing in them says what to draw.
JUNK = (
    "asdf", "test test", "masterpiece, best quality, 8k", "hello", "trending on artstation", "?", "image of an image",
    "best best best", "a", "do it again please",
)  # fmt: skip

#: Every word that a tokenizer of this world learns as one token (CLIP cuts "8k" in two all the same).
WORDS = tuple(
    dict.fromkeys(
        word
        for text in (
            "a an on of background picture image simple shapes , . ?",
            *SIZES, *COLOURS, *SHAPES, *BACKGROUNDS, *RELATIONS, *JUNK,
        )
        for word in re.findall(r"\w+|[^\w\s]", text)
    )
)  # fmt: skip

SECOND_OBJECT_PROBABILITY = 0.35
#: Share of captions kept out of training, by a hash of the caption: (test, validation).
TEST_SHARE, VALIDATION_SHARE = 0.25, 0.10


@dataclass(frozen=True)
class Scene:
    """One or two objects on a background; every field is an index into the tuples above, `relation` -1 for one object."""

    size: int
    colour: int
    shape: int
    background: int
    relation: int = -1
    size2: int = 0
    colour2: int = 0
    shape2: int = 0

    @property
    def caption(self) -> str:
        """The scene in words."""
        first = f"a {SIZES[self.size]} {COLOURS[self.colour]} {SHAPES[self.shape]}"
        second = (
            f" {RELATIONS[self.relation]} a {SIZES[self.size2]} {COLOURS[self.colour2]} {SHAPES[self.shape2]}"
            if self.relation >= 0
            else ""
        )
        return f"{first}{second} on a {BACKGROUNDS[self.background]} background"

    @property
    def codes(self) -> tuple[int, ...]:
        """The eight indices in field order, for arrays of scenes."""
        return (
            self.size,
            self.colour,
            self.shape,
            self.background,
            self.relation,
            self.size2,
            self.colour2,
            self.shape2,
        )


def _either(words: Sequence[str]) -> str:
    return "(" + "|".join(words) + ")"


_THING = rf"a {_either(SIZES)} {_either(COLOURS)} {_either(SHAPES)}"
_CAPTION = re.compile(rf"{_THING}(?: {_either(RELATIONS)} {_THING})? on a {_either(BACKGROUNDS)} background")


def parse_caption(text: str) -> Scene | None:
    """The scene that a caption, or one of its near-duplicates, asks for; None where it asks for none.

    >>> parse_caption("a picture of a small red circle on a white background.") == parse_caption(
    ...     "a small red circle on a white background")
    True
    >>> parse_caption("a nice sunset") is None
    True
    """
    opening = next((o for o in OPENINGS[1:] if text.startswith(o)), "")
    ending = next((e for e in ENDINGS[1:] if text.endswith(e)), "")
    found = _CAPTION.fullmatch(text[len(opening) : len(text) - len(ending)])
    if not found:
        return None
    size, colour, shape, relation, size2, colour2, shape2, background = found.groups()
    one = (SIZES.index(size), COLOURS.index(colour), SHAPES.index(shape), BACKGROUNDS.index(background))
    if relation is None:
        return Scene(*one)
    two = (RELATIONS.index(relation), SIZES.index(size2), COLOURS.index(colour2), SHAPES.index(shape2))
    return Scene(*one, *two)


def split_of(scene: Scene) -> str:
    """`test`, `validation` or `train`, decided by the caption alone: nothing is trained on a test caption."""
    share = int.from_bytes(hashlib.sha256(scene.caption.encode()).digest()[:4], "big") / 2**32
    if share < TEST_SHARE:
        return "test"
    return "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"


def sample_scenes(
    n: int, rng: np.random.Generator, split: str | None = None, *, distinct: bool = False
) -> list[Scene]:
    """`n` random scenes, all of one `split` if it is named, no caption twice if `distinct`."""
    scenes: list[Scene] = []
    seen: set[Scene] = set()
    while len(scenes) < n:
        scene = _random_scene(rng)
        if (split and split_of(scene) != split) or (distinct and scene in seen):
            continue
        seen.add(scene)
        scenes.append(scene)
    return scenes


def _random_scene(rng: np.random.Generator) -> Scene:
    size, colour, shape, background = (
        int(rng.integers(len(k))) for k in (SIZES, COLOURS, SHAPES, BACKGROUNDS)
    )
    if rng.random() >= SECOND_OBJECT_PROBABILITY:
        return Scene(size, colour, shape, background)
    # The second object is always of another colour, so that a colour names one object.
    other = (colour + 1 + int(rng.integers(len(COLOURS) - 1))) % len(COLOURS)
    relation, size2, shape2 = (int(rng.integers(len(k))) for k in (RELATIONS, SIZES, SHAPES))
    return Scene(size, colour, shape, background, relation, size2, other, shape2)
