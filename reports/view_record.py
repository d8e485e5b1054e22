"""What was run: suite, prompts, checkpoints, scorers; and the paragraph that can be pasted into a paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefbench.reports.view_facts import Facts
from prefbench.reports.view_numbers import Name, count, join_words, number_word, split_name

__all__ = ["CheckpointRecord", "Entry", "Record", "ScorerRecord", "facts_line", "methods_text", "record"]

UNKNOWN = "not recorded"


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
    training: tuple[Entry, ...]


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


def _text(value: Any) -> str:
    """A value of a card as text; nested tables keep their keys."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return str(value)


def _sampling(sampling: Mapping[str, Any] | None) -> str:
    if not sampling:
        return UNKNOWN
    parts = []
    if sampling.get("scheduler"):
        scheduler = str(sampling["scheduler"])
        parts.append("each pipeline's own scheduler" if scheduler == "pipeline default" else scheduler)
    if sampling.get("steps") is not None:
        parts.append(f"{sampling['steps']} steps")
    if sampling.get("guidance") is not None:
        parts.append(f"guidance {sampling['guidance']:g}")
    if sampling.get("width") and sampling.get("height"):
        parts.append(f"{sampling['width']} × {sampling['height']} pixels")
    if sampling.get("dtype"):
        parts.append(str(sampling["dtype"]))
    known = {"scheduler", "steps", "guidance", "width", "height", "dtype"}
    rest = {key: value for key, value in sampling.items() if key not in known and value not in (None, "")}
    parts += [f"{key.replace('_', ' ')} {_text(value)}" for key, value in rest.items()]
    return ", ".join(parts)


def _seeds(seeds: list[int]) -> str:
    if not seeds:
        return UNKNOWN
    listed = ", ".join(str(seed) for seed in seeds[:12])
    more = f" … ({len(seeds)} in all)" if len(seeds) > 12 else ""
    return listed + more


def _prompts(results: Mapping[str, Any]) -> str:
    """How many prompts; the statistics count a text given twice once, and so does this."""
    suite = results["suite"]
    distinct = count(suite["distinct_prompts"], "prompt")
    if suite["prompts"] == suite["distinct_prompts"]:
        return distinct
    return f"{distinct} ({suite['prompts']:,} with repetitions of the same text)"


def _seeds_per_prompt(results: Mapping[str, Any]) -> str:
    low, high = results["suite"]["seeds_per_prompt"]
    return count(low, "seed") if low == high else f"{low} to {high} seeds"


def facts_line(facts: Facts, results: Mapping[str, Any]) -> tuple[Entry, ...]:
    """The line of small facts at the foot of the first screen."""
    suite = results["suite"]
    entries = [
        Entry("Checkpoints", str(len(facts.checkpoints))),
        Entry("Prompts", f"{suite['distinct_prompts']:,}"),
        Entry("Seeds a prompt", _seeds_per_prompt(results).split(" seed")[0]),
        Entry("Sampling", _sampling(suite.get("sampling"))),
        Entry("Voters", str(len(facts.voters))),
        Entry("Held out", join_words([judge.name for judge in facts.held_out]) or "none"),
    ]
    if any(warning["kind"] == "one_training_seed" for warning in results["warnings"]):
        entries.append(Entry("Training seeds", "1 a method: a claim about checkpoints, not about methods"))
    return tuple(entry for entry in entries if entry.value != UNKNOWN)


def _checkpoint(facts: Facts, name: str, info: Mapping[str, Any]) -> CheckpointRecord:
    known = [
        ("spec", "Given as", True),
        ("kind", "Kind", False),
        ("identity", "Identity", True),
    ]
    entries = [Entry(term, _text(info[key]), code) for key, term, code in known if info.get(key)]
    others = set(info) - {key for key, _, _ in known} - {"training"}
    entries += [Entry(key, _text(info[key])) for key in sorted(others)]
    training = info.get("training") or {}
    first = [key for key in ("method", "kappa", "steps", "data") if key in training]
    rest = [key for key in training if key not in first]
    return CheckpointRecord(
        name=split_name(name),
        role="baseline" if name == facts.baseline else "",
        entries=tuple(entries),
        training=tuple(Entry(key.replace("_", " "), _text(training[key])) for key in [*first, *rest]),
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
        role=_text(info.get("role")),
        reads=_reads(info.get("prompt_blind")),
        variant=_text(info.get("variant")),
        scale="; ".join(scale),
        trained_on=_text(info.get("trained_on")),
        text_limit=text_limit,
        licence=_text(info.get("licence")),
        fingerprint=_text(info.get("fingerprint")),
    )


