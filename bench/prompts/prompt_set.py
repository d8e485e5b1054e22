"""What a prompt set is, and how a name or a path becomes one."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefbench.bench.exceptions import DataError
from prefbench.bench.prompts import PROMPT_SETS

__all__ = ["Prompt", "PromptSet", "PromptSource", "load_prompt_set", "prompts_sha256", "spread"]


@dataclass(frozen=True)
class Prompt:
    """One prompt. Results are sliced by `category` and `challenge`; None where the set has no such thing."""

    id: str
    text: str
    category: str | None = None
    challenge: str | None = None


@dataclass(frozen=True)
class PromptSet:
    """A loaded set. Ids are unique within it; texts need not be (28 rows of HPDv2 repeat another's)."""

    name: str
    version: str
    prompts: tuple[Prompt, ...]
    sha256: str
    """Of the file that it was read from; the set's module says how several files become one hash."""
    licence: str
    source: str

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for row, prompt in enumerate(self.prompts, start=1):
            if not prompt.text.strip():
                raise DataError(
                    f"Prompt set {self.name}, prompt {row} (id {prompt.id!r}): the text is empty. Fill it."
                )
            if prompt.id in seen:
                raise DataError(
                    f"Prompt set {self.name}, prompt {row}: the id {prompt.id!r} occurs twice. Ids must be "
                    "unique."
                )
            seen.add(prompt.id)
        if not self.prompts:
            raise DataError(f"Prompt set {self.name} holds no prompt.")


@dataclass(frozen=True)
class PromptSource:
    """A set that can be loaded: what `list prompts` shows without reading a file, and the loader."""

    name: str
    version: str
    size: int
    licence: str
    source: str
    load: Callable[[Path | None], PromptSet]
    """Takes the folder of `--prompts-dir` (or None) and returns the whole set."""


def load_prompt_set(name_or_path: str, prompts_dir: Path | None = None) -> PromptSet:
    """The set called `name_or_path`, or the user's own .csv or .txt file.

    Args:
        name_or_path: a registered name, or the path of a file.
        prompts_dir: where published prompt files lie; None means PREFBENCH_PROMPTS, then the hub.

    Raises:
        UsageError: no set has this name.
        DataError: the file is missing, has another sha256 than the published one, or a bad row.
    """
    if name_or_path in PROMPT_SETS:
        return PROMPT_SETS.get(name_or_path).load(prompts_dir)
    path = Path(name_or_path)
    if path.suffix.lower() in (".csv", ".txt") or path.exists():
        from prefbench.bench.prompts.own_file import read_own_prompts

        return read_own_prompts(path)
    return PROMPT_SETS.get(name_or_path).load(prompts_dir)  # raises, with the nearest name


def prompts_sha256(prompts: Sequence[Prompt]) -> str:
    """Hash over ids, texts, categories and challenges, for sets that are not read from a file."""
    rows = [[prompt.id, prompt.text, prompt.category, prompt.challenge] for prompt in prompts]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def spread(prompts: Sequence[Prompt], limit: int | None) -> tuple[Prompt, ...]:
    """At most `limit` prompts at even distances: the first of a sorted file would all be of one category.

    >>> [prompt.id for prompt in spread([Prompt(str(i), "x") for i in range(10)], 4)]
    ['0', '2', '5', '7']
    """
    if limit is None or limit >= len(prompts):
        return tuple(prompts)
    return tuple(prompts[index * len(prompts) // limit] for index in range(limit))
