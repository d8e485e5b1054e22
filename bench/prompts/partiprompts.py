"""PartiPrompts (P2): 1,632 prompts in 12 categories and 11 challenges.

Yu et al., "Scaling Autoregressive Models for Content-Rich Text-to-Image Generation", 2022;
google-research/parti, `PartiPrompts.tsv` @5a65797, Apache-2.0. The file is tab-separated *without quoting*: a
prompt that begins with a quotation mark loses it in a default CSV reader.
"""

import csv
import io
from pathlib import Path

from prefbench.bench.prompts.files import published_file
from prefbench.bench.prompts.prompt_set import Prompt, PromptSet, PromptSource

__all__ = ["SHA256", "SOURCE", "load"]

SHA256 = "fab29e41bb512a169b56acab4cf2a41dcb675e285df2efcde6640c7dd3c440eb"
COMMIT = "5a657978134374ce28973948331b319adef164bd"
LICENCE = "Apache-2.0"
ORIGIN = f"google-research/parti PartiPrompts.tsv @{COMMIT[:7]}"


def load(prompts_dir: Path | None) -> PromptSet:
    """The whole set; ids are `parti-0000` to `parti-1631`, in file order.

    Raises:
        DataError: the file is missing or is not the published one.
    """
    data = published_file(
        "partiprompts/PartiPrompts.tsv",
        SHA256,
        prompts_dir=prompts_dir,
        where_from=f"PartiPrompts.tsv of github.com/google-research/parti at commit {COMMIT}",
    )
    rows = csv.DictReader(
        io.StringIO(data.decode("utf-8"), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    prompts = tuple(
        Prompt(f"parti-{index:04d}", row["Prompt"], row["Category"], row["Challenge"])
        for index, row in enumerate(rows)
    )
    return PromptSet("partiprompts", COMMIT[:7], prompts, SHA256, LICENCE, ORIGIN)


SOURCE = PromptSource("partiprompts", COMMIT[:7], 1632, LICENCE, ORIGIN, load)
