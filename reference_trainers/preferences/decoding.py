"""Every image that a run will meet, decoded once before its first step.

A file can be cut off behind a good header. Found at step 5000 it costs the run: with the file replaced the data is other
data, and the steps that were made belong to the old.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from prefbench.bench.exceptions import DataError
from prefbench.reference_trainers.preferences.image_files import UnreadableImageError
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs, problems_error
from prefbench.reference_trainers.selection.stages import Stages, silent

__all__ = ["check_images"]

IN_FLIGHT = 256
MOST_THREADS = 16
SHOWN_PROBLEMS = 100
"""More than for other faults: whoever mends them should not have to decode everything once more for the next ones."""

Image = tuple[int, int]
"""(pair, side): side 0 is the winner's image, 1 the loser's."""


def check_images(pairs: PreferencePairs, images: Iterable[Image], stages: Stages = silent) -> None:
    """Decode each different image once, on all cores.

    Args:
        pairs: the data.
        images: (pair, side) of each; side 0 is the winner's image, 1 the loser's.
        stages: told how far it is.

    Raises:
        DataError: images that cannot be decoded, each named with every row that shows it.
    """
    ordered = sorted(images)  # shards are read from front to back
    broken: set[bytes] = set()
    with (
        ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool,
        stages("Decoding every image once, before training", len(ordered), "images") as advance,
    ):
        for part, first in _different(pairs, ordered):
            failed = pool.map(lambda image: _problem(pairs, image), first.values())
            broken |= {key for key, problem in zip(first, failed, strict=True) if problem}
            advance(part)
    if broken:
        shown = [image for image in ordered if _key(pairs, image) in broken]
        problems = [problem for image in shown if (problem := _problem(pairs, image))]
        raise problems_error(pairs.source, problems, pairs.counts.rows, SHOWN_PROBLEMS)


def _different(pairs: PreferencePairs, images: list[Image]) -> Iterator[tuple[int, dict[bytes, Image]]]:
    """Parts of the list: how long, and its images that no part before had, by key."""
    seen: set[bytes] = set()
    rest = iter(images)
    while part := list(islice(rest, IN_FLIGHT)):
        new: dict[bytes, Image] = {}
        for image in part:
            key = _key(pairs, image)
            if key not in seen:
                seen.add(key)
                new[key] = image
        yield len(part), new


def _key(pairs: PreferencePairs, image: Image) -> bytes:
    """Equal for equal images; 16 bytes, because there may be millions."""
    return hashlib.blake2b(pairs.names(image[0])[image[1]].encode(), digest_size=16).digest()


def _problem(pairs: PreferencePairs, image: Image) -> str | None:
    pair, side = image
    try:
        (pairs.winner, pairs.loser)[side](pair)
    except UnreadableImageError as error:
        return error.problem.removeprefix(f"{pairs.source} ")
    except DataError as error:
        return str(error)
    return None
