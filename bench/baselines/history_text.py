"""A history as tables for a terminal of 80 columns or more."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.terminal_cells import GAP, MARKS, STYLES
from prefbench.bench.verdict import MAJORITY, interval_text, outcome

__all__ = ["print_history"]

History = Mapping[str, Any]

LEGEND = (
    "+ / -: better / worse than what it is held against, 95 % interval over prompts; for a mean that of the paired "
    "difference."
)
BROKEN = " A line between two rows: not comparable, see below."


def print_history(console: Console, history: History) -> None:
    """The vote's course, then the scorers' means, then why a course breaks and what else is to be known."""
    names = [release["name"] for release in history["releases"]]
    held = dict.fromkeys(entry["b"] for entry in history["comparisons"] if entry["scorer"] == MAJORITY)
    if len(held) == 1:
        console.print(Text(f"Win rate over {next(iter(held))}, in per cent of pairs", style="bold"))
    console.print(_vote(history, names, show_held=len(held) > 1))
    for table in _means(history, names, console.width):
        console.print()
        console.print(table)
    console.print(Text(LEGEND + (BROKEN if history["breaks"] else ""), style="dim"))
    for each in history["breaks"]:
        whom = [("the vote" if judge == MAJORITY else judge) for judge in each["judges"]]
        every = len(whom) == len(history["scorers"]) + 1
        console.print()
        console.print(
            Text.assemble(
                ("Break: ", "bold yellow"),
                f"{each['after']} and {each['before']} are not compared by {'anything' if every else ', '.join(whom)} "
                f"({each['kind']}): {each['text']}.",
            )
        )
    for text in dict.fromkeys([*(f"{each['reason']}." for each in history["missing"]), *history["notes"]]):
        console.print()
        console.print(Text.assemble(("Note: ", "bold"), text))


def _table(*headers: str) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for i, header in enumerate(headers):
        table.add_column(Text(header), justify="left" if i == 0 else "right", overflow="fold", no_wrap=i > 0)
    return table


def _broken(history: History, a: str, b: str, judges: Sequence[str]) -> bool:
    return any(
        (each["after"], each["before"]) == (a, b) and set(judges) & set(each["judges"])
        for each in history["breaks"]
    )


def _vote(history: History, names: Sequence[str], *, show_held: bool) -> Table:
    found = {entry["a"]: entry for entry in history["comparisons"] if entry["scorer"] == MAJORITY}
    held = {entry["b"] for entry in found.values()}
    table = _table("majority vote", "saved", "win rate [95 %]", "ties", *(["against"] * show_held))
    if show_held:
        table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    for i, release in enumerate(history["releases"]):
        name = release["name"]
        if i and _broken(history, names[i - 1], name, [MAJORITY]):
            table.add_row(*(Text("─" * 3, style="yellow") for _ in table.columns))
        rate, ties, other = Text("50 by itself" if name in held else "-", style="dim"), "", ""
        if name in found:
            entry = found[name]
            state, other = outcome(entry["ci95"]), entry["b"]
            rate = Text(
                f"{MARKS[state]} {100 * entry['win_rate']:.1f} {interval_text(entry['ci95'])}",
                style=STYLES[state],
            )
            ties = f"{100 * entry['ties'] / entry['pairs']:.1f}"
        table.add_row(Text(name), release["saved"][:10], rate, ties, *([Text(other)] * show_held))
    return table


def _means(history: History, names: Sequence[str], width: int) -> Iterator[Table]:
    """A row a release, a column a scorer, as many columns a table as the width holds."""
    first = max(map(len, [*names, "mean"]))
    columns: list[tuple[str, list[Text]]] = []
    used = first
    for scorer in history["scorers"]:
        cells = _mean_cells(history, names, scorer)
        needed = GAP + max(
            len(line) for line in (*_header(history, scorer).split("\n"), *(cell.plain for cell in cells))
        )
        if columns and used + needed > width:
            yield _mean_table(history, names, columns)
            columns, used = [], first
        columns.append((scorer, cells))
        used += needed
    yield _mean_table(history, names, columns)


def _header(history: History, scorer: str) -> str:
    info = history["scorers"][scorer]
    tags = ["held out"] * (info["role"] != "votes") + ["lower is better"] * (info["direction"] == "lower")
    return "\n".join([scorer, *(f"({tag})" for tag in tags)])


def _mean_cells(history: History, names: Sequence[str], scorer: str) -> list[Text]:
    means = {entry["release"]: entry["mean"] for entry in history["means"] if entry["scorer"] == scorer}
    lower = history["scorers"][scorer]["direction"] == "lower"
    found = {entry["a"]: entry for entry in history["comparisons"] if entry["scorer"] == scorer}
    spread = max(means.values()) - min(means.values())
    digits = next((d for d in range(1, 7) if spread >= 10 ** (1 - d)), 6)
    cells = []
    for name in names:
        if name not in means:
            cells.append(Text("-", style="dim"))
            continue
        state = _state(found[name]["mean_difference_ci95"], lower) if name in found else "open"
        number = round(means[name], digits) + 0.0  # no minus before a zero
        cells.append(Text(f"{MARKS[state]} {number:.{digits}f}", style=STYLES[state]))
    return cells


def _state(limits: Sequence[float] | None, lower: bool) -> str:
    if limits is None or limits[0] <= 0 <= limits[1]:
        return "open"
    return "better" if (limits[0] > 0) != lower else "worse"


def _mean_table(
    history: History, names: Sequence[str], columns: Sequence[tuple[str, Sequence[Text]]]
) -> Table:
    table = _table("mean", *(_header(history, scorer) for scorer, _ in columns))
    judges = [scorer for scorer, _ in columns]
    for i, name in enumerate(names):
        if i and _broken(history, names[i - 1], name, judges):
            apart = [_broken(history, names[i - 1], name, [judge]) for judge in judges]
            table.add_row("", *(Text("─" * 3 if broken else "", style="yellow") for broken in apart))
        table.add_row(Text(name), *(cells[i] for _, cells in columns))
    return table
