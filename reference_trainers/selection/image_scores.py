"""Scores of the pairs' images: each image scored once by each scorer, kept on disk, or read from a table.

The key of a kept score is the one of a run's ledger: sha256 of pixels x prompt x the scorer's fingerprint. Images are
always read to know their pixels; a table of scores (`scores_table.py`) needs no image at all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from prefbench.bench.device import release_memory
from prefbench.bench.exceptions import DataError
from prefbench.bench.store.keys import pixels_sha256, score_key
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.selection.stages import Stages, silent
from prefbench.scorers.protocol import Scorer
from prefbench.scorers.registry import load_scorer

__all__ = ["ImageScores", "score_pairs"]

PAIRS_A_CHUNK = 32

Loader = Callable[[str], Scorer]


@dataclass(frozen=True)
class ImageScores:
    """Scores of both images of N pairs by one scorer.

    Attributes:
        name: of the scorer.
        values: (N, 2) float64, (image 0, image 1), on the scorer's own scale.
        scale: what the scorer says of its scale; None for a table.
        logit_scale: what the raw cosine was multiplied by, where the scorer is a cosine with a logit scale.
        fingerprint: of the scorer; for a table, its name and sha256.
        higher_is_better: whether a larger score is a better image.
    """

    name: str
    values: np.ndarray
    scale: str | None
    logit_scale: float | None
    fingerprint: str
    higher_is_better: bool = True

    @property
    def oriented(self) -> np.ndarray:
        """The scores, (N, 2), turned so that higher is better."""
        return self.values if self.higher_is_better else -self.values


def _logit_scale(scorer: Scorer) -> float | None:
    """exp(logit_scale) of a scorer that multiplies its cosine by it, as PickScore does."""
    if not scorer.info.scale.startswith("logit-scaled cosine"):
        return None
    network: Any = getattr(scorer, "network", None)
    return None if network is None else float(network.logit_scale.detach().double().exp())


def _read(pairs: LabelledPairs, i: int, side: int) -> Image.Image:
    image = pairs.image(int(pairs.rows[i]), side)
    name = f"image {side} of row {int(pairs.rows[i]) + 1} ({pairs.image_names(int(pairs.rows[i]), side)})"
    image.filename = name  # type: ignore[attr-defined]  # what an error of a scorer calls the image
    return image


def _chunks(count: int) -> Iterator[list[tuple[int, int]]]:
    for start in range(0, count, PAIRS_A_CHUNK):
        yield [(i, side) for i in range(start, min(start + PAIRS_A_CHUNK, count)) for side in (0, 1)]


def _score_chunk(
    scorer: Scorer,
    pairs: LabelledPairs,
    chunk: Sequence[tuple[int, int]],
    pixels: np.ndarray,
    cache: MeasureCache,
) -> list[float]:
    """Scores of the chunk's images in order; what is not in the cache is scored and put there.

    `pixels`, (N, 2), holds the hashes of images that were seen; empty ones are filled in.
    """
    images: dict[tuple[int, int], Image.Image] = {}
    for place in chunk:
        if not pixels[place]:
            images[place] = _read(pairs, *place)
            pixels[place] = pixels_sha256(images[place])
    keys = [
        score_key(pixels[place].decode(), pairs.prompt(place[0]), scorer.info.fingerprint) for place in chunk
    ]
    known = cache.get(keys)
    missing = {key: place for key, place in zip(keys, chunk, strict=True) if key not in known}
    if missing:
        wanted = [images.get(place) or _read(pairs, *place) for place in missing.values()]
        scores = scorer.score(wanted, [pairs.prompt(i) for i, _ in missing.values()])
        for image, score in zip(wanted, scores, strict=True):
            if not np.isfinite(score):
                raise DataError(
                    f"{pairs.source}: the scorer {scorer.info.name} gave {score} for {image.filename}. A score must be "  # type: ignore[attr-defined]
                    "finite: look at the image, or leave its row out."
                )
        fresh = dict(zip(missing, (float(score) for score in scores), strict=True))
        cache.put(fresh)
        known |= fresh
    return [known[key] for key in keys]


def score_pairs(
    pairs: LabelledPairs,
    names: Sequence[str],
    cache: MeasureCache,
    *,
    load: Loader = load_scorer,
    stages: Stages = silent,
    device: str = "cpu",
    weights: Mapping[str, str] | None = None,
) -> dict[str, ImageScores]:
    """Scores by every scorer of `names`, one scorer in memory at a time.

    Args:
        pairs: N pairs.
        names: scorers as `load_scorer` knows them.
        cache: kept scores; written after every few pairs, so an interrupted command goes on.
        load: name -> scorer.
        stages: told how far it is.
        device: where the networks compute.
        weights: scorer -> path of local weights.

    Raises:
        DataError: an image that cannot be read, or a score that is not finite, naming image and row.
        UsageError, MissingWeightsError: an unknown scorer or absent weights.
    """
    found: dict[str, ImageScores] = {}
    pixels = np.zeros((len(pairs), 2), dtype="S64")  # sha256 in hex: 128 MB for a million pairs
    for name in dict.fromkeys(names):
        local = (weights or {}).get(name)
        scorer = load_scorer(name, weights=local, device=device) if load is load_scorer else load(name)
        values = np.empty((len(pairs), 2))
        with stages(f"Scores by {name}", len(pairs), "pairs") as advance:
            for chunk in _chunks(len(pairs)):
                for (i, side), score in zip(
                    chunk, _score_chunk(scorer, pairs, chunk, pixels, cache), strict=True
                ):
                    values[i, side] = score
                advance(len(chunk) // 2)
        found[name] = ImageScores(
            name,
            values,
            scorer.info.scale,
            _logit_scale(scorer),
            scorer.info.fingerprint,
            higher_is_better=scorer.info.direction == "higher",
        )
        del scorer
        release_memory(device)
    return found
