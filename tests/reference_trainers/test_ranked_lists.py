"""Lists of ranked images: out of pairs, into batches, through the loop."""

import doctest
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_disk import full_disk_at
from PIL import Image
from safetensors.torch import load_file

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.miniature.rankings import load_miniature_rankings
from prefbench.reference_trainers import offline, rank_dpo
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.data_order import ShuffledEpochs
from prefbench.reference_trainers.draws import Draws, micro_batches
from prefbench.reference_trainers.method import Constant, RankBatch
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.pair_feed import LIST_STRIDE, PairFeed
from prefbench.reference_trainers.preferences import ranked_lists as ranked_lists_module
from prefbench.reference_trainers.preferences.image_tensors import image_tensor
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs, Ties, labelled_pairs
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.preferences.ranked_lists import RankedLists, ranked_lists, win_shares
from prefbench.reference_trainers.recipes import Recipe, resolve_recipe
from prefbench.reference_trainers.training_steps import prepare_run, training_steps

CAT_AND_DOG = [
    ("a cat", "c1", "c2", 1.0),
    ("a dog", "d1", "d2", 0.0),
    ("a cat", "c3", "c1", 0.0),
    ("a cat", "c2", "c3", 0.5),
    ("a dog", "c1", "d1", 1.0),  # the name of a cat, of another prompt: another image
]


def pairs_of(rows: list[tuple[str, str, str, float]], ties: Ties = "drop") -> LabelledPairs:
    """Pairs by (prompt, name of image 0, name of image 1, label of image 0); the scorer "toy" scores by last digit."""
    names = [row[1:3] for row in rows]
    pairs = labelled_pairs(
        "by hand",
        [row[0] for row in rows],
        np.array([row[3] for row in rows]),
        lambda row, side: Image.new("RGB", (16, 16), (int(names[row][side][-1]) * 20, 0, 0)),
        lambda row, side: names[row][side],
        ties=ties,
    )
    scores = np.array([[float(name[-1]) for name in names[int(row)]] for row in pairs.rows])
    return replace(pairs, side_scores={"toy": scores, "inverse": -scores})


def named(pairs: LabelledPairs, lists: RankedLists) -> list[dict[str, float]]:
    return [
        {
            pairs.names(int(lists.pair[i]))[int(lists.side[i])]: float(lists.value[i])
            for i in lists.images(item)
        }
        for item in range(len(lists))
    ]


def listed(pairs: LabelledPairs, voters: tuple[str, ...] = (), longest: int | None = None) -> list[dict]:
    return named(pairs, ranked_lists(pairs, np.arange(len(pairs)), voters=voters, longest=longest))


def test_labels_rank_by_the_share_of_comparisons_won():
    """c1 beats c2 and c3, which tie; d2 beats d1, the cat's picture beats d1 and has no comparison with d2."""
    cat, dog = listed(pairs_of(CAT_AND_DOG, "keep"))
    assert cat == {"c1": 1.0, "c2": 0.25, "c3": 0.25}
    assert dog == {"d2": 1.0, "d1": 0.0, "c1": 1.0}
    assert listed(pairs_of(CAT_AND_DOG))[0] == {"c1": 1.0, "c2": 0.0, "c3": 0.0}


def test_voters_rank_whatever_the_labels_say():
    pairs = pairs_of(CAT_AND_DOG, "keep")
    assert listed(pairs, ("toy",))[0] == {"c1": 0.0, "c2": 0.5, "c3": 1.0}
    with pytest.raises(DataError, match="no prompt has two images of different rank"):
        listed(pairs, ("toy", "inverse"))
    with pytest.raises(UsageError, match=r"ranked by toy, other, .* carries no scores of other"):
        listed(pairs, ("toy", "other"))


def test_a_long_list_is_cut_into_lists_of_nearly_equal_length():
    """Seven images of which each beats the next: 3 + 2 + 2, and comparisons across a cut do not count."""
    chain = [("a cat", f"c{i}", f"c{i + 1}", 1.0) for i in range(1, 7)]
    assert listed(pairs_of(chain), longest=3) == [
        {"c1": 1.0, "c2": 0.5, "c3": 0.0},
        {"c4": 1.0, "c5": 0.0},
        {"c6": 1.0, "c7": 0.0},
    ]
    assert [len(found) for found in listed(pairs_of(chain), ("toy",), longest=4)] == [4, 3]


