"""Painting scenes: clean, or with the faults that preferences are about.

Images are float32 in [0, 1], shape (N, 32, 32, 3). Faults are of meaning (a wrong colour, shape, size, relation or
background, a missing object) and of quality (clutter, blur, low contrast, a little noise). Rates and sizes are our
choice, tuned in a prototype so that a small diffusion model learns shapes crisply and keeps making mistakes of meaning.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from prefbench.bench.miniature.scenes import BACKGROUNDS, COLOURS, RELATIONS, SHAPES, SIZES, Scene

__all__ = ["PALETTE", "SIDE", "degrade", "object_mask", "render", "to_uint8"]

SIDE = 32  # px
CENTRE = (SIDE - 1) / 2
RADII = np.array([3.6, 6.4], np.float32)  # px, small and large
OFFSET = 7.2  # px from the centre to each of two objects
JITTER = 1.5  # px, uniform, per object and axis
#: RGB of the five colours, then of the three backgrounds.
PALETTE = np.array(
    [
        (0.86, 0.16, 0.16), (0.16, 0.66, 0.24), (0.20, 0.32, 0.86), (0.92, 0.80, 0.18), (0.58, 0.22, 0.70),
        (0.94, 0.94, 0.94), (0.50, 0.50, 0.50), (0.08, 0.08, 0.08),
    ],
    np.float32,
)  # fmt: skip
#: Direction of the first object from the centre for each relation, (x, y) with y downwards.
DIRECTIONS = np.array([(0, -1), (0, 1), (-1, 0), (1, 0)], np.float32)

P_CLEAN = 0.30  # no fault at all
P_COLOUR, P_SHAPE, P_SIZE, P_RELATION, P_BACKGROUND, P_DROPPED = 0.16, 0.12, 0.10, 0.12, 0.12, 0.08
P_CLUTTER, P_BLUR, P_CONTRAST, P_NOISE = 0.25, 0.28, 0.28, 0.14
BLUR_SIGMAS = (0.9, 1.4, 2.0)  # px

Codes = NDArray[np.int64]
Images = NDArray[np.float32]

_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def codes_of(scenes: Sequence[Scene]) -> Codes:
    """Scenes as an array of shape (N, 8), columns in the order of `Scene.codes`."""
    return np.array([s.codes for s in scenes], np.int64).reshape(-1, 8)


def object_mask(shape: Codes, size: Codes, centre: NDArray[np.float32]) -> Images:
    """Coverage of each pixel, (N, 32, 32) in [0, 1], edge softened over one pixel; `centre` is (N, 2) as (x, y) in px."""
    x = _X[None] - centre[:, 0, None, None]
    y = _Y[None] - centre[:, 1, None, None]
    r = RADII[size][:, None, None]
    bar, arm = 0.34 * r, r
    distances = (
        np.hypot(x, y) - r,
        np.maximum(np.abs(x), np.abs(y)) - 0.88 * r,
        np.maximum(0.894 * np.abs(x) + 0.447 * (-y - r), y - 0.85 * r),
        np.minimum(
            np.maximum(np.abs(x) - arm, np.abs(y) - bar), np.maximum(np.abs(x) - bar, np.abs(y) - arm)
        ),
    )
    chosen = np.choose(shape[:, None, None], distances)
    return np.clip(0.5 - chosen, 0, 1).astype(np.float32)


def centres(codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the first and the second object belong, each (N, 2) as (x, y) in px."""
    relation = codes[:, 4]
    move = np.where((relation >= 0)[:, None], DIRECTIONS[np.maximum(relation, 0)] * OFFSET, 0).astype(
        np.float32
    )
    return CENTRE + move, CENTRE - move


def render(codes: Codes, rng: np.random.Generator) -> Images:
    """Clean images of the scenes, each object moved by a small random jitter."""
    n = len(codes)
    first, second = centres(codes)
    jitter = rng.uniform(-JITTER, JITTER, (2, n, 2)).astype(np.float32)
    image = np.broadcast_to(PALETTE[len(COLOURS) + codes[:, 3]][:, None, None, :], (n, SIDE, SIDE, 3)).copy()
    mask2 = object_mask(codes[:, 7], codes[:, 5], second + jitter[1]) * (codes[:, 4] >= 0)[:, None, None]
    mask1 = object_mask(codes[:, 2], codes[:, 0], first + jitter[0])
    for mask, colour in ((mask2, codes[:, 6]), (mask1, codes[:, 1])):
        image += mask[..., None] * (PALETTE[colour][:, None, None, :] - image)
    return image


