"""Prompts of the miniature world: captions that its base was not trained on, made by the world itself.

`miniature` is for reporting; `miniature-tuning`, other captions, for choosing constants before that.
"""

from pathlib import Path

from prefbench.bench.prompts.prompt_set import Prompt, PromptSet, PromptSource, prompts_sha256

__all__ = ["SOURCE", "TUNING", "load", "load_tuning"]

VERSION = "1"
LICENCE = "Apache-2.0"
ORIGIN = "prefbench.bench.miniature.prompts"


def load(prompts_dir: Path | None) -> PromptSet:
    """The whole set; it needs no file, so `prompts_dir` is not read. Its sha256 is over all fields."""
    return _set("miniature", "test")


def load_tuning(prompts_dir: Path | None) -> PromptSet:
    """The captions on which constants are chosen; like `load` otherwise."""
    return _set("miniature-tuning", "validation")


def _set(name: str, split: str) -> PromptSet:
    from prefbench.bench.miniature.prompts import miniature_prompts

    prompts = tuple(Prompt(*row) for row in miniature_prompts(split))
    return PromptSet(name, VERSION, prompts, prompts_sha256(prompts), LICENCE, ORIGIN)


SOURCE = PromptSource("miniature", VERSION, 200, LICENCE, ORIGIN, load)
TUNING = PromptSource("miniature-tuning", VERSION, 200, LICENCE, ORIGIN, load_tuning)
