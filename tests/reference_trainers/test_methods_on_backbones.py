"""Every registered method trains on every kind of backbone, the whole UNet and LoRA: two steps of the real loop."""

import copy
import csv
import inspect
import math
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_pipelines import TINIEST, save_sd, save_sdxl

from prefbench.bench.miniature.pairs import load_pairs
from prefbench.reference_trainers import offline
from prefbench.reference_trainers.backbones.backbone import Backbone
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.draws import micro_batches
from prefbench.reference_trainers.method import Constant, Method, Nets
from prefbench.reference_trainers.offline import OfflineRun, prepare_run, training_steps
from prefbench.reference_trainers.progress import SilentProgress
from prefbench.reference_trainers.recipes import Recipe, known_settings, resolve_recipe
from prefbench.reference_trainers.registry import METHODS, load_method
from prefbench.reference_trainers.selection.composing import Composed

BACKBONES: dict[str, Callable[[Path], Path]] = {
    "sd1.5": partial(save_sd, size=TINIEST),
    "sd2.1": partial(save_sd, size=TINIEST, prediction_type="v_prediction"),
    "sd2.1-base": partial(save_sd, size=TINIEST, second=True),
    "sdxl": partial(save_sdxl, size=TINIEST),
}
RANKS = (None, 2)
# Without weight decay a weight moves only where a gradient reaches it.
SETTINGS: dict[str, Any] = {"steps": 2, "batch": 2, "lr": 1e-3, "weight_decay": 0.0, "cache": True}
FEW_PAIRS: dict[str, dict[str, Any]] = {
    "dpo_qsd": {"keep": "50%"},
    "fifa": {"keep": "50%"},
    "curriculum_dpo": {"chunks": 2, "every": 1, "threshold": 0.0, "floor": None},
    "semi_dpo": {"clean_steps": 1, "round_steps": 1, "percentile": 0},
}
"""What a recipe made for thousands of pairs and many steps needs for eighteen and two."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save(tmp_path_factory.mktemp("tiniest") / kind) for kind, save in BACKBONES.items()}


@pytest.fixture(scope="module")
def ranked_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images for each of six prompts, ranked by two annotators who agree: 18 pairs, or 6 rankings."""
    folder = tmp_path_factory.mktemp("ranked")
    world = load_pairs(n=18)
    with (folder / "rankings.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["instance", "prompt", "image", "rank_1", "rank_2"])
        for i in range(18):
            Image.fromarray(world.images_0[i]).resize((16, 16)).save(folder / f"{i}.png")
            rows.writerow([i // 3, world.prompts[i // 3], f"{i}.png", 1 + i % 3, 1 + i % 3])
    return folder


@pytest.fixture(scope="module")
def data_of(ranked_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Composed]:
    """What `train` makes of the data before it opens a network, once a method: scores, labels, selection."""
    cache = str(tmp_path_factory.mktemp("cache"))
    made: dict[str, Composed] = {}

    def composed(recipe: Recipe) -> Composed:
        if recipe.method not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PREFBENCH_CACHE", cache)
                made[recipe.method] = offline._composed(recipe, str(ranked_images), SilentProgress())
        return made[recipe.method]

    return composed


@lru_cache
def opened(folder: Path) -> Backbone:
    return open_backbone(str(folder))


def recipe_of(method: str, rank: int | None) -> Recipe:
    values = {**SETTINGS, **FEW_PAIRS.get(method, {}), "lora_rank": rank}
    if "kappa" in known_settings(load_method(method)):
        values["kappa"] = 10  # it multiplies the rounding of float32 as it does the logit
    return resolve_recipe(method, "miniature", {key: Constant(v, "test") for key, v in values.items()})


def start(recipe: Recipe, composed: Composed, folder: Path) -> OfflineRun:
    """As from a backbone just opened: only its UNet is changed by a run."""
    backbone = copy.copy(opened(folder))
    backbone.unet = copy.deepcopy(backbone.unet)
    return prepare_run(recipe, backbone, composed.pairs)


def first_loss_of_equal_networks(run: OfflineRun, folder: Path) -> float:
    """The method's own step on the run's first batch, with the network as it came in every part."""
    backbone = opened(folder)

    def policy(*inputs: Any) -> torch.Tensor:
        return backbone.predict(backbone.unet, *inputs)

    def still(*inputs: Any) -> torch.Tensor:
        with torch.no_grad():
            return policy(*inputs)

    nets = Nets(
        policy=policy,
        reference=still,
        alphas_cumprod=backbone.alphas_cumprod,
        prediction_type=backbone.prediction_type,
        shadows=(still,) * len(run.nets.shadows),
    )
    batch = run.loop.batch
    plan = micro_batches(
        seed=run.loop.seed,
        count=run.rows,
        batch=batch,
        micro_batch=batch,
        first_step=0,
        steps=1,
        process=0,
        processes=1,
        order=run.order,
    )
    _, data, draws = next(run.feed.stream(plan))
    return run.method.step(nets, data, draws, run.config).per_pair.mean().item()


def value_at_equality(method: Method, config: Any) -> float | None:
    """The loss where the policy's errors are the reference's, for losses of four errors and constants alone."""
    names = list(inspect.signature(method.loss).parameters.values())
    arrays = [p.name for p in names if p.kind is not p.KEYWORD_ONLY]
    constants = [p.name for p in names if p.kind is p.KEYWORD_ONLY]
    if arrays != ["mse_w", "mse_l", "ref_mse_w", "ref_mse_l"] or not all(
        hasattr(config, c) for c in constants
    ):
        return None
    w, l = torch.tensor([0.3, 1.7]), torch.tensor([0.9, 0.2])  # noqa: E741
    value = method.loss(w, l, w, l, **{name: getattr(config, name) for name in constants})
    first, second = value.per_pair.tolist()
    assert first == second, "the errors themselves must not matter"
    return first


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("rank", RANKS, ids=["full", "lora"])
@pytest.mark.parametrize("name", METHODS.names())
def test_two_steps_start_at_the_reference_and_move_every_weight_in_training(
    name: str,
    rank: int | None,
    kind: str,
    folders: dict[str, Path],
    data_of: Callable[[Recipe], Composed],
):
    method, recipe = load_method(name), recipe_of(name, rank)
    run = start(recipe, data_of(recipe), folders[kind])
    before = {key: value.detach().clone() for key, value in run.trained.trainable().items()}
    expected = first_loss_of_equal_networks(run, folders[kind])
    first, second = training_steps(run)
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in (first, second))
    assert first["loss"] == pytest.approx(expected, abs=2e-5)
    known = value_at_equality(method, recipe.config) if method.needs_reference else None
    assert known is None or first["loss"] == pytest.approx(known, abs=2e-5)
    still = [key for key, value in run.trained.trainable().items() if torch.equal(value, before[key])]
    assert not still, still


def test_the_loss_at_equality_is_known_for_most_methods():
    """Otherwise the test above could leave its last claim out for all of them."""
    methods = [(load_method(name), recipe_of(name, None)) for name in METHODS.names()]
    known = {m.name: value_at_equality(m, recipe.config) for m, recipe in methods}
    assert known["diffusion_dpo"] == pytest.approx(math.log(2))
    assert sum(value is not None for value in known.values()) >= 8
