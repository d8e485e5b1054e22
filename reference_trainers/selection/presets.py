"""Constants of labels and selections, wherever they are used: each stands once, in the file of its method.

`prefbench train diffusion_dpo --select fifa` takes FiFA's constants from the method `fifa`, with their sources.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.registry import load_method
from prefbench.reference_trainers.selection.composition import AGGREGATIONS, SELECTIONS, Composition

__all__ = ["borrowed_constants", "refuse_unread"]

_LABELS = ("electorate", "tie_rule")
_SELECT = (
    "select_scorer",
    "psi_scale",
    "keep",
    "keep_of",
    "quality_weight",
    "diversity_weight",
    "neighbour",
    "text_quality",
    "text_embedding",
)
_MARGIN = ("select_scorer",)
_OWNERS = {"qsd": ("dpo_qsd", _SELECT), "fifa": ("fifa", _SELECT), "margin": ("fifa", (*_MARGIN, "keep_of"))}
_OWNERS |= {"random": ("dpo_qsd", ("keep_of",))}


def borrowed_constants(
    presets: Mapping[str, Constant], given: Mapping[str, Any], recipe: str
) -> dict[str, Constant]:
    """Constants of the labels and the selection that the user chose and the method's own preset does not have.

    Args:
        presets: the method's constants in this recipe.
        given: what the user set.
        recipe: "miniature", "launcher" or "paper".
    """
    found: dict[str, Constant] = {}

    def borrow(owner: str, names: Iterable[str]) -> None:
        constants = load_method(owner).presets[recipe]
        found.update({name: constants[name] for name in names if name in constants and name not in found})

    def chosen(name: str, default: str) -> tuple[str, bool]:
        own = presets[name].value if name in presets else default
        return given.get(name, own), given.get(name, own) == own and name in presets

    select, own_select = chosen("select", "none")
    if select in _OWNERS and not own_select:
        borrow(*_OWNERS[select])
    labels, own_labels = chosen("labels", "human")
    if labels in AGGREGATIONS and not own_labels:
        borrow("balanced_dpo", _LABELS)
    if chosen("control", "none")[0] == "margin" and "select_scorer" not in presets:
        borrow("fifa", _MARGIN)
    return found


def refuse_unread(composition: Composition, given: Mapping[str, Constant]) -> None:
    """Raise UsageError for a setting of labels or selection that the user gave and this composition does not read."""
    cfg, read = composition, {"labels", "select", "control"}
    if cfg.labels in AGGREGATIONS:
        read |= {"electorate"}
        read |= {"tie_rule"} if cfg.labels == "majority" else set()
        read |= {"label_seed"} if cfg.labels == "random" else set()
    if cfg.select in SELECTIONS:
        read |= {"keep", "keep_of"}
    if cfg.select == "random" or cfg.control == "random":
        read |= {"select_seed"}
    if cfg.select in ("qsd", "fifa", "margin") or cfg.control == "margin":
        read |= {"select_scorer"}
    if cfg.select == "qsd":
        read |= {"psi_scale"}
    if cfg.select == "fifa":
        read |= {"quality_weight", "diversity_weight", "neighbour", "text_embedding"}
    # Ratings may be given to any selection, to count harmful prompts before and after.
    if cfg.select != "none":
        read |= {"text_quality"}
    if (cfg.text_quality or "").startswith("llm:"):
        read |= {"llm_url", "llm_concurrency", "llm_attempts", "llm_timeout_s"}
    read |= {"scores", "weights"}  # a method may want scores of its own
    for field in dataclasses.fields(Composition):
        if field.name in given and field.name not in read:
            raise UsageError(
                f"{field.name} = {given[field.name].value!r} (from {given[field.name].source}) has no effect with labels = "
                f"{cfg.labels}, select = {cfg.select}, control = {cfg.control}. Leave it out."
            )
