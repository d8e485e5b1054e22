"""From preference pairs to batches of latents and encoded prompts on the device."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from prefbench.bench.exceptions import UsageError
from prefbench.bench.user_cache import cache_folder
from prefbench.reference_trainers.backbones.backbone import Backbone, Posterior
from prefbench.reference_trainers.disk_cache import DiskCache
from prefbench.reference_trainers.draws import Draws, MicroBatch
from prefbench.reference_trainers.encodings import EncodingPlan, Encodings, ImageRef
from prefbench.reference_trainers.memory_cache import MemoryCache
from prefbench.reference_trainers.method import Condition, ImageBatch, PairBatch, RankBatch
from prefbench.reference_trainers.preferences.image_tensors import image_tensor
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.preferences.opening import DataConfig
from prefbench.reference_trainers.preferences.ranked_lists import RankedLists
from prefbench.reference_trainers.preferences.single_images import SingleImages

__all__ = ["PairFeed"]

SIDES = ("winner", "loser")
LIST_STRIDE = 1 << 20
"""Image p of the list at row r of a batch draws its pixels and latent as row r * LIST_STRIDE + p."""


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
        met: units that the whole run meets (indices into `rows`, `images` or `lists`); a cache holds no other.
        images: the images of the rows one by one, for batches of single images; else None.
        lists: the images of the rows as lists, for batches of lists; else None.
        scorers: whose scores a batch of pairs carries.

    Raises:
        UsageError: the pairs carry no scores of one of `scorers`.
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
        met: np.ndarray,
        images: SingleImages | None = None,
        lists: RankedLists | None = None,
        scorers: Sequence[str] = (),
    ) -> None:
        self._backbone, self._pairs, self._cfg, self._seed, self._device = backbone, pairs, cfg, seed, device
        self._rows, self._images, self._lists = rows, images, lists
        self._uses_loser = uses_loser
        self._resolution = cfg.resolution or backbone.resolution
        self._scores = _scores_of(pairs, scorers)
        self._flipped = torch.from_numpy(np.asarray(pairs.flipped, dtype=bool))
        self._tied = torch.from_numpy(pairs.tied)
        self._cache: Encodings | None = None
        if cfg.cache:
            groups = [refs for _, refs in self._references(met)]
            plan = EncodingPlan(backbone, pairs, groups, self._resolution)
            on_disk = cfg.cache == "disk"
            self._cache = DiskCache(plan, cache_folder(cfg.cache_dir)) if on_disk else MemoryCache(plan)

    def images(self, units: np.ndarray) -> list[ImageRef]:
        """Every image that the batches of these units read."""
        return [ref for _, refs in self._references(units) for ref in refs]

    def stream(
        self, plan: Iterable[MicroBatch]
    ) -> Iterator[tuple[MicroBatch, PairBatch | ImageBatch | RankBatch, Draws]]:
        """The batches of the plan, in its order."""
        for micro, pixels in self._with_pixels(plan):
            draws = Draws(self._seed, micro.step, micro.rows, self._device)
            references = self._references(micro.indices)
            own = self._image_draws(micro, self._device)
            latents = {role: self._latents(role, refs, pixels, own) for role, refs in references}
            if self._lists is not None:
                yield micro, self._ranked(self._lists, micro, latents["ranked"], draws), draws
                continue
            rows = [ref.pair for ref in references[0][1]]
            condition = self._condition(rows, draws)
            if self._images is not None:
                label = np.where(self._images.desirable[list(micro.indices)], 1.0, -1.0)
                yield micro, ImageBatch(latents["image"], self._placed(label), condition), draws
                continue
            batch = PairBatch(
                latents["winner"],
                latents.get("loser"),
                condition,
                {name: values[rows].to(self._device) for name, values in self._scores.items()},
                self._flipped[rows].to(self._device),
                self._tied[rows].to(self._device),
            )
            yield micro, batch, draws

    def _ranked(self, lists: RankedLists, micro: MicroBatch, latents: Tensor, draws: Draws) -> RankBatch:
        held = [lists.images(index) for index in micro.indices]
        place = torch.repeat_interleave(torch.tensor([len(images) for images in held])).to(self._device)
        condition = self._condition([int(lists.pair[images[0]]) for images in held], draws)
        value = self._placed(np.concatenate([lists.value[list(images)] for images in held]))
        return RankBatch(latents, place, value, {name: each[place] for name, each in condition.items()})

    def _image_draws(self, micro: MicroBatch, device: torch.device) -> Draws:
        """Draws with one row an image: of pairs and single images, the row of the batch."""
        rows = micro.rows
        if self._lists is not None:
            held = zip(rows, (len(self._lists.images(index)) for index in micro.indices), strict=True)
            rows = tuple(row * LIST_STRIDE + place for row, count in held for place in range(count))
        return Draws(self._seed, micro.step, rows, device)

    def _placed(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).float().to(self._device)

    def _references(self, indices: Iterable[int]) -> list[tuple[str, list[ImageRef]]]:
        """Role of an image in the batch ("winner", "loser", "image", "ranked") and, in order, which images have it."""
        if self._lists is not None:
            places = [place for index in indices for place in self._lists.images(int(index))]
            return [
                ("ranked", [ImageRef(int(self._lists.pair[i]), int(self._lists.side[i])) for i in places])
            ]
        if self._images is not None:
            pair, side = self._images.pair, self._images.side
            return [("image", [ImageRef(int(pair[i]), int(side[i])) for i in indices])]
        rows = [int(self._rows[i]) for i in indices]
        roles = SIDES if self._uses_loser else SIDES[:1]
        return [(role, [ImageRef(row, side) for row in rows]) for side, role in enumerate(roles)]

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
        draws = self._image_draws(micro, torch.device("cpu"))
        readers = (self._pairs.winner, self._pairs.loser)
        out = {}
        for role, refs in self._references(micro.indices):
            mirror = draws.uniform(f"mirror_{role}") < 0.5 if self._cfg.hflip else torch.zeros(len(refs))
            out[role] = torch.stack(
                [
                    image_tensor(readers[ref.side](ref.pair), self._resolution, bool(m))
                    for ref, m in zip(refs, mirror, strict=True)
                ]
            )
        return out

    def _latents(self, role: str, refs: list[ImageRef], pixels: dict[str, Tensor], draws: Draws) -> Tensor:
        if self._cache is None:
            posterior = self._backbone.encode_images(pixels[role])
        else:
            cached = self._cache.posterior(refs)
            posterior = Posterior(cached.mean.to(self._device), cached.std.to(self._device))
        return posterior.sample(draws.normal(f"vae_{role}", tuple(posterior.mean.shape[1:])))

    def _condition(self, rows: list[int], draws: Draws) -> Condition:
        prompts = [self._pairs.prompt(row) for row in rows]
        if self._cfg.caption_dropout:
            dropped = draws.uniform("caption") < self._cfg.caption_dropout
            prompts = ["" if drop else prompt for prompt, drop in zip(prompts, dropped, strict=True)]
        if self._cache is None:
            return self._backbone.encode_prompts(prompts)
        return {name: value.to(self._device) for name, value in self._cache.condition(prompts).items()}


def _scores_of(pairs: PreferencePairs, scorers: Sequence[str]) -> dict[str, Tensor]:
    """Scorer -> scores of (winner, loser), (N, 2), float32."""
    if not scorers:
        return {}
    known = pairs.image_scores
    absent = [name for name in scorers if name not in known]
    if absent:
        raise UsageError(
            f"This method reads the scores of {', '.join(scorers)}, and {pairs.source} carries none of "
            f"{', '.join(absent)}. Train with `prefbench train`, which scores the pairs, or name a scorer whose scores "
            "the data has."
        )
    return {name: torch.from_numpy(np.asarray(known[name], dtype=np.float32)) for name in scorers}
