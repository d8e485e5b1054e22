"""The "definitions" of results.json for a terminal of 80 columns or more."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from prefbench.bench.definitions_block import of_the_vote
from prefbench.bench.verdict import MAJORITY
from prefbench.bench.wording import count

__all__ = ["definition_lines"]

SHORT = {
    "single_seed": "single",
    "single_seed_strict": "strict",
    "same_seed_share": "same seed",
    "median_of_seeds": "median",
    "mean_over_seeds": "mean",
    "best_of_n": "best",
}
"""Heads of columns; the lines below the tables have the full names."""

Entry = Mapping[str, Any]


def definition_lines(definitions: Sequence[Entry], baseline: str) -> Iterator[Table | Text]:
    """A table a comparison with the baseline, a column a definition; then what each definition is, counts and ignores."""
    pairs = dict.fromkeys((entry["a"], entry["b"]) for entry in definitions)
    against = [(a, b) for a, b in pairs if baseline in (a, b)]
    if against:
        yield Text()
    for a, b in against:
        yield _table(a, b, [entry for entry in definitions if (entry["a"], entry["b"]) == (a, b)])
        yield Text()
    if len(against) < len(pairs):
        yield Text(
            f"Those of the other {count(len(pairs) - len(against), 'comparison')} are in results.json."
        )
    for name in dict.fromkeys(entry["definition"] for entry in definitions):
        entry = next(e for e in definitions if e["definition"] == name and e["scorer"] != MAJORITY)
        number = count(entry["prompts"], "prompt") + (
            f", {count(entry['decided'], 'pair')}" if entry["decided"] != entry["prompts"] else ""
        )
        yield Text.assemble(
            (f"{SHORT.get(name, name)} ({name}): ", "bold"),
            f"{entry['source']}. {number}. Ignores {entry['ignores']}. {of_the_vote(name, definitions)}".rstrip(),
        )


def _table(a: str, b: str, entries: Sequence[Entry]) -> Table:
    names = list(dict.fromkeys(entry["definition"] for entry in entries))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.title, table.title_justify = (
        Text(f"{a} over {b} as papers count, in per cent (no intervals)"),
        "left",
    )
    table.add_column(Text("scorer"), overflow="fold")
    for name in names:
        table.add_column(Text(SHORT.get(name, name)), justify="right", no_wrap=True)
    values = {(entry["scorer"], entry["definition"]): entry["value"] for entry in entries}
    for scorer in dict.fromkeys(entry["scorer"] for entry in entries):
        cells = (values.get((scorer, name)) for name in names)
        table.add_row(
            Text("majority vote" if scorer == MAJORITY else scorer),
            *("" if value is None else f"{100 * value:.1f}" for value in cells),
        )
    return table
