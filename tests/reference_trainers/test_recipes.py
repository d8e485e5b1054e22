"""Recipes: values, sources, and what a user may write."""

import pytest

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.recipes import resolve_recipe
from prefbench.reference_trainers.registry import METHODS


def given(**values: object) -> dict[str, Constant]:
    return {key: Constant(value, "test") for key, value in values.items()}


@pytest.mark.parametrize("recipe", ["miniature", "launcher", "paper"])
@pytest.mark.parametrize("method", ["sft", "diffusion_dpo"])
def test_every_constant_of_every_recipe_has_a_source(method: str, recipe: str):
    constants = resolve_recipe(method, recipe).constants()
    assert all(constant["source"] for constant in constants.values())
    assert {"lr", "steps", "batch", "flip", "caption_dropout", "seed"} <= constants.keys()


def test_launcher_is_the_released_launcher():
    recipe = resolve_recipe("diffusion_dpo", "launcher")
    assert recipe.config.kappa == 2500
    assert recipe.loop.lr == pytest.approx(1e-8 * 2048)
    assert recipe.loop.batch == 16 * 128
    assert recipe.loop.warm_up * recipe.loop.steps == 500
    assert (recipe.data.caption_dropout, recipe.data.hflip) == (0.2, True)


def test_paper_differs_from_the_launcher_in_kappa_and_learning_rate():
    """The paper's text: (2000 / beta) x 2.048e-8 with beta 2000; SFT 1e-9."""
    assert resolve_recipe("diffusion_dpo", "paper").config.kappa == 1000
    assert resolve_recipe("diffusion_dpo", "paper").loop.lr == 2.048e-8
    assert resolve_recipe("sft", "paper").loop.lr == 1e-9


def test_lora_has_its_own_miniature_constants():
    full, lora = (resolve_recipe("diffusion_dpo", "miniature", g) for g in ({}, given(lora_rank=8)))
    assert (full.config.kappa, full.loop.lr) == (1000, 1e-4)
    assert (lora.config.kappa, lora.loop.lr, lora.loop.lora_rank) == (1500, 2e-3, 8)


def test_lora_under_a_full_fine_tuning_recipe_says_so():
    source = resolve_recipe("diffusion_dpo", "launcher", given(lora_rank=8)).sources["lora_rank"]
    assert "not chosen for LoRA" in source


def test_the_users_value_wins_and_is_named_as_the_source():
    recipe = resolve_recipe("diffusion_dpo", "miniature", {"lr": Constant("3e-5", "--lr")})
    assert recipe.constants()["lr"] == {"value": 3e-5, "source": "--lr"}


def test_cache_gives_way_to_mirroring_and_both_together_are_refused():
    assert resolve_recipe("sft", "miniature", cache=True).data.cache
    assert not resolve_recipe("sft", "launcher", cache=True).data.cache
    with pytest.raises(UsageError, match="hflip and cache exclude each other"):
        resolve_recipe("sft", "launcher", given(cache="true"))


@pytest.mark.parametrize(
    ("method", "recipe", "values", "message"),
    [
        ("difusion_dpo", "miniature", {}, "Did you mean 'diffusion_dpo'"),
        ("sft", "launchr", {}, "Did you mean 'launcher'"),
        ("sft", "miniature-lora", {}, "recipe of sft"),
        ("sft", "miniature", {"weight_decy": 1}, "Did you mean 'weight_decay'"),
        ("sft", "miniature", {"kappa": 1000}, "Unknown setting of sft 'kappa'"),
        ("diffusion_dpo", "miniature", {"kappa": "big"}, "kappa = 'big' .*valid number"),
        ("diffusion_dpo", "miniature", {"schedule": "cosine"}, "schedule = 'cosine'.*'constant' or 'linear'"),
        ("diffusion_dpo", "miniature", {"steps": "1.5"}, "steps = '1.5'.*integer"),
        ("diffusion_dpo", "miniature", {"flip": 1.5}, "flip = 1.5"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(method: str, recipe: str, values: dict, message: str):
    with pytest.raises(UsageError, match=message):
        resolve_recipe(method, recipe, given(**values))


def test_none_can_be_written_where_nothing_is_allowed():
    assert resolve_recipe("sft", "launcher", given(micro_batch="none")).loop.micro_batch is None


def test_methods_are_listed_without_importing_them():
    assert METHODS.names()[:2] == ["sft", "diffusion_dpo"]


def test_an_electorate_of_ones_own_inherits_no_tie_rule():
    """Four scorers with the rule drop stand in the method's file; two others can tie, and nobody said what then."""
    assert resolve_recipe("balanced_dpo", "miniature", {}).composition.tie_rule == "drop"
    own = {"electorate": Constant("mini:pickscore,mini:hpsv2", "test")}
    with pytest.raises(UsageError, match="An electorate of 2 scorers can tie, and there is no tie_rule"):
        resolve_recipe("balanced_dpo", "miniature", own)
    resolved = resolve_recipe("balanced_dpo", "miniature", own | {"tie_rule": Constant("human", "test")})
    assert resolved.composition.tie_rule == "human"
