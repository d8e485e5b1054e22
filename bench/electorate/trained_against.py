"""Which scorers a checkpoint was trained against: they are no judges of it.

A checkpoint that was trained to please a scorer pleases it. In every comparison in which it takes part that scorer is
reported and does not vote. What counts is whose scores made the labels. A scorer that only chose which pairs stay (QSD,
FiFA, margin, the voters of Semi-DPO) is not taken from the record: name it where you think that it matters.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from prefbench.bench.exceptions import UsageError
from prefbench.bench.registry import unknown_name

__all__ = ["from_record", "refuse_without_voters", "resolve", "resolve_with_voters"]

RANKED_BY_VOTERS = ("rank_dpo",)
"""Methods whose constant `voters` names scorers that order the images; the labels are not read then."""


def from_record(training: Mapping[str, Any] | None, scorers: Sequence[str]) -> list[str]:
    """The scorers whose scores made the labels, by a checkpoint's training record (prefbench.json).

    Read is `composition.labels.electorate` (labels by a scorer or a vote); or, for a method of `RANKED_BY_VOTERS`, its
    constant `voters`, in place of the labels.

    Args:
        training: the record; None where there is none.
        scorers: of this comparison. A recorded `hpsv2.1@fp16` is also `hpsv2.1` here: the same weights, another
            preprocessing.

    Returns:
        Those of `scorers` that were trained against, in their order; then recorded ones that are not in this comparison.
    """
    record = training or {}
    labels = _nested(record, "composition", "labels", "electorate")
    named = [str(name) for name in labels] if isinstance(labels, list) else []
    voters = _nested(record, "constants", "voters", "value")
    if record.get("method") in RANKED_BY_VOTERS and isinstance(voters, str):
        named = [name.strip() for name in voters.split(",")]
    recorded = list(dict.fromkeys(name for name in named if name))
    stems = {_stem(name) for name in recorded}
    here = [name for name in scorers if _stem(name) in stems]
    known = {_stem(name) for name in here}
    return here + [name for name in recorded if _stem(name) not in known]


def _stem(scorer: str) -> str:
    return scorer.partition("@")[0]


def _nested(record: Mapping[str, Any], *keys: str) -> Any:
    value: Any = record
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def resolve(
    trainings: Mapping[str, Mapping[str, Any] | None],
    told: Mapping[str, Sequence[str]],
    scorers: Sequence[str],
) -> dict[str, list[str]]:
    """Checkpoint -> scorers it was trained against: what the user says, else what its record says.

    Args:
        trainings: checkpoint -> its training record, None where there is none.
        told: what the user says; an empty list says "none of them", whatever the record says. Entries of checkpoints
            that are not in `trainings` have no effect.
        scorers: of this comparison.

    Raises:
        UsageError: the user names a scorer that is not among `scorers`.
    """
    for checkpoint, names in told.items():
        for name in names:
            if name not in scorers:
                raise unknown_name(f"scorer that {checkpoint!r} was trained against", name, list(scorers))
    return {
        name: list(dict.fromkeys(told[name])) if name in told else from_record(training, scorers)
        for name, training in trainings.items()
    }


def refuse_without_voters(
    pairs: Collection[tuple[str, str]],
    voters: Sequence[str],
    held_out: Sequence[str],
    trained_against: Mapping[str, Sequence[str]],
) -> None:
    """Refuse a comparison in which every voter was trained against.

    Raises:
        UsageError: naming the first such comparison and what to do.
    """
    for a, b in pairs:
        barred = {*trained_against.get(a, ()), *trained_against.get(b, ())}
        if all(name in barred for name in voters):
            trained = [name for name in (a, b) if trained_against.get(name)]
            who = " and ".join(trained) + (" were" if len(trained) > 1 else " was")
            free = [name for name in held_out if name not in barred]
            others = f" (held out now: {', '.join(free)})" if free else ""
            raise UsageError(
                f"{a} against {b}: {who} trained against every voter ({', '.join(voters)}), so nobody is left to vote. "
                f"Let another scorer vote{others}. Or, to let these vote all the same, say so for the checkpoint: an "
                f"empty list under [trained_against] in the suite, or --trained-against NAME=none."
            )


def resolve_with_voters(
    trainings: Mapping[str, Mapping[str, Any] | None],
    told: Mapping[str, Sequence[str]],
    pairs: Collection[tuple[str, str]],
    voters: Sequence[str],
    held_out: Sequence[str],
) -> dict[str, list[str]]:
    """As `resolve`; refused where one of `pairs` is left without a voter.

    Raises:
        UsageError: as `resolve` and `refuse_without_voters`.
    """
    against = resolve(trainings, told, [*voters, *held_out])
    refuse_without_voters(pairs, voters, held_out, against)
    return against
