"""What was run: suite, prompts, checkpoints, scorers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefbench.reports.view_facts import Facts
from prefbench.reports.view_methods import (
    UNKNOWN,
    intervals_text,
    methods_text,
    sampling_text,
    seed_list,
    seeds_text,
    text_of,
)
from prefbench.reports.view_numbers import Name, count, join_words, split_name

__all__ = ["CheckpointRecord", "Entry", "Record", "ScorerRecord", "facts_line", "record"]

# What a reader asks first of a training card, and how it is called here.
SUMMARY = {
    "method": "method",
    "kappa": "kappa",
    "base": "from",
    "lora_rank": "LoRA rank",
    "steps": "steps",
    "pairs_per_step": "pairs a step",
    "seed": "seed",
    "data": "data",
    "data.source": "data",
    "data.pairs": "pairs",
}


@dataclass(frozen=True)
class Entry:
    """A term and its value; `code` sets it in the typewriter face."""

    term: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class CheckpointRecord:
    """One checkpoint: what it was, and how it was trained as far as its training card says."""

    name: Name
    role: str
    entries: tuple[Entry, ...]
    identity: tuple[Entry, ...]
    training: tuple[Entry, ...]
    rest_of_card: tuple[Entry, ...]


@dataclass(frozen=True)
class ScorerRecord:
    """One row of the provenance table of scorers."""

    name: Name
    role: str
    reads: str
    variant: str
    scale: str
    trained_on: str
    text_limit: str
    licence: str
    fingerprint: str


@dataclass(frozen=True)
class Record:
    """The whole section."""

    entries: tuple[Entry, ...]
    prompt_sets: tuple[tuple[Name, str, str, str], ...]
    checkpoints: tuple[CheckpointRecord, ...]
    scorers: tuple[ScorerRecord, ...]
    methods: tuple[str, ...]


def _voters(facts: Facts) -> str:
    """How many vote; "3–4" where some comparisons lose a voter that was trained against."""
    counts = {len(facts.voting(row.a, row.b)) for row in facts.comparisons}
    return "–".join(str(number) for number in sorted({min(counts), max(counts)}))


def facts_line(facts: Facts, results: Mapping[str, Any]) -> tuple[Entry, ...]:
    """The line of small facts at the foot of the first screen."""
    suite = results["suite"]
    entries = [
        Entry("Checkpoints", str(len(facts.checkpoints))),
        Entry("Prompts", f"{suite['distinct_prompts']:,}"),
        Entry("Seeds a prompt", seeds_text(results).split(" seed")[0]),
        Entry("Sampling", sampling_text(suite.get("sampling"))),
        Entry("Voters", _voters(facts)),
        Entry("Held out", join_words([judge.name for judge in facts.held_out]) or "none"),
    ]
    if any(warning["kind"] == "one_training_seed" for warning in results["warnings"]):
        entries.append(Entry("Training seeds", "1 a method: a claim about checkpoints, not about methods"))
    return tuple(entry for entry in entries if entry.value != UNKNOWN)


def flatten(card: Mapping[str, Any], prefix: str = "") -> list[Entry]:
    """A nested card as entries with dotted terms; unknown values are left out, hashes are set as code.

    >>> [(e.term, e.value) for e in flatten({"steps": 150, "data": {"pairs": 3000}, "kappa": None})]
    [('steps', '150'), ('data.pairs', '3000')]
    """
    entries = []
    for key, value in card.items():
        if isinstance(value, Mapping):
            entries += flatten(value, f"{prefix}{key}.")
        elif value is not None and value != "":
            entries.append(Entry(f"{prefix}{key}", text_of(value), key.endswith(("sha256", "commit"))))
    return entries


def _training(card: Mapping[str, Any]) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """What decides most, and the rest of the card."""
    entries = {entry.term: entry for entry in flatten(card)}
    first = tuple(
        Entry(word, entries[term].value, entries[term].code)
        for term, word in SUMMARY.items()
        if term in entries
    )
    return first, tuple(entry for term, entry in entries.items() if term not in SUMMARY)


def _checkpoint(facts: Facts, name: str, info: Mapping[str, Any]) -> CheckpointRecord:
    entries = [
        Entry(term, str(info[key]), code)
        for key, term, code in (("spec", "Given as", True), ("kind", "Kind", False))
        if info.get(key)
    ]
    if info.get("trained_against"):
        entries.append(Entry("Trained against", join_words(info["trained_against"])))
    if info.get("truncated") is not None:
        entries.append(Entry("Prompts cut off", f"{info['truncated']:,} by its text encoder"))
    identity = info.get("identity") or {}
    if isinstance(identity, str):
        identity = {"sha256": identity}
    training, rest = _training(info.get("training") or {})
    return CheckpointRecord(
        name=split_name(name),
        role="baseline" if name == facts.baseline else "",
        entries=tuple(entries),
        identity=tuple(entry for entry in flatten(identity) if entry.term != "kind"),
        training=training,
        rest_of_card=rest,
    )


def _reads(prompt_blind: bool | None) -> str:
    if prompt_blind is None:
        return ""
    return "picture only" if prompt_blind else "picture and prompt"


def _scorer(name: str, info: Mapping[str, Any]) -> ScorerRecord:
    limit = info.get("token_limit")
    truncated = info.get("truncated")
    text_limit = f"{limit} tokens" if limit else UNKNOWN
    if info.get("prompt_blind"):
        text_limit = "reads no prompt"
    elif truncated is not None:
        text_limit += f"; {count(int(truncated), 'prompt')} truncated" if truncated else "; none truncated"
    scale = [str(info["scale"])] if info.get("scale") else []
    if info.get("direction") == "lower":
        scale.append("lower is better")
    return ScorerRecord(
        name=split_name(name),
        role=text_of(info.get("role")),
        reads=_reads(info.get("prompt_blind")),
        variant=text_of(info.get("variant")),
        scale="; ".join(scale),
        trained_on=text_of(info.get("trained_on")),
        text_limit=text_limit,
        licence=text_of(info.get("licence")),
        fingerprint=text_of(info.get("fingerprint")),
    )


def _rules(suite: Mapping[str, Any]) -> list[Entry]:
    """Tolerances of ties and planned slices, where there are any."""
    tolerance = suite["electorate"].get("tie_tolerance")
    planned = suite.get("planned_slices")
    entries = [Entry("Tie tolerance", text_of(tolerance))] if tolerance else []
    return entries + ([Entry("Planned slices", text_of(planned))] if planned else [])


def record(facts: Facts, results: Mapping[str, Any]) -> Record:
    """The section of a results dict."""
    suite, tests = results["suite"], results["intervals"].get("tests")
    return Record(
        entries=(
            Entry("Suite", str(suite["name"])),
            Entry("Made", str(results["created"])),
            Entry("prefbench", str(results["prefbench"])),
            Entry("Seeds", seed_list(list(suite["seeds"]))),
            Entry("Sampling", sampling_text(suite.get("sampling"))),
            Entry("Tie rule", text_of(suite["electorate"].get("tie_rule"))),
            *_rules(suite),
            Entry("Intervals", intervals_text(results)),
            *([Entry("Tests", str(tests))] if tests else []),
        ),
        prompt_sets=tuple(
            (split_name(s["name"]), text_of(s["version"]), f"{s['prompts']:,}", text_of(s["sha256"]))
            for s in suite["prompt_sets"]
        ),
        checkpoints=tuple(
            _checkpoint(facts, name, results["checkpoints"][name]) for name in facts.checkpoints
        ),
        scorers=tuple(_scorer(judge.name, results["scorers"][judge.name]) for judge in facts.judges),
        methods=methods_text(facts, results),
    )
