"""What is known of an original package's scorer before its process starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Architecture", "Original"]

Architecture = dict[str, Any] | str | PathLike[str] | None


@dataclass(frozen=True)
class Original:
    """One original, ready to be started."""

    package: str
    """Its name on the index, or of its README's example; `pins/` has a list of that name."""
    script: str
    """Its worker."""
    settings: dict[str, Any]
    """What the worker's docstring lists."""
    weights: str
    """sha256 of the weights."""
    licence: str
    scale: str
    trained_on: str
    token_limit: int
    too_long: Callable[[Sequence[str]], NDArray[np.bool_]]
    """Which of N prompts have more tokens than the original reads."""
    architecture: dict[str, Any]
    hub_cache: Path | None = None
    """Folder laid out as the hub's cache, for a package that asks the hub for its files."""
    library: str | None = None
    """Where the original is the example of a README and no package: the library that the example calls."""

    def title(self, versions: Mapping[str, str]) -> str:
        """What computes the scores, with its version, in a few words.

        Args:
            versions: of the packages in its environment.
        """
        if self.library is None:
            return f"{self.package} {versions[self.package]}"
        return f"{self.package} README, {self.library} {versions[self.library]}"
