"""What a run needs from a checkpoint, whatever its kind."""

from collections.abc import Sequence
from typing import Any, Protocol

from PIL import Image

from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.suite import Sampling

__all__ = ["Checkpoint", "Generator"]


class Generator(Protocol):
    """A checkpoint that is loaded and can draw."""

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
    ) -> list[Image.Image]:
        """One RGB image for each (prompt, seed), in order; all of them in one batch.

        Raises:
            DataError: an image came out with a non-finite value.
        """
        ...


class Checkpoint(Protocol):
    """A named SPEC that was found and identified, and is not loaded yet."""

    name: str
    spec: str
    kind: str
    """"pipeline", "lora", "unet", "npo" or "images"."""
    identity: dict[str, Any]
    """What decides its pixels: hashes of files, or a hub commit."""
    training: dict[str, Any] | None
    """The card that training wrote beside the weights, if there is one."""

    def check(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> None:
        """Fetch what is not here yet and look at all that can be wrong before the first image is made.

        Raises:
            DataError, MissingWeightsError: with what is wrong and where.
        """
        ...

    def size(self, sampling: Sampling) -> tuple[int, int]:
        """(width, height) in pixels of its images under these settings; call after `check`."""
        ...

    def sample_key(self, prompt: Prompt, seed: int, sampling: Sampling) -> str:
        """Key of one sample in the image store: sha256 over all that decides its pixels."""
        ...

    def truncated(self, prompts: Sequence[Prompt]) -> int | None:
        """How many prompts its text encoder cuts off; None where unknown. Call after `check`."""
        ...

    def load(self, device: str) -> Generator:
        """Read the weights.

        Raises:
            MissingWeightsError: the weights are corrupt or do not fit the architecture.
        """
        ...
