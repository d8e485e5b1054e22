"""Several faulty renders of each prompt of the miniature world, with the truth that ranks them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from prefbench.bench.exceptions import UsageError
from prefbench.bench.miniature.render import codes_of, degrade, to_uint8
from prefbench.bench.miniature.scenes import sample_scenes
from prefbench.bench.miniature.truth import measure
from prefbench.bench.wording import count

__all__ = ["MiniatureRankings", "load_miniature_rankings"]


@dataclass(frozen=True)
class MiniatureRankings:
    """K renders of each of P prompts.

    Attributes:
        prompts: P captions; some stand more than once.
        images: uint8 (P, K, 32, 32, 3).
        utility: what the majority of annotators ranks by, (P, K).
    """

    prompts: list[str]
    images: NDArray[np.uint8]
    utility: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.prompts)


@lru_cache(maxsize=2)  # as load_pairs: a process that trains several methods paints the world once
def load_miniature_rankings(prompts: int, images: int, seed: int = 0) -> MiniatureRankings:
    """Paint them; the same arguments give the same bytes, and within a process the same arrays: do not write to them.

    Every prompt is a proper caption of the training split: no junk and no rewording, unlike `load_pairs`.

    Args:
        prompts: P.
        images: K, two or more.
        seed: scenes and faults.

    Raises:
        UsageError: no prompt, or fewer than two images.
    """
    if prompts < 1 or images < 2:
        raise UsageError(
            f"Miniature rankings: {count(prompts, 'prompt')} of {count(images, 'image')}; give one prompt or more and two images."
        )
    rng = np.random.default_rng([seed, 0x4A4C])
    scenes = sample_scenes(prompts, rng, "train")
    captions = [scene.caption for scene in scenes]
    codes = codes_of(scenes)
    painted = [to_uint8(degrade(codes, rng)) for _ in range(images)]
    utility = [measure(image.astype(np.float32) / np.float32(255), captions).utility for image in painted]
    return MiniatureRankings(captions, np.stack(painted, axis=1), np.stack(utility, axis=1))
