"""Prompt sets: named, versioned, hashed lists of prompts.

Built-ins are the literal table below; third parties add an object of the same shape (`PromptSource`) through
the entry-point group `prefbench.prompts`. Texts are not shipped (see `prefbench.bench.prompts.files`).
"""

from typing import TYPE_CHECKING

from prefbench.bench.registry import Registry

if TYPE_CHECKING:
    from prefbench.bench.prompts.prompt_set import PromptSource

__all__ = ["PROMPT_SETS"]

PROMPT_SETS: "Registry[PromptSource]" = Registry(
    "prompt set",
    {
        "miniature": "prefbench.bench.prompts.miniature:SOURCE",
        "miniature-tuning": "prefbench.bench.prompts.miniature:TUNING",
        "partiprompts": "prefbench.bench.prompts.partiprompts:SOURCE",
        "hpdv2": "prefbench.bench.prompts.hpdv2:SOURCE",
    },
    group="prefbench.prompts",
)
