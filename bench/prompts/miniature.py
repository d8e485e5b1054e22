"""Prompts of the miniature world: captions that its base was not trained on, made by the world itself."""

from pathlib import Path

from prefbench.bench.prompts.prompt_set import Prompt, PromptSet, PromptSource, prompts_sha256

__all__ = ["SOURCE", "load"]

VERSION = "1"
LICENCE = "Apache-2.0"
ORIGIN = "prefbench.bench.miniature.prompts"


def load(prompts_dir: Path | None) -> PromptSet:
    """The whole set; it needs no file, so `prompts_dir` is not read. Its sha256 is over all fields."""
    from prefbench.bench.miniature.prompts import miniature_prompts

    prompts = tuple(Prompt(*row) for row in miniature_prompts())
    return PromptSet("miniature", VERSION, prompts, prompts_sha256(prompts), LICENCE, ORIGIN)


SOURCE = PromptSource("miniature", VERSION, 200, LICENCE, ORIGIN, load)