def _generation(facts: Facts, results: Mapping[str, Any]) -> str:
    suite = results["suite"]
    prompts = _prompts(results)
    names = join_words(facts.checkpoints)
    if not suite.get("sampling"):
        return (
            f"We compare {len(facts.checkpoints)} checkpoints ({names}) on {prompts}, from a table of "
            f"scores made "
            "elsewhere; how the images were generated is not recorded in it."
        )
    sets = join_words(
        [
            f"{s['name']} (version {s['version']}, sha256 {str(s['sha256'])[:12]})"
            for s in suite["prompt_sets"]
        ]
    )
    seeds = _seeds_per_prompt(results)
    return (
        f"We compare {len(facts.checkpoints)} checkpoints ({names}) on {prompts} of {sets or suite['name']}, "
        f"{seeds} a prompt. For the same prompt and seed every checkpoint starts from the same initial noise "
        f"({_sampling(suite['sampling'])})."
    )


def _voting(facts: Facts, results: Mapping[str, Any]) -> str:
    voters = join_words([judge.name for judge in facts.voters])
    blind = [judge.name for judge in facts.judges if judge.prompt_blind]
    text = (
        f"{number_word(len(facts.voters))} scorer{'s' if len(facts.voters) > 1 else ''} ({voters}) "
        f"judged every pair of images with the same prompt and seed; "
        "the majority vote is the sign of the sum of their votes. A win rate is the mean over pairs "
        "of win 1, tie ½, loss 0."
    )
    rule = results["suite"]["electorate"].get("tie_rule")
    if rule:
        text += f" Tie rule: {rule}."
    if facts.held_out:
        held = join_words([judge.name for judge in facts.held_out])
        text += f" Held out, reported and without a vote: {held}."
    if blind:
        text += f" {join_words(blind)} {'does' if len(blind) == 1 else 'do'} not read the prompt."
    return text


def _intervals(results: Mapping[str, Any]) -> str:
    intervals = results["intervals"]
    return f"{intervals['resamples']:,} resamples, seed {intervals['seed']}"


def _statistics(results: Mapping[str, Any]) -> str:
    method = str(results["intervals"]["method"]).rstrip(".")
    text = (
        f"Intervals ({_intervals(results)}): {method}. "
        "They speak of other prompts of this kind, not of other training runs."
    )
    agreement = results["agreement"]
    if agreement.get("mean_vote_correlation") is not None and agreement.get("effective_voters") is not None:
        text += (
            f" The votes of two scorers correlate by {agreement['mean_vote_correlation']:.2f} on "
            f"average, which makes "
            f"them worth {agreement['effective_voters']:.1f} independent voters."
        )
    return text + f" Computed with prefbench {results['prefbench']}."


def methods_text(facts: Facts, results: Mapping[str, Any]) -> tuple[str, ...]:
    """Three paragraphs for a methods section: images, votes, statistics."""
    return _generation(facts, results), _voting(facts, results), _statistics(results)


def record(facts: Facts, results: Mapping[str, Any]) -> Record:
    """The section of a results dict."""
    suite = results["suite"]
    return Record(
        entries=(
            Entry("Suite", str(suite["name"])),
            Entry("Made", str(results["created"])),
            Entry("prefbench", str(results["prefbench"])),
            Entry("Seeds", _seeds(list(suite["seeds"]))),
            Entry("Sampling", _sampling(suite.get("sampling"))),
            Entry("Tie rule", _text(suite["electorate"].get("tie_rule"))),
            Entry("Intervals", _intervals(results)),
        ),
        prompt_sets=tuple(
            (split_name(s["name"]), _text(s["version"]), f"{s['prompts']:,}", _text(s["sha256"]))
            for s in suite["prompt_sets"]
        ),
        checkpoints=tuple(
            _checkpoint(facts, name, results["checkpoints"][name]) for name in facts.checkpoints
        ),
        scorers=tuple(_scorer(judge.name, results["scorers"][judge.name]) for judge in facts.judges),
        methods=methods_text(facts, results),
    )
