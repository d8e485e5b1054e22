"""The shares by the definitions of papers: a plain table, for who wants to meet a published number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefbench.bench.definitions_block import of_the_vote
from prefbench.reports.view_facts import VOTE
from prefbench.reports.view_numbers import Name, count, percent, split_name
from prefbench.reports.view_verdicts import VOTE_NAME

__all__ = ["DefinitionTable", "Definitions", "definitions_view"]


@dataclass(frozen=True)
class DefinitionTable:
    """One comparison: a row a scorer, a column a definition; empty where the definition knows no vote."""

    title: str
    rows: tuple[tuple[Name, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Definitions:
    """Heads of the columns, the tables, and what each definition is."""

    columns: tuple[str, ...]
    tables: tuple[DefinitionTable, ...]
    about: tuple[tuple[str, str], ...]


def definitions_view(results: Mapping[str, Any]) -> Definitions | None:
    """The table; None where nobody asked for it."""
    entries = results.get("definitions")
    if not entries:
        return None
    names = tuple(dict.fromkeys(str(entry["definition"]) for entry in entries))
    values = {(e["a"], e["b"], e["scorer"], e["definition"]): e["value"] for e in entries}
    tables = []
    for a, b in dict.fromkeys((entry["a"], entry["b"]) for entry in entries):
        scorers = dict.fromkeys(e["scorer"] for e in entries if (e["a"], e["b"]) == (a, b))
        rows = tuple(
            (
                split_name(VOTE_NAME if scorer == VOTE else scorer),
                tuple(_share(values.get((a, b, scorer, name))) for name in names),
            )
            for scorer in scorers
        )
        tables.append(DefinitionTable(f"{a} over {b}", rows))
    return Definitions(_heads(names), tuple(tables), tuple(_about(name, entries) for name in names))


def _heads(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in names)


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def _about(name: str, entries: Any) -> tuple[str, str]:
    entry = next(e for e in entries if e["definition"] == name and e["scorer"] != VOTE)
    images = entry["images"]
    many = count(images[0], "image") if images[0] == images[1] else f"{images[0]} to {images[1]} images"
    return name.replace("_", " "), (
        f"{entry['source']}. Here {count(entry['prompts'], 'prompt')}, {many} a prompt. "
        f"Ignores {entry['ignores']}. {of_the_vote(name, entries)}".rstrip()
    )
