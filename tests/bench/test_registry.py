"""One name table: lazy, helpful about typing errors, strict about clashes."""

import sys
from importlib.metadata import EntryPoint

import pytest

from prefbench.bench.exceptions import PrefbenchError, UsageError
from prefbench.bench.registry import Registry


def _registry() -> Registry[object]:
    return Registry(
        "colour", {"red": "colorsys:rgb_to_hsv", "green": "no_such_module:x", "grey": "colorsys:nothing"}
    )


def test_a_name_resolves_only_when_asked_for() -> None:
    sys.modules.pop("colorsys", None)
    registry = _registry()
    assert "red" in registry
    assert "colorsys" not in sys.modules
    assert callable(registry.get("red"))
    assert "colorsys" in sys.modules


def test_an_unknown_name_is_answered_with_the_nearest_and_all_others() -> None:
    with pytest.raises(
        UsageError, match=r"Unknown colour 'gren'. Did you mean 'green'\? Known: green, grey, red\."
    ):
        _registry().get("gren")


def test_a_name_like_no_other_gets_the_list_and_no_guess() -> None:
    with pytest.raises(UsageError, match=r"Unknown colour 'zzzzzz'. Known: green"):
        _registry().get("zzzzzz")


@pytest.mark.parametrize("name", ["green", "grey"])
def test_a_broken_entry_stays_listed_and_says_why_when_asked_for(name: str) -> None:
    registry = _registry()
    assert name in registry.names()
    with pytest.raises(PrefbenchError, match=f"The colour '{name}' is broken: importing"):
        registry.get(name)


def test_a_plug_in_cannot_take_a_name_that_exists() -> None:
    registry = _registry()
    registry.add_entry_point(EntryPoint("blue", "colorsys:hsv_to_rgb", "group"))
    assert callable(registry.get("blue"))
    with pytest.raises(UsageError, match="Two colours are called 'red': colorsys:rgb_to_hsv and mine:red"):
        registry.add_entry_point(EntryPoint("red", "mine:red", "group"))


def test_an_open_name_answers_for_all_that_go_on_and_the_fuller_name_comes_first() -> None:
    registry: Registry[object] = Registry(
        "colour",
        {
            "mix:<any>": "colorsys:rgb_to_hsv",
            "mix:deep:<any>": "colorsys:hsv_to_rgb",
            "mix:red": "colorsys:rgb_to_hls",
        },
    )
    assert registry.target("mix:a/b@main") == "colorsys:rgb_to_hsv"
    assert registry.target("mix:deep:er") == "colorsys:hsv_to_rgb"
    assert registry.target("mix:red") == "colorsys:rgb_to_hls"
    assert "mix:redder" in registry
    assert callable(registry.get("mix:redder"))


@pytest.mark.parametrize("name", ["mix:", "mix:<any>"])
def test_an_open_name_with_nothing_filled_in_is_unknown(name: str) -> None:
    registry: Registry[object] = Registry("colour", {"mix:<any>": "colorsys:rgb_to_hsv"})
    assert name not in registry
    with pytest.raises(
        UsageError, match=f"The colour '{name}' lacks what is to stand for the <...> of 'mix:<any>'"
    ):
        registry.get(name)