def test_win_shares_are_a_mean_over_voters_and_average_to_one_half():
    scores = np.random.default_rng(0).normal(size=(5, 7))
    by_voter = [[(row[i] > row).sum() / 6 for i in range(7)] for row in scores]
    assert win_shares(scores) == pytest.approx(np.mean(by_voter, axis=0))
    assert win_shares(scores).mean() == pytest.approx(0.5)


def test_real_rankings_come_as_whole_lists(reference_data: Path):
    """Ten annotators ranked nine or ten images of each of 40 prompts: 371 images."""
    pairs = open_preferences(str(reference_data / "hpdv2_test"), DataConfig(ties="keep"))
    rows = np.arange(len(pairs))
    lists = ranked_lists(pairs, rows, voters=(), longest=None)
    assert (len(lists), len(lists.pair)) == (40, 371)
    short = ranked_lists(pairs, rows, voters=(), longest=4)
    assert len(short.pair) <= 371
    assert set(np.diff(short.start)) <= {2, 3, 4}


def feed_of(pairs: LabelledPairs, lists: RankedLists, pipeline: Path, config: DataConfig) -> tuple[Any, Any]:
    order = ShuffledEpochs(0, len(lists), 2, 2)
    feed = PairFeed(
        open_backbone(str(pipeline)),
        pairs,
        np.arange(len(pairs)),
        config,
        seed=0,
        device=torch.device("cpu"),
        uses_loser=True,
        met=order.met(),
        lists=lists,
    )
    plan = micro_batches(
        seed=0, count=0, batch=2, micro_batch=2, first_step=0, steps=2, process=0, processes=1, order=order
    )
    return feed, plan


@pytest.mark.parametrize("cache", [False, True])
def test_a_batch_holds_every_image_of_its_lists(cache: bool, tiny_pipeline: Path):
    pairs = pairs_of([*CAT_AND_DOG, ("a bird", "b1", "b2", 0.0)], "keep")
    lists = ranked_lists(pairs, np.arange(len(pairs)), voters=("toy",), longest=None)
    feed, plan = feed_of(pairs, lists, tiny_pipeline, DataConfig(cache=cache))
    backbone, lengths = open_backbone(str(tiny_pipeline)), set()
    for micro, batch, _ in feed.stream(plan):
        assert isinstance(batch, RankBatch)
        images = [lists.images(index) for index in micro.indices]
        assert batch.place.tolist() == [place for place, found in enumerate(images) for _ in found]
        held = [(int(lists.pair[i]), int(lists.side[i])) for found in images for i in found]
        assert batch.value.tolist() == [lists.value[i] for found in images for i in found]
        rows = [row * LIST_STRIDE + i for row, found in enumerate(images) for i in range(len(found))]
        noise = Draws(0, micro.step, tuple(rows)).normal("vae_ranked", (4, 8, 8))
        pixels = [image_tensor((pairs.winner, pairs.loser)[side](pair), 16) for pair, side in held]
        expected = backbone.encode_images(torch.stack(pixels)).sample(noise)
        assert torch.allclose(batch.latents, expected, atol=1e-5)
        text = backbone.encode_prompts([pairs.prompt(pair) for pair, _ in held])["text"]
        assert torch.allclose(batch.condition["text"], text, atol=1e-5)
        lengths |= {len(found) for found in images}
    assert lengths == {2, 3}


def recipe_of(**values: Any) -> Recipe:
    own = {"kappa": 50, "voters": "none", "steps": 4, "batch": 2, "lr": 1e-3, "checkpoint_every": 2}
    given = {**own, "cache": True, **values}
    return resolve_recipe("rank_dpo", "miniature", {key: Constant(v, "test") for key, v in given.items()})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"reference": "refresh:1", "reference_cap": 10, "hflip": True, "cache": False, "workers": 2},
    ],
    ids=["fixed reference", "moving reference"],
)
def test_training_changes_the_weights(values: dict[str, Any], tiny_pipeline: Path):
    recipe = recipe_of(steps=2, **values)
    pairs = open_preferences("miniature:3x3", recipe.data)
    run = prepare_run(recipe, open_backbone(str(tiny_pipeline)), pairs)
    before = {name: value.detach().clone() for name, value in run.trained.trainable().items()}
    lines = list(training_steps(run))
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert lines[0]["images_a_list"] == 3
    assert lines[0]["implicit_accuracy"] == 0.5
    assert lines[0]["loss"] == pytest.approx(lines[0]["weight_a_list"] * np.log(2), rel=1e-5)
    assert any(not torch.equal(value, before[name]) for name, value in run.trained.trainable().items())
    assert all(line.get("reference_moves", 0) == number for number, line in enumerate(lines, 1)) == (
        "reference" in values
    )


