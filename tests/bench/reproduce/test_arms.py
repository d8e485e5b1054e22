from pathlib import Path

import pytest

from prefbench.bench.exceptions import UsageError
from prefbench.bench.miniature.pairs import load_pairs
from prefbench.bench.miniature.scenes import parse_caption
from prefbench.bench.prompts.prompt_set import load_prompt_set
from prefbench.bench.reproduce.arms import ARMS, Arm, choose_arms
from prefbench.bench.reproduce.jobs import Job, Size
from prefbench.reference_trainers.recipes import resolve_recipe
from prefbench.reference_trainers.registry import METHODS

BY_NAME = {arm.name: arm for arm in ARMS}


def job(arm: Arm, seed: int = 0, factor: float = 1.0, size: Size | None = None) -> Job:
    return Job(Path("unused"), arm, factor, seed, "reporting", size or Size())


def test_every_built_in_method_is_judged_and_every_judged_arm_names_a_control() -> None:
    built_in = [name for name in METHODS.names() if METHODS.target(name).startswith("prefbench.")]
    assert {arm.method for arm in ARMS if not arm.only_control} == set(built_in)
    assert len(BY_NAME) == len(ARMS)
    for arm in ARMS:
        assert bool(arm.controls) is not arm.only_control
        assert set(arm.controls) <= BY_NAME.keys() - {arm.name}
        assert arm.why


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_an_arm_is_its_methods_miniature_recipe_but_for_what_the_table_says(arm: Arm) -> None:
    constants = job(arm, seed=2).recipe().constants()
    plain = resolve_recipe(arm.method, "miniature", {}, cache=True).constants()
    differing = {name for name in plain if plain[name]["value"] != constants[name]["value"]}
    drawn = {"seed", "flip_seed", "select_seed"} | ({"export_every"} if arm.traced else set())
    assert differing - drawn <= set(arm.settings)
    for name, value in arm.settings.items():
        assert constants[name]["value"] == value


def test_arms_on_wrong_labels_and_their_control_share_the_wrong_ones() -> None:
    for arm in ARMS:
        if arm.settings.get("flip") == 0.3 and not arm.only_control:
            control = BY_NAME[arm.controls[0]]
            assert job(arm, seed=2).recipe().data == job(control, seed=2).recipe().data
            assert job(arm, seed=2).recipe().data.flip_seed == 2


def test_every_seed_draws_another_random_subset() -> None:
    subset = [job(BY_NAME["fifa_random"], seed=seed).recipe().composition.select_seed for seed in (0, 1)]
    assert subset == [0, 1]


def test_the_control_of_semi_dpo_never_reaches_the_pseudo_labels() -> None:
    recipe = job(BY_NAME["semi_dpo_clean"]).recipe()
    assert recipe.config.clean_steps >= recipe.loop.steps
    recipe = job(BY_NAME["semi_dpo"]).recipe()
    assert recipe.config.clean_steps < recipe.loop.steps


def test_a_factor_multiplies_the_recipes_own_learning_rate() -> None:
    """LoRA's 2e-3 in dpo_qsd, 1e-4 in sft."""
    assert job(BY_NAME["dpo_qsd"], factor=0.5).recipe().loop.lr == pytest.approx(1e-3)
    assert job(BY_NAME["sft"], factor=2.0).recipe().loop.lr == pytest.approx(2e-4)


def test_fewer_pairs_are_so_many_pairs_or_lists_of_four() -> None:
    """Four images make six pairs: ten lists have 60."""
    size = Size(pairs=60)
    assert job(BY_NAME["sft"], size=size).data == "miniature:60"
    assert job(BY_NAME["rank_dpo"], size=size).data == job(BY_NAME["diffusion_dpo_lists"], size=size).data
    assert job(BY_NAME["rank_dpo"], size=size).data == "miniature:10x4"


def test_a_method_brings_its_controls_and_not_the_controls_of_those() -> None:
    assert [arm.name for arm in choose_arms(["fifa"])] == ["fifa", "fifa_random", "fifa_margin"]
    assert [arm.name for arm in choose_arms(["dmpo"])] == ["diffusion_dpo", "dmpo"]
    assert choose_arms([]) == ARMS


def test_an_unknown_method_names_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"'adaptive_dop'.*Did you mean 'adaptive_dpo'"):
        choose_arms(["sft", "adaptive_dop"])


def test_constants_are_chosen_on_captions_that_are_neither_reported_nor_trained_on() -> None:
    tuning, reporting = (
        {prompt.text for prompt in load_prompt_set(name).prompts}
        for name in ("miniature-tuning", "miniature")
    )
    assert len(tuning) == len(reporting) == 200
    assert not tuning & reporting
    scenes = {parse_caption(text) for text in load_pairs(300).prompts}
    assert not {parse_caption(text) for text in tuning | reporting} & scenes
