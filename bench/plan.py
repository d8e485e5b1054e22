"""What a suite asks for: prompts, samples and their keys, and what of it a ledger already has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench.bench.checkpoints.checkpoint import Checkpoint
from prefbench.bench.exceptions import DataError
from prefbench.bench.prompts.prompt_set import Prompt, PromptSet, load_prompt_set, spread
from prefbench.bench.store.keys import score_key
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite

__all__ = ["CheckpointPlan", "Plan", "PlannedSet", "ScorerPlan", "make_plan", "plan_prompts", "wanted_images"]


@dataclass(frozen=True)
class PlannedSet:
    """A prompt set and those of its prompts that the suite's limit leaves."""

    source: PromptSet
    prompts: tuple[Prompt, ...]

    def as_dict(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return {
            "name": self.source.name,
            "version": self.source.version,
            "sha256": self.source.sha256,
            "prompts": len(self.prompts),
        }


@dataclass(frozen=True)
class CheckpointPlan:
    """Images of one checkpoint: how many different ones the suite needs, how many are there."""

    name: str
    wanted: int
    present: int


@dataclass(frozen=True)
class ScorerPlan:
    """Scores of one scorer. Scores of images that are not made yet count as missing."""

    name: str
    wanted: int
    present: int


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    prompts: int
    seeds: int
    checkpoints: tuple[CheckpointPlan, ...]
    scorers: tuple[ScorerPlan, ...]


def plan_prompts(suite: Suite, prompts_dir: Path | None) -> list[PlannedSet]:
    """Load the suite's prompt sets and apply its limit to each.

    Raises:
        DataError: a file is missing or wrong, or two sets use one id.
    """
    sets = []
    owner: dict[str, str] = {}
    for name in suite.prompts:
        source = load_prompt_set(name, prompts_dir)
        prompts = spread(source.prompts, suite.limit)
        for prompt in prompts:
            if prompt.id in owner:
                raise DataError(
                    f"The prompt sets {owner[prompt.id]} and {source.name} both have an id {prompt.id!r}. "
                    "Rename the ids of "
                    "one, or run the sets one by one."
                )
            owner[prompt.id] = source.name
        sets.append(PlannedSet(source, prompts))
    return sets


def wanted_images(
    checkpoint: Checkpoint, prompts: Sequence[Prompt], suite: Suite
) -> dict[str, tuple[Prompt, int]]:
    """Key -> (prompt, seed) of every different image, in the order of the suite.

    Seed by seed, prompt by prompt; fewer than samples where a prompt set repeats a text. The order depends
    on the suite alone, so a run that goes on makes the same batches as one that was never stopped.
    """
    images: dict[str, tuple[Prompt, int]] = {}
    for seed in suite.seeds:
        for prompt in prompts:
            images.setdefault(checkpoint.sample_key(prompt, seed, suite.sampling), (prompt, seed))
    return images


def make_plan(
    suite: Suite,
    prompts: Sequence[Prompt],
    checkpoints: Mapping[str, Checkpoint],
    fingerprints: Mapping[str, str],
    ledger: Ledger | None,
) -> Plan:
    """Count what is missing.

    Args:
        suite: what is asked for.
        prompts: after the limit.
        checkpoints: by name, checked.
        fingerprints: scorer name -> fingerprint.
        ledger: of the run folder; None if there is none yet.
    """
    made = ledger.images() if ledger else {}
    rows = []
    pairs: set[tuple[str, str]] = set()  # (pixels or, where not made, the image's key; prompt)
    for name, checkpoint in checkpoints.items():
        images = wanted_images(checkpoint, prompts, suite)
        rows.append(CheckpointPlan(name, len(images), sum(key in made for key in images)))
        for seed in suite.seeds:
            for prompt in prompts:
                key = checkpoint.sample_key(prompt, seed, suite.sampling)
                pairs.add((made[key].pixels if key in made else key, prompt.text))
    scorers = []
    for name, fingerprint in fingerprints.items():
        scored = ledger.scores(fingerprint) if ledger else {}
        present = sum(score_key(pixels, prompt, fingerprint) in scored for pixels, prompt in pairs)
        scorers.append(ScorerPlan(name, len(pairs), present))
    return Plan(len(prompts), len(suite.seeds), tuple(rows), tuple(scorers))
