"""The numbers of results.json as text for a terminal of 80 columns or more."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.tally.unanimity import RARE
from prefbench.bench.terminal_cells import (
    EXACT,
    GAP,
    MARKS,
    STYLES,
    Entry,
    Starred,
    difference_cell,
    is_exact,
    p_text,
    plain_table,
    rate_cell,
    scorer_cell,
)
from prefbench.bench.terminal_definitions import definition_lines
from prefbench.bench.terminal_votes import voteless, voting_lines
from prefbench.bench.verdict import MAJORITY, outcome
from prefbench.bench.wording import count

__all__ = ["print_results"]

ALPHA = 0.05
HIDDEN = ("exploratory_slices",)
"""Warnings about what is not printed here."""

LEGEND = (
    "+ / -: the 95 % interval (over prompts) leaves out 50 %; the verdict goes by it. p: sign test over prompts, another "
    "test, which may decide otherwise near the edge. Ties count half."
)

EXACT_LEGEND = f"{EXACT}: an exact bound and no bootstrap, as fewer than {RARE} prompts differ from the commonest outcome."

METHODS_LEGEND = (
    "Intervals over trainings and prompts. Range and spread (standard deviation): win rates of single trainings. "
    "A side without several trainings is that checkpoint and no method."
)


def print_results(console: Console, results: Mapping[str, Any]) -> None:
    """Print verdicts, win rates and warnings of a results dict.

    With one comparison: its sentence, then the vote and every scorer with mean difference and p. With
    several: the sentences against the baseline, the ranking and the win matrix where there are any, a line for
    every comparison (baseline first, then head to head), then every scorer's win rates.

    Args:
        console: where to print; its width is used.
        results: what `prefbench.bench.results.summarise` returns.
    """
    whole = [entry for entry in results["comparisons"] if entry["slice"] == "all"]
    votes = [entry for entry in whole if entry["scorer"] == MAJORITY]
    baseline = next(iter(results["checkpoints"]))
    with_baseline = [entry for entry in votes if baseline in (entry["a"], entry["b"])]
    ordered = with_baseline + [entry for entry in votes if entry not in with_baseline]
    for verdict in results["verdicts"]:
        if len(votes) == 1 or baseline in (verdict["a"], verdict["b"]):
            console.print(
                Text(verdict["sentence"], style=f"bold {STYLES[verdict['outcome']]}".replace("dim", ""))
            )
    console.print()
    starred = voteless(votes, results["suite"]["electorate"]["voters"])
    if len(votes) == 1:
        console.print(_one_comparison(whole, results["scorers"], starred))
        console.print(_other_tests(whole))
    else:
        if results["ranking"]:
            console.print(Text("Ranking by the win rate against the average opponent", style="bold"))
            console.print(_standings(results["ranking"]))
            console.print()
            console.print(_win_matrix(results["ranking"], votes, console.width))
            console.print()
        console.print(_vote_lines(ordered, len(with_baseline)))
        for table in _scorer_matrices(whole, ordered, results["scorers"], starred, console.width):
            console.print()
            console.print(table)
    planned = _planned(results["comparisons"])
    if planned:
        console.print()
        console.print(planned)
    console.print(Text(LEGEND, style="dim"))
    if _has_exact(results):
        console.print(Text(EXACT_LEGEND, style="dim"))
    for line in voting_lines(results, ordered, rate_cell):
        console.print(line)
    console.print(_explored(results["comparisons"]))
    for part in definition_lines(results["definitions"] or (), baseline=next(iter(results["checkpoints"]))):
        console.print(part)
    if results.get("methods"):
        console.print()
        console.print(Text("Methods, over training seeds", style="bold"))
        console.print(_methods(results["methods"]["comparisons"]))
        console.print(Text(METHODS_LEGEND, style="dim"))
    for warning in results["warnings"]:
        if warning["kind"] not in HIDDEN:
            console.print()
            console.print(Text.assemble(("Warning: ", "bold yellow"), warning["text"]))


def _planned(comparisons: Sequence[Entry]) -> Table | None:
    """The comparisons named in advance with their adjusted p; None where it is one, which stands above."""
    planned = [entry for entry in comparisons if entry["planned"]]
    if len(planned) < 2:
        return None
    table = plain_table("planned, by the vote", "win rate [95 %]", "ties", "p", "p, Holm")
    for entry in planned:
        where = "" if entry["slice"] == "all" else f", {entry['slice']}"
        table.add_row(
            Text(f"{entry['a']} over {entry['b']}{where}"),
            rate_cell(entry),
            f"{100 * entry['ties'] / entry['pairs']:.1f}",
            p_text(entry["p_value"]),
            p_text(entry["p_adjusted"]),
        )
    return table


def _explored(comparisons: Sequence[Entry]) -> Text:
    """What was not planned, and how much of it is left after the adjustment for how much was looked at."""
    explored = [entry for entry in comparisons if not entry["planned"]]
    left = sum(entry["p_adjusted"] < ALPHA for entry in explored)
    verb = "is" if len(explored) == 1 else "are"
    return Text(
        f"Planned: the vote against the baseline, on all prompts and on planned slices. The other "
        f"{count(len(explored), 'comparison')} {verb} explored: after Benjamini-Hochberg p is below {ALPHA} in {left} of them.",
        style="dim",
    )


def _one_comparison(whole: Sequence[Entry], scorers: Mapping[str, Any], starred: Starred) -> Table:
    a, b = whole[0]["a"], whole[0]["b"]
    table = plain_table("scorer", "win rate [95 %]", "ties", "mean difference [95 %]", "p")
    table.title, table.title_justify = Text(f"{a} over {b}, in per cent of pairs"), "left"
    for entry in whole:
        table.add_row(
            scorer_cell(entry["scorer"], scorers),
            rate_cell(entry, starred),
            f"{100 * entry['ties'] / entry['pairs']:.1f}",
            difference_cell(entry),
            p_text(entry["p_value"]),
        )
    return table


def _other_tests(whole: Sequence[Entry]) -> Text:
    """What the table of one comparison has no room for: permutation test and effect sizes."""
    told = [f"Permutation test of the vote: p {p_text(whole[0]['permutation_p_value'])}."]
    sizes = [f"{e['scorer']} {e['effect_size']:+.2f}" for e in whole if e["effect_size"] is not None]
    if sizes:
        told.append(
            f"Effect sizes (mean difference over its standard deviation between prompts): {', '.join(sizes)}."
        )
    return Text(" ".join(told))


def _has_exact(results: Mapping[str, Any]) -> bool:
    """Whether an exact bound is among what is printed."""
    printed = [e for e in results["comparisons"] if e["slice"] == "all" or e["planned"]]
    for block, part in (("ranking", "standings"), ("votes", "variants"), ("methods", "comparisons")):
        printed += results[block][part] if results.get(block) else []
    return any(map(is_exact, printed))


def _standings(ranking: Mapping[str, Any]) -> Table:
    table = plain_table("rank [95 %]", "checkpoint", "win rate [95 %]")
    table.columns[1].justify = "left"
    for line in ranking["standings"]:
        ranks = line["rank_ci95"]
        interval = f"[{ranks[0]}, {ranks[1]}]" if ranks else "[n/a: 1 prompt]"
        table.add_row(Text(f"{line['rank']} {interval}"), Text(line["checkpoint"]), rate_cell(line))
    return table


def _win_matrix(ranking: Mapping[str, Any], votes: Sequence[Entry], width: int) -> Table | Text:
    """Win rates of the row over the column in the order of the ranking; a sentence where they do not fit."""
    names = [line["checkpoint"] for line in ranking["standings"]]
    labels = [f"{i} {name}" for i, name in enumerate(names, start=1)]
    if max(map(len, labels)) + len(names) * (GAP + len("+ 100.0")) > width:
        return Text(
            f"The win matrix of {len(names)} checkpoints is wider than this terminal; the report has it."
        )
    found = {}
    for entry in votes:
        state, rate = outcome(entry["ci95"]), 100 * entry["win_rate"]
        found[entry["a"], entry["b"]] = Text(f"{MARKS[state]} {rate:.1f}", style=STYLES[state])
        turned = {"better": "worse", "worse": "better", "open": "open"}[state]
        found[entry["b"], entry["a"]] = Text(f"{MARKS[turned]} {100 - rate:.1f}", style=STYLES[turned])
    table = plain_table("row over column, %", *map(str, range(1, len(names) + 1)))
    for name, label in zip(names, labels, strict=True):
        table.add_row(Text(label), *(found.get((name, other), Text("")) for other in names))
    return table


def _vote_lines(votes: Sequence[Entry], against_baseline: int) -> Table:
    table = plain_table("majority vote", "win rate [95 %]", "ties", "p", "verdict")
    for i, entry in enumerate(votes):
        if i == against_baseline:
            table.add_row(Text("head to head", style="bold"))
        found = outcome(entry["ci95"])
        table.add_row(
            Text(f"{entry['a']} over {entry['b']}"),
            rate_cell(entry),
            f"{100 * entry['ties'] / entry['pairs']:.1f}",
            p_text(entry["p_value"]),
            Text(found, style=STYLES[found]),
        )
    return table


def _methods(comparisons: Sequence[Entry]) -> Table:
    """The vote on every two methods; trainings of a and of b, "-" for a checkpoint of which none is known."""
    table = plain_table("majority vote", "win rate [95 %]", "trainings", "range", "spread")
    for entry in comparisons:
        if entry["scorer"] != MAJORITY:
            continue
        counts = [str(n or "-") for n in entry["training_seeds"]]
        rates = [100 * single["win_rate"] for single in entry["per_seed"]]
        table.add_row(
            Text(f"{entry['a']} over {entry['b']}"),
            rate_cell(entry),
            f"{counts[0]}, paired" if entry["paired"] else f"{counts[0]} : {counts[1]}",
            f"{min(rates):.1f}-{max(rates):.1f}",
            f"{100 * entry['seed_spread']:.1f}",
        )
    return table


def _scorer_matrices(
    whole: Sequence[Entry],
    votes: Sequence[Entry],
    scorers: Mapping[str, Any],
    starred: Starred,
    width: int,
) -> Iterator[Table]:
    """Win rates: a row a scorer, a column a comparison, as many columns a table as the width holds."""
    names = [scorer_cell(scorer, scorers) for scorer in (MAJORITY, *scorers)]
    first = max(len(line) for name in names for line in ("win rate [95 %]", *name.plain.split("\n")))
    rates = {(entry["a"], entry["b"], entry["scorer"]): rate_cell(entry, starred) for entry in whole}
    columns: list[tuple[str, list[Text]]] = []
    used = first
    for entry in votes:
        a, b = entry["a"], entry["b"]
        header, cells = f"{a}\nover {b}", [rates[a, b, scorer] for scorer in (MAJORITY, *scorers)]
        needed = GAP + max(len(line) for line in (*header.split("\n"), *(cell.plain for cell in cells)))
        if columns and used + needed > width:
            yield _matrix(names, columns)
            columns, used = [], first
        columns.append((header, cells))
        used += needed
    yield _matrix(names, columns)


def _matrix(names: Sequence[Text], columns: Sequence[tuple[str, Sequence[Text]]]) -> Table:
    table = plain_table("win rate [95 %]", *(header for header, _ in columns))
    for i, name in enumerate(names):
        table.add_row(name, *(cells[i] for _, cells in columns))
    return table
