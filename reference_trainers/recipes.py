"""Recipes: every constant of a run, each with where it is from.

A recipe is put together from the shared constants below, the method's own presets, and what the user gives,
in this order; the later wins and its source stands in the card.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pydantic

from prefbench.bench.exceptions import UsageError
from prefbench.bench.registry import unknown_name
from prefbench.reference_trainers.loop_config import LoopConfig
from prefbench.reference_trainers.method import Constant, Method
from prefbench.reference_trainers.preferences.opening import DataConfig
from prefbench.reference_trainers.reference_policy import ReferenceConfig
from prefbench.reference_trainers.registry import load_method
from prefbench.reference_trainers.selection.composition import Composition
from prefbench.reference_trainers.selection.presets import borrowed_constants, refuse_unread

__all__ = ["PARTS", "RECIPES", "Recipe", "known_settings", "resolve_recipe"]

PARTS: Mapping[str, type] = MappingProxyType(
    {
        "loop": LoopConfig,
        "data": DataConfig,
        "reference": ReferenceConfig,
        "composition": Composition,
    }
)
"""Parts of a recipe beside the method's own Config: attribute of Recipe -> dataclass; settings are flat over all."""

_CODE = "SalesforceAIResearch/DiffusionDPO@5233e75 launchers/sd15.sh and train.py [CODE]"
_PAPER = "arXiv 2311.12908 [PAPER]"
_NOT_IN_PAPER = f"not in the paper; taken from {_CODE}"
_OURS = "ours, measured in the miniature world"

_LAUNCHER = {
    "lr": Constant(2.048e-5, f"1e-8 with --scale_lr, times 2048 pairs a step: {_CODE}"),
    "steps": Constant(2000, f"max_train_steps: {_CODE}"),
    "batch": Constant(2048, f"16 GPUs x 1 pair x 128 accumulated: {_CODE}"),
    "micro_batch": Constant(1, _CODE),
    "schedule": Constant("constant", f"constant_with_warmup: {_CODE}"),
    "warm_up": Constant(0.25, f"500 of 2000 steps: {_CODE}"),
    "weight_decay": Constant(1e-2, _CODE),
    "beta1": Constant(0.9, _CODE),
    "beta2": Constant(0.999, _CODE),
    "clip": Constant(1.0, _CODE),
    "precision": Constant("fp16", _CODE),
    "caption_dropout": Constant(0.2, f"both images of a pair: {_CODE}"),
    "hflip": Constant(True, f"independent for each image: {_CODE}"),
}

_PAPER_SHARED = {
    **{
        name: dataclasses.replace(constant, source=_NOT_IN_PAPER)
        for name, constant in _LAUNCHER.items()
        if name != "lr"
    },
    "batch": Constant(2048, f"16 A100 x 1 x 128: {_PAPER}"),
    "micro_batch": Constant(1, _PAPER),
    "warm_up": Constant(0.25, f"25 % linear warm-up: {_PAPER}"),
    "precision": Constant("fp16", _PAPER),
}

_MINIATURE = {
    "lr": Constant(1e-4, f"{_OURS}: 4e-4 and above destroy the model"),
    "steps": Constant(120, "ours: three arms train, draw and report within five minutes on two cores"),
    "batch": Constant(16, _OURS),
    "schedule": Constant("linear", f"{_OURS}: decay to zero"),
    "warm_up": Constant(0.1, "ours"),
    "weight_decay": Constant(1e-2, f"ours, as the launcher: {_CODE}"),
    "beta1": Constant(0.9, f"ours, as the launcher: {_CODE}"),
    "beta2": Constant(0.999, f"ours, as the launcher: {_CODE}"),
    "clip": Constant(1.0, f"ours, as the launcher: {_CODE}"),
    "precision": Constant("fp32", "ours: trains on a CPU"),
    "caption_dropout": Constant(0.0, _OURS),
    "hflip": Constant(False, "ours: mirroring would make 'left of' false"),
    "checkpoint_every": Constant(50, "ours"),
}

RECIPES: Mapping[str, Mapping[str, Constant]] = MappingProxyType(
    {
        "miniature": _MINIATURE,
        "miniature-lora": {"lr": Constant(2e-3, f"{_OURS}, rank 8")},
        "launcher": _LAUNCHER,
        "paper": _PAPER_SHARED,
    }
)
"""Shared constants by recipe; "NAME-lora" holds what differs with LoRA."""


@dataclass(frozen=True)
class Recipe:
    """A method with every constant of a run.

    Attributes:
        method: name of the method.
        name: name of the recipe.
        config: the method's Config.
        loop: optimizer, schedule, batch.
        data: flips, captions, pixels.
        reference: what the reference network does during training.
        composition: who labels, and which pairs stay.
        sources: constant -> where it is from.
    """

    method: str
    name: str
    config: Any
    loop: LoopConfig
    data: DataConfig
    reference: ReferenceConfig
    composition: Composition
    sources: Mapping[str, str]

    def parts(self) -> tuple[Any, ...]:
        """The method's own constants, then the shared parts in the order of PARTS."""
        return (self.config, *(getattr(self, name) for name in PARTS))

    def constants(self) -> dict[str, dict[str, Any]]:
        """Every constant with value and source, the method's own first."""
        values = {
            field.name: getattr(part, field.name)
            for part in self.parts()
            for field in dataclasses.fields(part)
        }
        return {name: {"value": _json(value), "source": self.sources[name]} for name, value in values.items()}


