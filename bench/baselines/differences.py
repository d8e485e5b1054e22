"""In what two checkpoints' scores differ that decides their numbers.

Four kinds of difference:

* prompts: ids or texts. The initial noise is keyed by the text, so a reworded prompt is another sample.
* seeds: of the prompts that both have.
* sampling: steps, guidance, scheduler, size, ...: two checkpoints drawn differently do not tell which is better.
* scorers: one that only one side has, or two fingerprints under one name.

Where one side's record lacks what the other states, that is a difference too: that they agree cannot be shown.
prefbench's own version is no kind: what decides a score is in the fingerprint (formula, weights, versions of the
libraries), what decides a picture in the settings and the checkpoint's identity, and a gate that stopped at every upgrade
would soon be run with everything allowed. The version is recorded and shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.bench.baselines.provenance import Provenance

__all__ = ["KINDS", "Difference", "capital", "differences", "in_sentences", "not_recorded"]

KINDS = ("prompts", "seeds", "sampling", "scorers")
"""What can differ, and be allowed."""

SHOWN = 3
"""Examples in a sentence before "and N more"."""

TOLD_APART = (
    "name",
    "role",
    "fingerprint",
    "truncated",
    "truncated_prompts",
    "failed",
    "precision",
    "licence",
)
"""Fields of a scorer's description that do not explain why two fingerprints differ."""


@dataclass(frozen=True)
class Difference:
    """One reason why numbers of two checkpoints would not be of the same thing."""

    kind: str
    """One of `KINDS`."""
    text: str
    """A clause without a full stop, which names both sides."""
    scorer: str | None = None
    """The scorer that it concerns; None where it concerns every number."""


def differences(candidate: Provenance, baseline: Provenance) -> list[Difference]:
    """All differences that decide a number, in the order of `KINDS`; each clause names both sides."""
    return [
        *_prompts(candidate, baseline),
        *_seeds(candidate, baseline),
        *_sampling(candidate, baseline),
        *_scorers(candidate, baseline),
    ]


def _kinds_of(found: Iterable[Difference]) -> list[str]:
    there = {each.kind for each in found}
    return [kind for kind in KINDS if kind in there]


def in_sentences(found: Sequence[Difference]) -> str:
    """One sentence a kind: "Seeds differ: ..."."""
    return " ".join(
        f"{capital(kind)} differ{'s' if kind == 'sampling' else ''}: "
        f"{'; '.join(each.text for each in found if each.kind == kind)}."
        for kind in _kinds_of(found)
    )


def capital(text: str) -> str:
    """With a capital letter first, the rest as it is."""
    return text[:1].upper() + text[1:]


def not_recorded(candidate: Provenance, baseline: Provenance) -> list[str]:
    """Sentences on what neither side tells: nothing contradicts, and nothing proves."""
    sentences = []
    if candidate.sampling is None and baseline.sampling is None:
        sentences.append(
            "Neither side records how its images were drawn, so sampling settings are taken to agree."
        )
    silent = [
        name
        for name, info in candidate.scorers.items()
        if name in baseline.scorers
        and not info.get("fingerprint")
        and not baseline.scorers[name].get("fingerprint")
    ]
    if silent:
        sentences.append(
            f"Neither side records a fingerprint of {', '.join(silent)}: equal names are taken to be equal scorers."
        )
    return sentences


def _prompts(candidate: Provenance, baseline: Provenance) -> Iterable[Difference]:
    ours, theirs = candidate.texts, baseline.texts
    clauses = []
    for mine, other, where in ((ours, theirs, candidate.source), (theirs, ours, baseline.source)):
        alone = [key for key in mine if key not in other]
        if alone:
            clauses.append(
                f"{len(alone):,} of {len(mine):,} prompt ids are only in {where} ({_first(alone)})"
            )
    changed = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    if changed:
        key = changed[0]
        clauses.append(
            f"{len(changed):,} of the ids in both have other texts ({_first(changed)}): {key} is {_quoted(ours[key])} in "
            f"{candidate.source} and {_quoted(theirs[key])} in {baseline.source}"
        )
    if clauses and set(ours.values()) == set(theirs.values()):
        clauses.append("the texts are the same under other ids")
    if clauses:
        yield Difference("prompts", "; ".join(clauses))


