"""Votes brought to the prompts and seeds of a scores table."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from prefbench.bench.judges.checks import refuse
from prefbench.bench.people.votes_table import Judgements, check_judgements

__all__ = ["complete", "match_scores"]


def complete(judgements: Judgements) -> Judgements:
    """The same where every judgement has a prompt id: its text, in data without ids."""
    table = judgements.table.copy()
    absent = table["prompt_id"] == ""
    table.loc[absent, "prompt_id"] = table.loc[absent, "prompt"]
    return replace(judgements, table=table)


def match_scores(judgements: Judgements, scores: pd.DataFrame, source: Path) -> Judgements:
    """The same with the prompt ids, texts and seeds of a scores table.

    A prompt is found by its id, or by its text where the data has no ids; a seed that the data does not name is the one
    that the table has for the prompt.

    Args:
        judgements: as they were read.
        scores: a checked scores table.
        source: of the scores, for messages.

    Raises:
        DataError: a checkpoint, prompt or sample that the table does not have, a text that two of its ids share or that is
            not the id's, or a prompt with several seeds where the votes name none; each is named by row.
    """
    known = _Known(scores, source)
    table = judgements.table.copy()
    problems, ids, prompts, seeds = [], [], [], []
    columns = ("prompt_id", "prompt", "seed", "checkpoint_a", "checkpoint_b", "where")
    for prompt_id, prompt, seed, a, b, where in zip(*(table[name].tolist() for name in columns), strict=True):
        problem = known.checkpoint(a, "checkpoint_a") or known.checkpoint(b, "checkpoint_b")
        if not problem:
            prompt_id, problem = known.prompt(prompt_id, prompt)
        if not problem:
            seed, problem = known.seed(prompt_id, int(seed) if judgements.seeded else None)
        if not problem:
            problem = known.sample(a, prompt_id, seed) or known.sample(b, prompt_id, seed)
        if problem:
            problems.append(f"{where}: {problem}")
            continue
        ids.append(prompt_id)
        prompts.append(known.texts[prompt_id])
        seeds.append(seed)
    refuse(Path(judgements.source), problems, len(table))
    matched = replace(judgements, table=table.assign(prompt_id=ids, prompt=prompts, seed=seeds))
    check_judgements(matched)  # two ways of writing may turn out to be one sample
    return matched


class _Known:
    """What a scores table has scores of."""

    def __init__(self, scores: pd.DataFrame, source: Path) -> None:
        samples = scores[["checkpoint", "prompt_id", "seed", "prompt"]].drop_duplicates()
        self.source = source
        self.samples = set(zip(samples["checkpoint"], samples["prompt_id"], samples["seed"], strict=True))
        self.checkpoints = sorted(set(samples["checkpoint"]))
        self.texts = dict(zip(samples["prompt_id"], samples["prompt"], strict=True))
        self.ids: dict[str, list[str]] = {}
        for prompt_id, text in self.texts.items():
            self.ids.setdefault(text, []).append(prompt_id)
        self.seeds: dict[str, set[int]] = {}
        for prompt_id, seed in zip(samples["prompt_id"], samples["seed"], strict=True):
            self.seeds.setdefault(prompt_id, set()).add(int(seed))

    def checkpoint(self, name: str, column: str) -> str:
        if name in self.checkpoints:
            return ""
        return f"{column} is {name!r}, and {self.source} has {', '.join(map(repr, self.checkpoints))}"

    def prompt(self, prompt_id: str, prompt: str) -> tuple[str, str]:
        """The id in the table, and what is wrong."""
        if prompt_id:
            if prompt_id not in self.texts:
                return "", f"{self.source} has no prompt_id {prompt_id!r}"
            text = self.texts[prompt_id]
            if prompt not in ("", text):
                return (
                    "",
                    f"the prompt of prompt_id {prompt_id!r} is {prompt!r}, in {self.source} it is {text!r}",
                )
            return prompt_id, ""
        ids = self.ids.get(prompt, [])
        if len(ids) == 1:
            return ids[0], ""
        if not ids:
            return "", f"{self.source} has no prompt {prompt!r}"
        return "", f"the prompt {prompt!r} has several ids in {self.source}: {', '.join(ids)}; give prompt_id"

    def seed(self, prompt_id: str, seed: int | None) -> tuple[int, str]:
        """The seed in the table, and what is wrong."""
        found = sorted(self.seeds[prompt_id])
        if seed is not None:
            return seed, ""
        if len(found) == 1:
            return found[0], ""
        told = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        return 0, f"{self.source} has the seeds {told} of prompt {prompt_id!r}; give the votes a column seed"

    def sample(self, checkpoint: str, prompt_id: str, seed: int) -> str:
        if (checkpoint, prompt_id, seed) in self.samples:
            return ""
        return f"{self.source} has no score of {checkpoint!r} for prompt {prompt_id!r}, seed {seed}"
