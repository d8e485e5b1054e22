"""The table of backbones beside the registry, and the loaded scorers' own word."""

import pytest

from prefbench.scorers.backbones import BACKBONES, PROMPT_BLIND, backbone_of, is_prompt_blind
from prefbench.scorers.registry import TABLE, VARIANTS, load_scorer

OF_NOTHING = {"mini:pickscore", "mini:imagereward", "mini:truth"}
"""Began with random weights, or have none."""


def test_every_registered_scorer_has_a_backbone_but_those_that_began_with_nothing():
    assert {name for name in TABLE if backbone_of(name) is None} == OF_NOTHING


def test_every_entry_is_of_a_registered_scorer():
    for name in BACKBONES:
        base, _, variant = name.partition("@")
        assert any(known == base or known.startswith(f"{base}:") for known in TABLE), name
        assert not variant or variant in VARIANTS[base]


def test_the_towers_of_the_aesthetic_heads_are_those_that_the_scorer_loads():
    from prefbench.scorers.aesthetic import HEADS

    loaded = {f"{version}@{variant}": tower for (version, variant), (_, tower) in HEADS.items()}
    size = {"openai-vit-l-14": "L/14", "openai-vit-b-32": "B/32", "openai-vit-b-16": "B/16"}
    assert {name: backbone_of(name) for name in loaded} == {
        name: f"CLIP ViT-{size[tower]} (OpenAI)" for name, tower in loaded.items()
    }


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("hpsv2.1@legacy-noaa", "CLIP ViT-H/14 (LAION-2B)"),
        ("hpsv2.1@upstream", "CLIP ViT-H/14 (LAION-2B)"),
        ("aesthetic.v1@vit-b-32", "CLIP ViT-B/32 (OpenAI)"),
        ("clip:openai-vit-b-32:cos100", "CLIP ViT-B/32 (OpenAI)"),
        ("vqascore.vlm:Qwen/Qwen2-VL-7B-Instruct@abc", "Qwen/Qwen2-VL-7B-Instruct"),
        ("judge:http://host:8000/v1#Qwen/Qwen2-VL-7B-Instruct", "Qwen/Qwen2-VL-7B-Instruct"),
        ("judge:http://host:8000/v1", None),
        ("hpsv2", None),
        ("", None),
    ],
)
def test_backbone_of_a_name(name, backbone):
    assert backbone_of(name) == backbone


@pytest.mark.parametrize(
    "name", ["mini:clip", "mini:hpsv2", "mini:aesthetic", "mini:pickscore", "mini:truth"]
)
def test_a_loaded_scorer_says_its_backbone_and_its_name_says_the_same_of_the_prompt(name):
    info = load_scorer(name).info
    assert info.as_dict()["backbone"] == backbone_of(name)
    assert info.prompt_blind == is_prompt_blind(name) == (name in PROMPT_BLIND)