def _seeds(candidate: Provenance, baseline: Provenance) -> Iterable[Difference]:
    """Of the prompts that both have; a prompt of one side alone is a matter of prompts."""
    shared = candidate.texts.keys() & baseline.texts.keys()
    ours, theirs = ({s for s in side.samples if s[0] in shared} for side in (candidate, baseline))
    if ours == theirs:
        return
    seeds = [tuple(sorted({seed for _, seed in side})) for side in (ours, theirs)]
    if seeds[0] != seeds[1]:
        text = f"{_seed_list(seeds[0])} in {candidate.source} and {_seed_list(seeds[1])} in {baseline.source}"
    else:
        alone = sorted(ours ^ theirs)
        text = (
            f"{len(ours - theirs):,} (prompt, seed) are only in {candidate.source} and {len(theirs - ours):,} only in "
            f"{baseline.source} ({_first([f'{key} seed {seed}' for key, seed in alone])})"
        )
    yield Difference("seeds", text)


def _sampling(candidate: Provenance, baseline: Provenance) -> Iterable[Difference]:
    ours, theirs = candidate.sampling, baseline.sampling
    if ours is None and theirs is None:
        return
    if ours is None or theirs is None:
        silent, told = (candidate, baseline) if ours is None else (baseline, candidate)
        yield Difference(
            "sampling",
            f"{told.source} was drawn with {_settings(told.sampling or {})}, and {silent.source} does not say how",
        )
        return
    clauses = [
        f"{key} is {_value(ours, key)} in {candidate.source} and {_value(theirs, key)} in {baseline.source}"
        for key in dict.fromkeys((*ours, *theirs))
        if (key in ours, ours.get(key)) != (key in theirs, theirs.get(key))
    ]
    if clauses:
        yield Difference("sampling", "; ".join(clauses))


def _scorers(candidate: Provenance, baseline: Provenance) -> Iterable[Difference]:
    for mine, other in ((candidate, baseline), (baseline, candidate)):
        for name in mine.scorers:
            if name not in other.scorers:
                yield Difference("scorers", f"{name} scored only {mine.source}", name)
    for name in candidate.scorers:
        if name in baseline.scorers:
            text = _unlike(name, candidate, baseline)
            if text:
                yield Difference("scorers", text, name)


def _unlike(name: str, candidate: Provenance, baseline: Provenance) -> str | None:
    """How the scorer of this name differs between the two; None if it does not, or nobody can tell."""
    ours, theirs = candidate.scorers[name], baseline.scorers[name]
    mine, other = ours.get("fingerprint"), theirs.get("fingerprint")
    if mine == other:
        directions = {info.get("direction") or "higher" for info in (ours, theirs)}
        return (
            f"{name} counts higher as better in one and lower in the other" if len(directions) > 1 else None
        )
    if mine is None or other is None:
        silent = candidate if mine is None else baseline
        return f"{name} has a fingerprint on one side only, and {silent.source} does not say which scorer that was"
    fields = list(_unlike_fields(ours, theirs))
    why = "; ".join(
        f"its {key} is {_told(here)} in {candidate.source} and {_told(there)} in {baseline.source}"
        for key, here, there in fields[:SHOWN]
    )
    more = f"; {len(fields) - SHOWN} more of its fields differ" if len(fields) > SHOWN else ""
    unseen = "no recorded field differs, so it is its weights, its code or a library's version"
    return (
        f"{name} has the fingerprint {mine[:12]}… in {candidate.source} and {other[:12]}… in {baseline.source} "
        f"({why or unseen}{more})"
    )


def _told(value: Any) -> str:
    return "not set" if value is None else repr(value)


def _unlike_fields(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = ""
) -> Iterable[tuple[str, Any, Any]]:
    """Dotted name and both values of what differs between two descriptions, where both state it."""
    for key in ours:
        if (not prefix and key in TOLD_APART) or key not in theirs or ours[key] == theirs[key]:
            continue
        if isinstance(ours[key], Mapping) and isinstance(theirs[key], Mapping):
            yield from _unlike_fields(ours[key], theirs[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", ours[key], theirs[key]


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _quoted(text: str, longest: int = 60) -> str:
    return repr(text if len(text) <= longest else text[: longest - 1] + "…")


def _seed_list(seeds: Sequence[int]) -> str:
    more = f" ... {seeds[-1]} ({len(seeds)} seeds)" if len(seeds) > 2 * SHOWN else ""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds[: 2 * SHOWN if more else None]))}{more}"


def _settings(sampling: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(sampling, key)}" for key in list(sampling)[:SHOWN])


def _value(sampling: Mapping[str, Any], key: str) -> str:
    return repr(sampling[key]) if key in sampling else "not recorded"