def _json(value: Any) -> Any:
    """JSON has no infinity; `clip = inf` is written as text."""
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def known_settings(method: Method) -> dict[str, Any]:
    """Every setting that a recipe of this method has, with its type."""
    return {
        field.name: typing.get_type_hints(part)[field.name]
        for part in (method.Config, *PARTS.values())
        for field in dataclasses.fields(part)
    }


def _typed(name: str, constant: Constant, expected: Any) -> Any:
    """The value as the field's type; "none" for nothing where nothing is allowed."""
    value = constant.value
    if isinstance(value, str) and value.lower() == "none" and type(None) in typing.get_args(expected):
        value = None
    try:
        return pydantic.TypeAdapter(expected).validate_python(value)
    except pydantic.ValidationError as error:
        # Of several allowed kinds (cache: on, off or a place) the list of names says most.
        found = sorted(error.errors(), key=lambda one: one["type"] != "literal_error")
        reason = " or ".join(dict.fromkeys(one["msg"].lower() for one in found))
        raise UsageError(f"{name} = {constant.value!r} (from {constant.source}): {reason}.") from None


def _presets(method: Method, name: str, lora: bool) -> dict[str, Constant]:
    known = [key for key in method.presets if key in RECIPES and not key.endswith("-lora")]
    if name not in known:
        raise unknown_name(f"recipe of {method.name}", name, known)
    layers = [RECIPES[name], method.presets[name]]
    if lora:
        layers += [RECIPES.get(f"{name}-lora", {}), method.presets.get(f"{name}-lora", {})]
    return {key: constant for layer in layers for key, constant in layer.items()}


def _parts(method: Method, values: Mapping[str, Any], name: str) -> list[Any]:
    """The method's Config and the PARTS from flat values; every constant needs a value."""
    built = []
    for part in (method.Config, *PARTS.values()):
        fields = [field.name for field in dataclasses.fields(part)]
        required = {f.name for f in dataclasses.fields(part) if f.default is dataclasses.MISSING}
        absent = sorted(required - values.keys())
        if absent:
            raise UsageError(
                f"The recipe {name!r} of {method.name} has no value for {', '.join(absent)}: give it with "
                "--set."
            )
        built.append(part(**{key: values[key] for key in fields if key in values}))
    return built


def _check_reference(method: Method, reference: ReferenceConfig) -> None:
    if not method.needs_reference and reference.rule.kind != "fixed":
        raise UsageError(
            f"reference = {reference.reference}: {method.name} has no reference network that could move. Leave the "
            "setting out."
        )


def _check_ties(method: Method, data: DataConfig) -> None:
    if data.ties == "keep" and not method.accepts_ties:
        raise UsageError(
            f"ties = keep: {method.name} needs a winner and a loser in every pair. Set ties=drop to leave ties out, or "
            "ties=first_wins to count them as a win of the first image."
        )


def resolve_recipe(
    method_name: str, name: str, given: Mapping[str, Constant] | None = None, *, cache: bool = False
) -> Recipe:
    """Put a recipe together and check it.

    Args:
        method_name: as registered.
        name: "miniature", "launcher" or "paper".
        given: the user's constants with their source ("--lr"); values may be text, as from a command line.
        cache: whether images are encoded once before training where neither recipe nor user says; it gives
            way to mirroring, which a cached latent cannot follow.

    Raises:
        UsageError: unknown method, recipe or setting (nearest name first), a value of the wrong type or
            range.
    """
    method = load_method(method_name)
    types = known_settings(method)
    given = dict(given or {})
    for key in given:
        if key not in types:
            raise unknown_name(f"setting of {method_name}", key, list(types))
    typed = {key: _typed(key, constant, types[key]) for key, constant in given.items()}
    presets = _presets(method, name, lora=False)
    own_rank = presets["lora_rank"].value if "lora_rank" in presets else None
    lora = typed.get("lora_rank", own_rank) is not None
    if lora:
        presets = _presets(method, name, lora=True)
    presets |= borrowed_constants(presets, typed, name)
    if "electorate" in typed:
        # A tie rule chosen for one electorate is not silently that of another.
        presets.pop("tie_rule", None)
    values = {key: constant.value for key, constant in presets.items()} | typed
    sources = {key: "prefbench's default" for key in types}
    sources |= {key: constant.source for key, constant in presets.items()}
    sources |= {key: constant.source for key, constant in given.items()}
    if lora and f"{name}-lora" not in RECIPES and "lora_rank" not in presets:
        sources["lora_rank"] += (
            f"; the recipe {name!r} is full fine-tuning, its other constants were not chosen for LoRA"
        )
    if "cache" not in values:
        values["cache"] = cache and not values.get("hflip", False)
        sources["cache"] = "prefbench's default: on for the miniature data unless images are mirrored"
    config, *parts = _parts(method, values, name)
    recipe = Recipe(
        method_name, name, config, **dict(zip(PARTS, parts, strict=True)), sources=MappingProxyType(sources)
    )
    _check_reference(method, recipe.reference)
    _check_ties(method, recipe.data)
    refuse_unread(recipe.composition, given)
    return recipe
