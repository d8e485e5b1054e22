"""What is read from TOML: typed, nothing unknown, and faults told by field, with the nearest known key.

An unknown key is an error: a mistyped setting that is ignored changes a number unseen.
"""

import difflib
import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["StrictModel", "faults"]


PLAIN = {
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "list_type": "must be a list in brackets",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "needs {min_length} or more entries",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
}
"""Kind of pydantic's fault -> what a reader of a TOML file is told."""


class StrictModel(BaseModel):
    """Fixed once read; no unknown key; no text where a number is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def faults(error: ValidationError, model: type[BaseModel], whole: str) -> str:
    """All faults of one table as a sentence.

    Args:
        error: what pydantic found.
        model: of the whole table.
        whole: how a fault of the table itself is named ("the suite").
    """
    return "; ".join(_fault(detail, model, whole) for detail in error.errors())


def _fault(detail: ErrorDetails, model: type[BaseModel], whole: str) -> str:
    """One fault: the field's dotted name, and in which entry of a list; for an unknown key the nearest one."""
    location = list(detail["loc"])
    key, where = _name(location, model)
    field = f"{key}{where}" or whole
    if detail["type"] == "extra_forbidden":
        known = list(_at(model, location[:-1]).model_fields)
        return f"unknown key {key!r}{where}; {_nearest(str(location[-1]), known)} here: {', '.join(known)}"
    if detail["type"] == "missing":
        return f"{field} is missing; add it"
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kinds = list(_tagged(_at(model, location)))
        given = detail["input"].get("kind") if isinstance(detail["input"], dict) else detail["input"]
        if given is None:
            return f"kind of {field} is missing; it is one of {', '.join(kinds)}"
        return f"{field}: unknown kind {given!r}; {_nearest(str(given), kinds)}: {', '.join(kinds)}"
    given = f" (given: {detail['input']!r})" if not isinstance(detail["input"], dict) else ""
    if detail["type"] in PLAIN:
        bare = (
            ", without quotes"
            if "number" in PLAIN[detail["type"]] and isinstance(detail["input"], str)
            else ""
        )
        return f"{field} {PLAIN[detail['type']].format(**detail.get('ctx', {}))}{bare}{given}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{field}: {message[0].lower() + message[1:]}{given}"


def _nearest(name: str, known: Sequence[str]) -> str:
    """The nearest name, and the word that begins the list of all."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? Known" if near else "known"


def _name(location: list[int | str], model: type[BaseModel]) -> tuple[str, str]:
    """Dotted key, and where it is if in an entry of a list: "margin", " of rule 2". Entries count from 1.

    Without the kind that pydantic puts after the place of a table in a list of several kinds.
    """
    key, where, entry = "", "", False
    for i, part in enumerate(location):
        if isinstance(part, int):
            key, entry = f"{key.removesuffix('s')} {part + 1}", True
        elif part in _tagged(_at(model, location[:i])):
            continue
        elif entry:
            key, where, entry = part, f" of {key}{where}", False
        else:
            key = f"{key}.{part}" if key else part
    return key, where


def _at(model: type[BaseModel], location: list[int | str]) -> Any:
    """The type of what stands at a location; a model, a type, or a union of models."""
    place: Any = model
    for part in location:
        tagged = _tagged(place)
        if part in tagged:
            place = tagged[str(part)]
        elif isinstance(part, int):
            place = _bare(get_args(place)[0])
        elif isinstance(place, type) and issubclass(place, BaseModel) and part in place.model_fields:
            place = _bare(place.model_fields[part].annotation)
        else:
            return place
    return place


def _bare(annotation: Any) -> Any:
    """Without `Annotated`, and without the None of an optional field."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _bare(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def _tagged(place: Any) -> dict[str, Any]:
    """Kind -> model of a union of models that are told apart by their `kind`; empty for anything else."""
    if get_origin(place) not in (Union, types.UnionType):
        return {}
    found: dict[str, Any] = {}
    for member in get_args(place):
        fields = member.model_fields if isinstance(member, type) and issubclass(member, BaseModel) else {}
        if "kind" in fields:
            found |= dict.fromkeys(get_args(fields["kind"].annotation), member)
    return found
