"""The numbers of people.json on a terminal of 80 columns or more."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from prefbench.bench.judges.printing import print_judgement, print_sheet
from prefbench.bench.judges.sheets import Sheet
from prefbench.bench.judges.wording import people_statements, percent
from prefbench.bench.people.reliability import ALPHA
from prefbench.bench.terminal_cells import MARKS
from prefbench.bench.verdict import outcome
from prefbench.bench.wording import count, fixed

__all__ = ["print_people"]

Results = Mapping[str, Any]

SHOWN = 20
"""Annotators in the table; the rest stands in annotators.csv."""


def print_people(console: Console, results: Results) -> None:
    """Print who judged what, what the majority says, the annotators, the warnings, and the scorers against people."""
    for line in _headline(results):
        console.print(Text(line))
    console.print()
    console.print(Text(" ".join(_statements(results)), style="bold"))
    for sheet in (_comparisons(results), _annotators(results)):
        console.print()
        print_sheet(console, sheet)
    for warning in results["warnings"]:
        console.print()
        console.print(Text.assemble(("Warning: ", "bold yellow"), warning))
    if results["scorers"]:
        console.print()
        console.print(Text("Scorers against these people", style="bold"))
        print_judgement(console, results["scorers"])


def _headline(results: Results) -> Iterator[str]:
    votes = results["votes"]
    few, many = votes["judgements_a_pair"]
    yield (
        f"{votes['form']}: {count(votes['judgements'], 'judgement')} by {count(votes['annotators'], 'annotator')}; "
        f"{count(votes['prompts'], 'prompt')}, {count(votes['pairs'], 'pair')} of images, "
        f"{few if few == many else f'{few}-{many}'} a pair; {fixed(100 * votes['ties'] / votes['judgements'], 1)} % are ties."
    )
    if votes["left_out"]:
        yield (
            "Left out: "
            + ", ".join(f"{count(number, 'judgement')} {what}" for what, number in votes["left_out"].items())
            + "."
        )
    if votes["unread"]:
        yield f"Columns not read: {', '.join(votes['unread'])}."
    if table := results["table"]:
        unjudged = f"; {table['not_judged']:,} that nobody judged are left out" if table["not_judged"] else ""
        yield (
            f"scores.parquet: {table['a']} and {table['b']} on {count(table['samples'], 'judged sample')}, with the scorer "
            f"{table['scorer']}{unjudged}."
        )
    if results["no_table"]:
        yield f"scores.parquet is not written: {results['no_table']}."


def _statements(results: Results) -> list[str]:
    lines = people_statements(results["people"])
    alpha = results["krippendorff_alpha"]
    if alpha is not None:
        lines.append(f"Krippendorff's alpha is {fixed(alpha, 2)}.")
    flagged = [each for each in results["annotators"] if each["flagged"]]
    lines.append(f"{len(flagged) or 'None'} of {count(len(results['annotators']), 'annotator')} flagged.")
    return lines


def _comparisons(results: Results) -> Sheet:
    rows = []
    for each in results["comparisons"]:
        rows.append(
            [
                f"{each['a']} over {each['b']}",
                f"{MARKS[outcome(each['ci95'])]} {percent(each['win_rate'], each['ci95'])}",
                fixed(100 * each["ties"] / each["pairs"], 1),
                f"{each['pairs']:,}",
            ]
        )
    note = (
        "By the majority of a pair's annotators; as many for either image is a tie, and a tie counts half. + / -: the interval "
        "leaves out 50 %."
    )
    return Sheet(
        "What people prefer, in % of pairs [95 % over prompts]",
        ["", "win rate", "ties", "pairs"],
        rows,
        [note],
    )


def _annotators(results: Results) -> Sheet:
    everybody = results["annotators"]
    shown = sorted(everybody, key=lambda each: (not each["flagged"], -each["judgements"]))[:SHOWN]
    rows = [
        [
            each["name"],
            f"{each['judgements']:,}",
            fixed(100 * each["ties"] / each["judgements"], 0),
            "n/a" if each["agreement"] is None else percent(each["agreement"], each["agreement_ci95"]),
            _share(each["typical"]),
            _share(each["first"] / each["sided"] if each["sided"] else None),
            each["verdict"],
        ]
        for each in shown
    ]
    notes = [
        "agrees: with the majority of the others, a tie and a choice half; typical: as many comparable judgements of anybody; "
        "first: went to the image shown first.",
        f"like chance, contrary and one side are flags, by Holm over all annotators, {ALPHA:.2f}. cannot tell: too few "
        "judgements, or too few others.",
    ]
    if len(everybody) > SHOWN:
        notes.insert(0, f"And {count(len(everybody) - SHOWN, 'annotator')} more in annotators.csv.")
    header = ["annotator", "votes", "ties", "agrees [95 %]", "typical", "first", "verdict"]
    return Sheet("Annotators, on all judgements that were read, in %", header, rows, notes)


def _share(value: float | None) -> str:
    return "n/a" if value is None else fixed(100 * value, 1)
