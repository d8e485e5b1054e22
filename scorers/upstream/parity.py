"""Originals and ports on the same random weights, images and prompts: by how much do they differ?

Small networks of the originals' own classes, their weights made large enough that every image and prompt moves the
score; real tokenizers and image sizes, so that preprocessing, tokenising, key names and formula are those of the
published scorers. What small random networks cannot show is a fault that needs the published sizes or weights.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.scorers.image_io import open_rgb
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream.originals import open_original
from prefbench.scorers.upstream.parity_inputs import PROMPTS, write_images
from prefbench.scorers.upstream.parity_models import SUBJECTS, Subject
from prefbench.scorers.upstream.process import Worker
from prefbench.scorers.upstream.scorer import start_worker

__all__ = ["Departure", "Parity", "run_parity"]

SEED = 0
PLAIN = "a sentence"
"""The prompt under which departures are shown."""


@dataclass(frozen=True)
class Departure:
    """An image with which the port does something else on purpose."""

    image: str
    original: float | str
    """Its score of the file as it is, or the error it raised."""
    port: float
    reason: str


@dataclass(frozen=True)
class Parity:
    """One original beside its port."""

    package: str
    title: str
    """The original with its version."""
    scorer: str
    versions: dict[str, str]
    limit: float
    """Largest absolute difference that is allowed."""
    pairs: int
    largest: float
    """Largest absolute difference of all pairs; of the images in `departures` as our decoder sees them."""
    worst: tuple[str, str]
    """Image and prompt of the largest difference."""
    spread: tuple[float, float]
    """Standard deviation of the original's scores over images and over prompts: what a difference is to be held against."""
    departures: list[Departure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Pairs that the original did not score although no departure is stated."""

    @property
    def holds(self) -> bool:
        """Every pair was scored by both, and no difference is above the limit."""
        return not self.failures and self.largest <= self.limit


def run_parity(package: str, advance: Callable[[int], None] = lambda _: None) -> Parity:
    """Compare one original with its port.

    Args:
        package: of `parity_models.SUBJECTS`; its environment is made where it is missing.
        advance: called with the number of images that are done; there are `len(IMAGES)`.

    Raises: UpstreamError, MissingDependencyError.
    """
    subject = SUBJECTS[package]
    with tempfile.TemporaryDirectory(prefix="prefbench-parity-") as name:
        folder = Path(name)
        weights = subject.prepare(folder)
        (folder / "wanted").mkdir()
        original = open_original(
            f"{subject.scorer}@upstream", weights, subject.architecture, "cpu", folder / "wanted"
        )
        if subject.made_by_worker:
            with start_worker(original, "cpu", make=True, seed=SEED) as maker:
                maker.start()
        port = load_scorer(subject.scorer, weights=weights, architecture=subject.architecture)
        (folder / "images").mkdir()
        images = write_images(folder / "images")
        with start_worker(original, "cpu") as worker:
            worker.start()
            rows = [_compare(subject, port, worker, title, path, advance) for title, path in images.items()]
            versions = worker.versions
    return _summarise(subject, original.title(versions), versions, list(images), rows)


@dataclass(frozen=True)
class _Row:
    """One image under every prompt."""

    original: list[float | str]
    port: np.ndarray
    departure: Departure | None


def _compare(
    subject: Subject, port: Any, worker: Worker, title: str, path: Path, advance: Callable[[int], None]
) -> _Row:
    prompts = list(PROMPTS.values())
    ours = port.score([path] * len(prompts), prompts)
    departure = None
    if title in subject.departures:
        as_it_is = worker.score([str(path)], [PROMPTS[PLAIN]])[0]
        departure = Departure(
            title, as_it_is, float(ours[list(PROMPTS).index(PLAIN)]), subject.departures[title]
        )
        decoded = subject.as_the_port_sees(open_rgb(path))
        path = path.with_name(f"{path.stem}-decoded.png")
        decoded.save(path)
    theirs = [worker.score([str(path)], [prompt])[0] for prompt in prompts]
    advance(1)
    return _Row(theirs, ours, departure)


def _summarise(
    subject: Subject, original: str, versions: dict[str, str], titles: list[str], rows: list[_Row]
) -> Parity:
    failures = [
        f"{title}, prompt {prompt!r}: {score}"
        for title, row in zip(titles, rows, strict=True)
        for prompt, score in zip(PROMPTS, row.original, strict=True)
        if isinstance(score, str)
    ]
    theirs = np.array([[np.nan if isinstance(s, str) else s for s in row.original] for row in rows])
    ours = np.stack([row.port for row in rows])
    differences = np.abs(theirs - ours)
    largest = float(np.nanmax(differences)) if not np.all(np.isnan(differences)) else float("inf")
    image, prompt = np.unravel_index(int(np.nanargmax(differences)), differences.shape)
    return Parity(
        package=subject.package,
        title=original,
        scorer=subject.scorer,
        versions=versions,
        limit=subject.limit,
        pairs=int(np.sum(~np.isnan(differences))),
        largest=largest,
        worst=(titles[int(image)], list(PROMPTS)[int(prompt)]),
        spread=(float(np.nanstd(theirs, axis=0).mean()), float(np.nanstd(theirs, axis=1).mean())),
        departures=[row.departure for row in rows if row.departure],
        failures=failures,
    )
