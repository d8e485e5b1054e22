"""Scores that somebody published for images that anybody can fetch: does the port, with the published weights, give them?

"authors": printed by the scorer's authors, in a README or an issue. "a port": by another port, so a disagreement may be
its fault. Tolerances are the last printed digit, and more where the source ran in half precision. None of this has been
run where prefbench was written: its machines reach no model hub. `prefbench doctor --golden` runs it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from prefbench.bench.atomic import write_bytes
from prefbench.bench.exceptions import DataError, PrefbenchError
from prefbench.bench.user_cache import cache_folder
from prefbench.scorers.registry import load_scorer

__all__ = ["GOLDENS", "IMAGES", "Golden", "Outcome", "check_golden", "fetch_image"]

RAW = "https://raw.githubusercontent.com"
IMAGEREWARD_RAW = f"{RAW}/THUDM/ImageReward/HEAD/assets/images"
CLIPSCORE_RAW = f"{RAW}/jmhessel/clipscore/HEAD/example/images"
IMAGES = {
    **{f"imagereward-{k}.webp": f"{IMAGEREWARD_RAW}/{k}.webp" for k in (1, 2, 3, 4)},
    **{f"clipscore-{name}": f"{CLIPSCORE_RAW}/{name}" for name in ("image1.jpg", "image2.jpg")},
    "hpsv2-demo.jpg": f"{RAW}/tgxs002/HPSv2/HEAD/assets/demo_image.jpg",
}
"""File name -> where it is."""

OCEAN = "a painting of an ocean with clouds and birds, day time, low depth field effect"
OCEAN_IMAGES = tuple(f"imagereward-{k}.webp" for k in (1, 2, 3, 4))
CATS = ("clipscore-image1.jpg", "clipscore-image2.jpg")
IMAGEREWARD_README = "THUDM/ImageReward README.md"
CLIPSCORE_README = "jmhessel/clipscore README.md"
DIFFSYNTH = "modelscope/DiffSynth-Studio examples, image quality metric, README.md"


@dataclass(frozen=True)
class Golden:
    """One published result."""

    scorer: str
    images: tuple[str, ...]
    prompts: tuple[str, ...]
    expected: tuple[float, ...]
    """A score an image, or their mean alone."""
    tolerance: float
    """Largest absolute difference."""
    source: str
    by: str
    """"authors" or "a port"."""
    scale: float = 1.0
    """Their number over ours, where they print another unit."""


@dataclass(frozen=True)
class Outcome:
    """What came of one of them."""

    golden: Golden
    got: tuple[float, ...]
    """In the source's unit; empty where nothing could be computed."""
    reason: str = ""
    """Why nothing could be computed."""

    @property
    def largest(self) -> float:
        """Largest absolute difference."""
        return max(abs(a - b) for a, b in zip(self.got, self.golden.expected, strict=True))

    @property
    def holds(self) -> bool:
        """Whether every number was computed and is close enough."""
        return bool(self.got) and self.largest <= self.golden.tolerance


def _ocean(scorer: str, expected: Sequence[float], tolerance: float, **rest: float) -> Golden:
    """One of another port's, on ImageReward's four images; it ran on a GPU."""
    return Golden(scorer, OCEAN_IMAGES, (OCEAN,) * 4, tuple(expected), tolerance, DIFFSYNTH, "a port", **rest)


GOLDENS = (
    Golden(
        "imagereward",
        OCEAN_IMAGES,
        (OCEAN,) * 4,
        (0.5811, 0.2745, -1.4132, -2.0296),
        5e-3,  # DiffSynth-Studio's port prints -1.4159 and -2.0325 for the last two: decoders of WebP differ
        IMAGEREWARD_README,
        "authors",
    ),
    Golden(
        "hpsv2.0",
        ("hpsv2-demo.jpg",),
        ("A cat with two horns on its head",),
        (0.2876,),
        1e-3,  # four digits of a float16 cosine, whose step is 2.4e-4; the version is not stated: the default was 2.0
        "tgxs002/HPSv2 issue 27",
        "authors",
    ),
    Golden(
        "clip:openai-vit-b-32:clipscore",
        CATS,
        (
            "an orange cat and a grey cat are lying together.",
            "a black dog wearing headphones looks at the camera as an orange cat walks in the background.",
        ),
        (0.8585,),  # on a CPU, in float32; 0.8584 on a GPU
        1e-4,
        CLIPSCORE_README,
        "authors",
    ),
    Golden(
        "clip:openai-vit-b-32:clipscore",
        CATS,
        (
            "a calico cat and a white cat are lying together.",
            "a black dog wearing a hat looks at the camera as a tabby walks in the background.",
        ),
        (0.7153,),  # on a GPU
        3e-4,
        CLIPSCORE_README,
        "authors",
    ),
    _ocean("pickscore", (0.20737, 0.20444, 0.20661, 0.19426), 1e-3, scale=0.01),
    _ocean("hpsv2.0", (0.26725, 0.25495, 0.24889, 0.24303), 2e-3),
    _ocean("hpsv2.1", (0.23211, 0.20234, 0.19783, 0.19230), 2e-3),
    _ocean("aesthetic.v2", (5.90086, 5.77657, 5.79986, 5.05205), 5e-2),
)
"""All of them, the authors' first."""


def fetch_image(name: str, folder: Path | None = None) -> Path:
    """The image's file: from `folder`, else from the user's cache, where it is put once.

    Args:
        name: of `IMAGES`.
        folder: where the images lie already, under these names; None to fetch them.

    Raises:
        DataError: it is not there, or cannot be fetched.
    """
    if folder is not None:
        if not (folder / name).is_file():
            raise DataError(f"{folder} has no {name}. It is {IMAGES[name]}.")
        return folder / name
    kept = cache_folder() / "golden" / name
    if not kept.is_file():
        try:
            answer = httpx.get(IMAGES[name], timeout=60.0, follow_redirects=True)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise DataError(
                f"The image {IMAGES[name]} cannot be fetched ({error}). Fetch it elsewhere, save it as {name}, and name its "
                "folder: --images FOLDER."
            ) from error
        write_bytes(kept, answer.content)
    return kept


def check_golden(
    golden: Golden,
    weights: Mapping[str, str],
    device: str,
    folder: Path | None = None,
    fetch: Callable[[str, Path | None], Path] = fetch_image,
) -> Outcome:
    """Score one golden's images. What cannot be had is the outcome's reason and no error.

    Args:
        golden: of `GOLDENS`.
        weights: scorer -> path, where its own are not to be fetched.
        device: torch device.
        folder: of the images, or None to fetch them.
        fetch: name, folder -> file.
    """
    try:
        images = [fetch(name, folder) for name in golden.images]
        scorer = load_scorer(golden.scorer, weights=weights.get(golden.scorer), device=device)
        scores = golden.scale * scorer.score(images, list(golden.prompts))
    except PrefbenchError as error:
        return Outcome(golden, (), str(error))
    return Outcome(
        golden, tuple(scores) if len(golden.expected) == len(scores) else (float(np.mean(scores)),)
    )
