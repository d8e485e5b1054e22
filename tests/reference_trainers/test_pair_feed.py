"""What a batch carries besides latents: flips, scores, labels of single images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.data_order import ShuffledEpochs
from prefbench.reference_trainers.draws import Draws, micro_batches
from prefbench.reference_trainers.method import ImageBatch, PairBatch
from prefbench.reference_trainers.pair_feed import PairFeed
from prefbench.reference_trainers.preferences.image_tensors import image_tensor
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.preferences.single_images import single_images


def scored(manifest: Path, **data: Any) -> LabelledPairs:
    """Image 0 of row i scores i, image 1 scores -i."""
    pairs = open_preferences(str(manifest), DataConfig(**data))
    values = np.stack([pairs.rows, -pairs.rows], axis=1).astype(np.float64)
    return replace(pairs, side_scores={"toy": values, "unused": values})


def batches(
    pairs: LabelledPairs, pipeline: Path, *, images: bool = False, **options: Any
) -> tuple[list[tuple[int, ...]], list[Any]]:
    config = options.pop("config", DataConfig())
    rows = options.pop("rows", np.arange(len(pairs)))
    single = single_images(pairs, rows) if images else None
    order = ShuffledEpochs(0, len(single) if single else len(rows), 4, 3)
    feed = PairFeed(
        open_backbone(str(pipeline)),
        pairs,
        rows,
        config,
        seed=0,
        device=torch.device("cpu"),
        uses_loser=True,
        met=order.met(),
        images=single,
        **options,
    )
    plan = micro_batches(
        seed=0, count=0, batch=4, micro_batch=2, first_step=0, steps=3, process=0, processes=1, order=order
    )
    stream = list(feed.stream(plan))
    return [micro.indices for micro, _, _ in stream], [batch for _, batch, _ in stream]


@pytest.mark.parametrize("cache", [False, True])
def test_flips_and_scores_stand_beside_their_pairs(cache: bool, tiny_pipeline: Path, manifest: Path):
    pairs = scored(manifest, flip=0.4, flip_seed=3)
    rows = np.arange(2, 10)
    indices, made = batches(pairs, tiny_pipeline, rows=rows, scorers=("toy",), config=DataConfig(cache=cache))
    assert pairs.flipped[rows].any()
    assert not pairs.flipped[rows].all()
    for places, batch in zip(indices, made, strict=True):
        held = rows[list(places)]
        assert isinstance(batch, PairBatch)
        assert batch.flipped is not None
        assert batch.flipped.dtype == torch.bool
        assert batch.flipped.tolist() == pairs.flipped[held].tolist()
        assert list(batch.scores) == ["toy"]
        assert batch.scores["toy"].dtype == torch.float32
        sign = np.where(pairs.winner_side[held] == 0, 1, -1)
        assert batch.scores["toy"].tolist() == [
            [float(s * r), float(-s * r)] for s, r in zip(sign, held, strict=True)
        ]


def test_scores_that_the_pairs_lack_are_named(tiny_pipeline: Path, manifest: Path):
    with pytest.raises(UsageError, match=r"reads the scores of toy, absent, and .* carries none of absent"):
        batches(scored(manifest), tiny_pipeline, scorers=("toy", "absent"))


@pytest.mark.parametrize("cache", [False, True])
def test_single_images_come_with_their_own_latents_prompts_and_labels(
    cache: bool, tiny_pipeline: Path, manifest: Path
):
    pairs = scored(manifest)
    images = single_images(pairs, np.arange(len(pairs)))
    assert len(images) == 20
    assert images.desirable.sum() == 10
    indices, made = batches(pairs, tiny_pipeline, images=True, config=DataConfig(cache=cache))
    backbone = open_backbone(str(tiny_pipeline))
    for number, (places, batch) in enumerate(zip(indices, made, strict=True)):
        assert isinstance(batch, ImageBatch)
        assert batch.label.tolist() == [1.0 if images.desirable[i] else -1.0 for i in places]
        rows = tuple(range(2 * (number % 2), 2 * (number % 2) + 2))
        noise = Draws(0, number // 2, rows).normal("vae_image", (4, 8, 8))
        readers = (pairs.winner, pairs.loser)
        pixels = [image_tensor(readers[images.side[i]](int(images.pair[i])), 16) for i in places]
        assert torch.allclose(
            batch.latents, backbone.encode_images(torch.stack(pixels)).sample(noise), atol=1e-5
        )
        text = backbone.encode_prompts([pairs.prompt(int(images.pair[i])) for i in places])["text"]
        assert torch.allclose(batch.condition["text"], text, atol=1e-5)


def test_mirroring_and_dropout_reach_single_images(tiny_pipeline: Path, manifest: Path):
    pairs = scored(manifest)
    _, plain = batches(pairs, tiny_pipeline, images=True)
    _, turned = batches(pairs, tiny_pipeline, images=True, config=DataConfig(hflip=True, caption_dropout=1.0))
    empty = open_backbone(str(tiny_pipeline)).encode_prompts([""])["text"][0]
    changed = [
        not torch.allclose(a.latents, b.latents, atol=1e-3) for a, b in zip(plain, turned, strict=True)
    ]
    assert any(changed)
    assert all(torch.allclose(row, empty, atol=1e-5) for batch in turned for row in batch.condition["text"])


def test_images_that_ten_people_ranked_come_once_each(reference_data: Path):
    """371 images ranked by ten people: every one is desirable that wins any of the pairs, and no image is doubled."""
    pairs = open_preferences(str(reference_data / "hpdv2_test"), DataConfig())
    images = single_images(pairs, np.arange(len(pairs)))
    names = [pairs.names(int(pair))[side] for pair, side in zip(images.pair, images.side, strict=True)]
    assert len(set(names)) == len(names) == 371
    winners = {pairs.names(i)[0] for i in range(len(pairs))}
    assert {name for name, good in zip(names, images.desirable, strict=True) if good} == winners
    assert 0 < images.desirable.sum() < 371