def degrade(codes: Codes, rng: np.random.Generator) -> Images:
    """Images of the scenes as a careless painter makes them: 30 % are clean, the others carry independent faults."""
    n = len(codes)
    faulty = rng.random(n) >= P_CLEAN
    image = render(_wrong_meaning(codes, faulty, rng), rng)
    _add_clutter(image, faulty & (rng.random(n) < P_CLUTTER), rng)
    _blur(image, faulty & (rng.random(n) < P_BLUR), rng)
    _lower_contrast(image, faulty & (rng.random(n) < P_CONTRAST), rng)
    _add_noise(image, faulty & (rng.random(n) < P_NOISE), rng)
    return np.clip(image, 0, 1)


def to_uint8(images: Images) -> NDArray[np.uint8]:
    """[0, 1] floats to 8-bit, rounded."""
    return np.round(images * 255).astype(np.uint8)


def _wrong_meaning(codes: Codes, faulty: NDArray[np.bool_], rng: np.random.Generator) -> Codes:
    codes, n = codes.copy(), len(codes)
    for column, probability, kinds in (
        (1, P_COLOUR, len(COLOURS)),
        (2, P_SHAPE, len(SHAPES)),
        (0, P_SIZE, len(SIZES)),
        (4, P_RELATION, len(RELATIONS)),
        (3, P_BACKGROUND, len(BACKGROUNDS)),
    ):
        hit = faulty & (rng.random(n) < probability)
        if column == 4:
            hit &= codes[:, 4] >= 0
        codes[hit, column] = rng.integers(kinds, size=hit.sum())
    clash = (codes[:, 4] >= 0) & (codes[:, 1] == codes[:, 6])
    codes[clash, 6] = (codes[clash, 6] + 1) % len(COLOURS)
    codes[faulty & (rng.random(n) < P_DROPPED), 4] = -1
    return codes


def _add_clutter(image: Images, hit: NDArray[np.bool_], rng: np.random.Generator) -> None:
    n = len(image)
    count = np.where(hit, rng.integers(1, 5, n), 0)
    for k in range(4):
        x, y = rng.uniform(0, SIDE - 1, (2, n)).astype(np.float32)
        radius = rng.uniform(1.0, 2.6, n).astype(np.float32)
        distance = np.hypot(_X - x[:, None, None], _Y - y[:, None, None]) - radius[:, None, None]
        mask = np.clip(0.5 - distance, 0, 1) * (count > k)[:, None, None]
        colour = PALETTE[rng.integers(len(PALETTE), size=n)][:, None, None, :]
        image += mask[..., None] * (colour - image)


def _blur(image: Images, hit: NDArray[np.bool_], rng: np.random.Generator) -> None:
    sigma = rng.integers(len(BLUR_SIGMAS), size=len(image))
    for k, value in enumerate(BLUR_SIGMAS):
        chosen = hit & (sigma == k)
        image[chosen] = gaussian_filter(
            image[chosen], (0, value, value, 0), mode="nearest", truncate=3 / value
        )


def _lower_contrast(image: Images, hit: NDArray[np.bool_], rng: np.random.Generator) -> None:
    factor = rng.uniform(0.25, 0.85, len(image)).astype(np.float32)[hit][:, None, None, None]
    middle = 0.5 * image[hit].mean((1, 2, 3), keepdims=True) + 0.25
    image[hit] = middle + factor * (image[hit] - middle)


def _add_noise(image: Images, hit: NDArray[np.bool_], rng: np.random.Generator) -> None:
    # Drawn at half size and enlarged: grain that the small autoencoder can represent.
    sigma = rng.uniform(0.03, 0.13, len(image)).astype(np.float32)[:, None, None, None]
    noise = rng.standard_normal((len(image), SIDE // 2, SIDE // 2, 3), dtype=np.float32) * sigma
    image[hit] += noise.repeat(2, 1).repeat(2, 2)[hit]
