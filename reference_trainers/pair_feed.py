"""From preference pairs to batches of latents and encoded prompts on the device."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.backbones.backbone import Backbone, Posterior
from prefbench.reference_trainers.draws import Draws, MicroBatch, pairs_drawn
from prefbench.reference_trainers.method import Condition, PairBatch
from prefbench.reference_trainers.preferences.image_tensors import image_tensor
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.preferences.opening import DataConfig

__all__ = ["PairFeed"]

CACHE_CHUNK = 32
MEMORY_SHARE = 0.7


class _Cache:
    """Latent distributions of images and encodings of their distinct prompts, in CPU memory.

    The distribution is cached, not a sample, so each step still draws its own latent and caching changes no
    number.
    """

    def __init__(
        self, backbone: Backbone, pairs: PreferencePairs, rows: Sequence[int], sides: Sequence[str], size: int
    ):
        prompts = sorted({pairs.prompt(row) for row in rows} | {""})
        self.prompt_index = {prompt: i for i, prompt in enumerate(prompts)}
        first = backbone.encode_prompts(prompts[:1])
        per_prompt = sum(value[0].nbytes for value in first.values())
        posterior = backbone.encode_images(self._pixels(pairs, rows[:1], sides[0], size))
        per_pair = 2 * posterior.mean[0].nbytes * len(sides)
        _check_memory(per_prompt * len(prompts) + per_pair * len(rows), len(rows))
        chunks = [
            backbone.encode_prompts(prompts[i : i + CACHE_CHUNK]) for i in range(0, len(prompts), CACHE_CHUNK)
        ]
        self.condition = {name: torch.cat([chunk[name].cpu() for chunk in chunks]) for name in first}
        self.place = {row: i for i, row in enumerate(rows)}
        self.posterior: dict[str, Posterior] = {}
        for side in sides:
            mean = torch.empty(len(rows), *posterior.mean.shape[1:])
            std = torch.empty_like(mean)
            for i in range(0, len(rows), CACHE_CHUNK):
                encoded = backbone.encode_images(self._pixels(pairs, rows[i : i + CACHE_CHUNK], side, size))
                mean[i : i + CACHE_CHUNK], std[i : i + CACHE_CHUNK] = encoded.mean.cpu(), encoded.std.cpu()
            self.posterior[side] = Posterior(mean, std)

    @staticmethod
    def _pixels(pairs: PreferencePairs, rows: Sequence[int], side: str, size: int) -> Tensor:
        return torch.stack([image_tensor(getattr(pairs, side)(row), size) for row in rows])


def _check_memory(needed: int, pairs: int) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY_SHARE * physical:
        raise UsageError(
            f"cache=true would hold {needed / 2**30:.1f} GiB of latents and prompt encodings of {pairs} "
            f"pairs, more than {MEMORY_SHARE:.0%} of this machine's {physical / 2**30:.1f} GiB. Set "
            "cache=false."
        )


class PairFeed:
    """Batches by micro-batch plan; all randomness comes from Draws.

    Args:
        backbone: encodes images and prompts.
        pairs: the data.
        rows: the rows that the method kept.
        cfg: cache, mirroring, caption dropout, resolution.
        seed: of the draws.
        device: where batches go.
        uses_loser: whether rejected images are wanted.
        draws: pairs that the whole run draws; a cache holds no pair that it never meets.
    """

    def __init__(
        self,
        backbone: Backbone,
        pairs: PreferencePairs,
        rows: np.ndarray,
        cfg: DataConfig,
        *,
        seed: int,
        device: torch.device,
        uses_loser: bool,
        draws: int,
    ) -> None:
        self._backbone, self._pairs, self._cfg, self._seed, self._device = backbone, pairs, cfg, seed, device
        self._rows = [int(row) for row in rows]
        self._sides = ("winner", "loser") if uses_loser else ("winner",)
        self._resolution = cfg.resolution or backbone.resolution
        self._cache: _Cache | None = None
        if cfg.cache:
            met = [self._rows[i] for i in pairs_drawn(seed, draws, len(self._rows))]
            self._cache = _Cache(backbone, pairs, met, self._sides, self._resolution)

    def stream(self, plan: Iterable[MicroBatch]) -> Iterator[tuple[MicroBatch, PairBatch, Draws]]:
        """The batches of the plan, in its order."""
        for micro, pixels in self._with_pixels(plan):
            draws = Draws(self._seed, micro.step, micro.rows, self._device)
            rows = [self._rows[i] for i in micro.indices]
            latents = {side: self._latents(side, rows, pixels, draws) for side in self._sides}
            yield (
                micro,
                PairBatch(latents["winner"], latents.get("loser"), self._condition(rows, draws)),
                draws,
            )

    def _with_pixels(self, plan: Iterable[MicroBatch]) -> Iterator[tuple[MicroBatch, dict[str, Tensor]]]:
        """Decoded images beside each micro-batch, decoded ahead by threads where asked; nothing if cached."""
        if self._cache is not None:
            yield from ((micro, {}) for micro in plan)
            return
        if self._cfg.workers == 0:
            yield from ((micro, self._decode(micro)) for micro in plan)
            return
        waiting: deque[tuple[MicroBatch, Future[dict[str, Tensor]]]] = deque()
        with ThreadPoolExecutor(self._cfg.workers) as pool:
            try:
                for micro in plan:
                    waiting.append((micro, pool.submit(self._decode, micro)))
                    if len(waiting) > 2 * self._cfg.workers:
                        ready, pixels = waiting.popleft()
                        yield ready, pixels.result()
                while waiting:
                    ready, pixels = waiting.popleft()
                    yield ready, pixels.result()
            finally:
                for _, pending in waiting:
                    pending.cancel()

    def _decode(self, micro: MicroBatch) -> dict[str, Tensor]:
        draws = Draws(self._seed, micro.step, micro.rows)
        out = {}
        for side in self._sides:
            mirror = (
                draws.uniform(f"mirror_{side}") < 0.5 if self._cfg.hflip else torch.zeros(len(micro.rows))
            )
            images = [getattr(self._pairs, side)(self._rows[i]) for i in micro.indices]
            out[side] = torch.stack(
                [
                    image_tensor(image, self._resolution, bool(m))
                    for image, m in zip(images, mirror, strict=True)
                ]
            )
        return out

    def _latents(self, side: str, rows: list[int], pixels: dict[str, Tensor], draws: Draws) -> Tensor:
        if self._cache is None:
            posterior = self._backbone.encode_images(pixels[side])
        else:
            places = [self._cache.place[row] for row in rows]
            cached = self._cache.posterior[side]
            posterior = Posterior(cached.mean[places].to(self._device), cached.std[places].to(self._device))
        return posterior.sample(draws.normal(f"vae_{side}", tuple(posterior.mean.shape[1:])))

    def _condition(self, rows: list[int], draws: Draws) -> Condition:
        prompts = [self._pairs.prompt(row) for row in rows]
        if self._cfg.caption_dropout:
            dropped = draws.uniform("caption") < self._cfg.caption_dropout
            prompts = ["" if drop else prompt for prompt, drop in zip(prompts, dropped, strict=True)]
        if self._cache is None:
            return self._backbone.encode_prompts(prompts)
        index = [self._cache.prompt_index[prompt] for prompt in prompts]
        return {name: value[index].to(self._device) for name, value in self._cache.condition.items()}