def test_passes_of_one_list_make_the_steps_of_passes_of_two(tiny_pipeline: Path):
    losses = []
    for micro_batch in (1, 2):
        recipe = recipe_of(micro_batch=micro_batch, lr=1e-4)
        pairs = open_preferences("miniature:4x3", recipe.data)
        run = prepare_run(recipe, open_backbone(str(tiny_pipeline)), pairs)
        losses.append([line["loss"] for line in training_steps(run)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_run_that_broke_off_ends_as_one_that_did_not(tiny_pipeline: Path, tmp_path: Path):
    recipe = recipe_of(caption_dropout=0.3)
    places = {"backbone": str(tiny_pipeline), "data": "miniature:5x3"}

    with full_disk_at(4):
        train(recipe, **places, out=tmp_path / "broken")
    assert train(recipe, **places, out=tmp_path / "broken").resumed_from == 2
    card = train(recipe, **places, out=tmp_path / "whole").card
    weights = "unet/diffusion_pytorch_model.safetensors"
    one, other = (load_file(tmp_path / name / weights) for name in ("broken", "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("broken", "whole")]
    assert [json.loads(line)["loss"] for line in lines[0]] == [json.loads(line)["loss"] for line in lines[1]]
    assert (card["unit"], card["data"]["pairs"]) == ("ranking", 15)


def test_miniature_means_four_renders_a_prompt_for_this_method(
    tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Five prompts in place of 500, which take seconds to paint."""
    assert offline.MINIATURE_LISTS == "miniature:500x4"
    monkeypatch.setattr(offline, "MINIATURE_LISTS", "miniature:5x4")
    recipe = recipe_of(steps=1)
    card = train(recipe, backbone=str(tiny_pipeline), data="miniature", out=tmp_path / "out").card
    assert card["data"]["source"] == "miniature:5x4"
    assert card["last_step"]["images_a_list"] == 4


def test_the_renders_of_a_prompt_are_ranked_by_their_utility():
    """All six pairs of four renders, prompt after prompt; the winner is the one of higher utility."""
    world = load_miniature_rankings(6, 4)
    pairs = open_preferences("miniature:6x4", DataConfig())
    assert len(pairs) + pairs.counts.ties_dropped == 36
    for i in range(len(pairs)):
        item, better = int(pairs.rows[i]) // 6, np.asarray(pairs.winner(i))
        utility = dict(
            zip((image.tobytes() for image in world.images[item]), world.utility[item], strict=True)
        )
        assert pairs.prompt(i) == world.prompts[item]
        assert utility[better.tobytes()] > utility[np.asarray(pairs.loser(i)).tobytes()]
    again = open_preferences("miniature:6x4", DataConfig())
    assert pairs.sha256 == again.sha256 != open_preferences("miniature:7x4", DataConfig()).sha256


@pytest.mark.parametrize("spec", ["miniature:4x1", "miniature:0x4", "miniature:4x", "miniature:x4"])
def test_numbers_that_make_no_list_are_refused(spec: str):
    with pytest.raises(UsageError, match=r"numbers of prompts and of images of each, .*miniature:500x4"):
        open_preferences(spec, DataConfig())


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(ranked_lists_module) == (0, 1)


def test_labels_turned_round_are_refused_where_voters_rank():
    """The voters look at images, not at labels, so a run that says "flip 0.5" would be one without."""
    pairs = open_preferences("miniature:4x3", DataConfig(flip=0.5))
    config = rank_dpo.Config(kappa=50.0, voters="mini:clip", longest=None)
    with pytest.raises(UsageError, match="flip has no effect on rank_dpo"):
        rank_dpo.lists(pairs, np.arange(len(pairs)), config)
