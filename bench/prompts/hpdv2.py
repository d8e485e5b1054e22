"""HPDv2 benchmark prompts: 4 styles x 800.

Wu et al., "Human Preference Score v2", 2023; hub dataset zhwang/HPDv2, `benchmark/<style>.json`, Apache-2.0.
The style is the category. 28 of the 3,200 rows repeat another row's text (3,172 distinct), so a row is known
by style and index: its id is `<style>/<index, 5 digits>`, which is also the official file name of its image.
"""

import hashlib
import json
from pathlib import Path

from prefbench.bench.prompts.files import published_file
from prefbench.bench.prompts.prompt_set import Prompt, PromptSet, PromptSource

__all__ = ["SHA256", "SOURCE", "load"]

REPOSITORY = "zhwang/HPDv2"
REVISION = "b9517430f34b1080d4f741118d2a440155a165cd"
LICENCE = "Apache-2.0"
ORIGIN = f"hub dataset {REPOSITORY} benchmark/<style>.json @{REVISION[:7]}"

SHA256 = {
    "anime": "6b38a479cc6f899866e9b7a8bf91f096b4afc6883b95275a61891327182b14ae",
    "concept-art": "530d057deafcb82c581e9d1be2ffcb98828fe99f0b54257414d2ab8a5cf2b83e",
    "paintings": "6570d39467e08b24b64e5b8a4177b0f61c525631121dc5a91fe2ab956eab4d5f",
    "photo": "92a3c9a0f743f66eb87bd112cdda830d6bdb4c073c86021d53b74001fcb18052",
}
"""Of each official file, in the order in which the styles are run."""


def load(prompts_dir: Path | None) -> PromptSet:
    """The whole set, styles one after the other.

    The set's sha256 is that of the lines `<style> <sha256 of its file>`.

    Raises:
        DataError: a file is missing, cannot be fetched, or is not the published one.
    """
    prompts: list[Prompt] = []
    for style, sha256 in SHA256.items():
        data = published_file(
            f"hpdv2_benchmark/{style}.json",
            sha256,
            prompts_dir=prompts_dir,
            where_from=f"benchmark/{style}.json of the hub dataset {REPOSITORY} at revision {REVISION}",
            hub=(REPOSITORY, REVISION, f"benchmark/{style}.json"),
        )
        prompts += [
            Prompt(f"{style}/{index:05d}", text, category=style)
            for index, text in enumerate(json.loads(data))
        ]
    lines = "".join(f"{style} {sha256}\n" for style, sha256 in SHA256.items())
    digest = hashlib.sha256(lines.encode()).hexdigest()
    return PromptSet("hpdv2", REVISION[:7], tuple(prompts), digest, LICENCE, ORIGIN)


SOURCE = PromptSource("hpdv2", REVISION[:7], 3200, LICENCE, ORIGIN, load)
