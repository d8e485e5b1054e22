"""Which checkpoints are trainings of one method that differ in their seed alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.bench.exceptions import UsageError
from prefbench.bench.registry import unknown_name

__all__ = ["TrainingGroup", "named_groups", "training_groups"]

BARE = ("method", "recipe", "lora_rank", "base")
"""What tells trainings apart where a card has no `config`."""


@dataclass(frozen=True)
class TrainingGroup:
    """Trainings of one method."""

    name: str
    """The method's; with what differs where several groups have the same; of one training its checkpoint's."""
    checkpoints: tuple[str, ...]
    seeds: tuple[Any, ...] | None
    """Training seed of each; None where a checkpoint's card does not tell."""


def training_groups(checkpoints: Mapping[str, Mapping[str, Any]]) -> list[TrainingGroup]:
    """Group checkpoints by their training records; those without one are in no group.

    A group has the same method and the same constants, seeds aside: the seed of the training and those of what is drawn
    for it (wrong labels, random subsets). Where these draw the data, its hash may differ, too.

    Args:
        checkpoints: name -> entry of results.json, whose "training" is the card of the training or None.

    Returns:
        In the order of their first checkpoints. A checkpoint whose seed its group has already is another name of the same
        training, and stays out of the group.
    """
    found: dict[str, dict[Any, str]] = {}
    constants: dict[str, dict[str, Any]] = {}
    for name, info in checkpoints.items():
        card = info.get("training")
        if card:
            deciding = _constants(card)
            key = json.dumps(deciding, sort_keys=True, default=str)
            constants[key] = deciding
            found.setdefault(key, {}).setdefault(card.get("seed"), name)
    names = _names(
        {key: group for key, group in found.items() if len(group) > 1}, constants, set(checkpoints)
    )
    return [
        TrainingGroup(names.get(key, next(iter(group.values()))), tuple(group.values()), tuple(group))
        for key, group in found.items()
    ]


def named_groups(
    told: Mapping[str, Sequence[str]], checkpoints: Mapping[str, Mapping[str, Any]]
) -> list[TrainingGroup]:
    """The groups that a user names. Seeds are those of the cards, if every checkpoint of the group has one.

    Raises:
        UsageError: an unknown checkpoint, one named twice, a single one, or a name that a checkpoint outside the group has.
    """
    used: dict[str, str] = {}
    groups = []
    for method, members in told.items():
        for name in members:
            if name not in checkpoints:
                raise unknown_name("checkpoint", name, sorted(checkpoints))
            if name in used:
                raise UsageError(
                    f"--method {method}: checkpoint {name!r} stands in --method {used[name]} already, or twice in this one. "
                    "Each is one training of one method."
                )
            used[name] = method
        if len(members) < 2:
            raise UsageError(
                f"--method {method} names {len(members)} checkpoint{'' if members else 's'}. A method takes two trainings or "
                "more; a checkpoint that stands alone needs no --method."
            )
        if method in checkpoints and method not in members:
            raise UsageError(
                f"--method {method}: a checkpoint that is not among its trainings has this name. Call the method otherwise."
            )
        if next(iter(checkpoints)) in members:
            raise UsageError(
                f"--method {method}: {next(iter(checkpoints))!r} is the baseline that verdicts are against, and would be held "
                "against itself. Leave it out of the method, or choose another baseline."
            )
        cards = [checkpoints[name].get("training") or {} for name in members]
        seeds = tuple(card.get("seed") for card in cards)
        groups.append(TrainingGroup(method, tuple(members), None if None in seeds else seeds))
    return groups


def _constants(card: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a training but its seeds; a constant that is null is as one that the card does not know."""
    config = card.get("config")
    if not isinstance(config, Mapping):
        return {key: card[key] for key in BARE if card.get(key) is not None}
    flat = _flat(config) | {key: card[key] for key in ("method", "recipe") if card.get(key) is not None}
    last = {key.rpartition(".")[2]: value for key, value in flat.items()}
    drawn_data = last.get("flip") or last.get("select") or last.get("control")
    return {
        key: value
        for key, value in flat.items()
        if not key.endswith("seed") and not (drawn_data and key == "data.sha256")
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = value
    return found


def _names(
    several: Mapping[str, Any], constants: Mapping[str, Mapping[str, Any]], taken: set[str]
) -> dict[str, str]:
    """A name for each group: its method, and the constants in which it differs from others of that method."""
    names: dict[str, str] = {}
    for key in several:
        method = str(constants[key].get("method", "method"))
        alike = [constants[k] for k in several if str(constants[k].get("method", "method")) == method]
        differing = [
            c for c in sorted({c for k in alike for c in k}) if len({str(k.get(c)) for k in alike}) > 1
        ]
        said = ", ".join(f"{c.rpartition('.')[2]} {constants[key].get(c)}" for c in differing)
        name = f"{method} ({said})" if said else method
        names[key] = f"{name} (method)" if name in taken else name
        taken = taken | {names[key]}
    return names
