"""What every scorer can do. There is no base class: a scorer is any object with these members."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from prefbench.scorers.info import ScorerInfo

__all__ = ["ChecksPrompts", "ImageSource", "Keep", "MayFail", "Scorer"]

ImageSource = Image | str | PathLike[str]

Keep = Callable[[int, float], None]
"""Told the number of a pair and its score as soon as it is known."""


@runtime_checkable
class Scorer(Protocol):
    """(image, prompt) -> one float."""

    info: ScorerInfo
    batch_size: int
    """Pairs that pass through the network at once. It changes memory and speed, never a score."""

    def score(self, images: Sequence[ImageSource], prompts: Sequence[str]) -> NDArray[np.float64]:
        """Score image i under prompt i.

        Args:
            images: N PIL images or paths.
            prompts: N texts; a prompt-blind scorer takes them and ignores them.

        Returns: float64 array (N,), on the scale that `info.scale` states.

        Raises:
            DataError: an unreadable image, lists of unequal length or empty, or a score that is not finite.
        """
        ...

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which prompts are longer than the scorer reads, shape (N,)."""
        ...


@runtime_checkable
class ChecksPrompts(Protocol):
    """A scorer that cannot score every prompt: it is asked before images are drawn or other scorers run."""

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raises DataError with the first prompt that it cannot score; the caller adds where it stands."""
        ...


@runtime_checkable
class MayFail(Protocol):
    """A scorer that may have no score for a pair through no fault of the pair: it is asked by this where gaps are counted."""

    def score_or_reason(
        self, images: Sequence[ImageSource], prompts: Sequence[str], keep: Keep | None = None
    ) -> tuple[NDArray[np.float64], list[str]]:
        """Scores (N,) as of `Scorer.score`, NaN where there is none, and N reasons, "" where there is one.

        Args:
            images: N PIL images or paths.
            prompts: N texts.
            keep: called with every score as it comes: an answer that was paid for is not lost with those behind it.

        Raises: as `Scorer.score`, but for pairs without a score.
        """
        ...
