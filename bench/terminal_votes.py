"""Votes on a terminal: who had none, which rules held, and which other way to count them decides otherwise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from prefbench.bench.verdict import MAJORITY, outcome

__all__ = ["STAR", "voteless", "voting_lines"]

STAR = "*"
"""Stands at the win rate of a scorer that had no vote, because one of the two was trained against it."""

Entry = Mapping[str, Any]


def voteless(votes: Sequence[Entry], voters: Sequence[str]) -> set[tuple[str, str, str]]:
    """(a, b, scorer) of the voters that were kept out of a comparison.

    Args:
        votes: entries of the majority.
        voters: of the electorate.
    """
    return {
        (entry["a"], entry["b"], scorer)
        for entry in votes
        for scorer in voters
        if scorer not in entry["voters"]
    }


def voting_lines(
    results: Mapping[str, Any], votes: Sequence[Entry], rate: Callable[[Entry], Text]
) -> Iterator[Table | Text]:
    """What must be said of the votes, and whether another way to count them decides otherwise.

    Args:
        results: the results.
        votes: entries of the majority on all prompts.
        rate: a win rate with its interval, as the other tables have it.
    """
    electorate, block = results["suite"]["electorate"], results["votes"]
    if voteless(votes, electorate["voters"]):
        yield Text(f"{STAR}: no vote there: one of the two was trained against this scorer.", style="dim")
    if block["tie_rule"] != "tie":
        yield Text(f"Tie rule: {electorate['tie_rule']}.", style="dim")
    if electorate["tie_tolerance"]:
        told = ", ".join(f"{name} {value:g}" for name, value in electorate["tie_tolerance"].items())
        yield Text(f"Scores that differ by no more than this tie: {told}.", style="dim")
    if block["weights"]:
        told = ", ".join(f"{name} {value:.2f}" for name, value in block["weights"].items())
        yield Text(f"Weights of the weighted vote ({block['weights_source']}): {told}.", style="dim")
    table = _otherwise(block["variants"], votes, rate)
    if table:
        yield Text()
        yield Text("Other ways to count the votes, where they decide otherwise", style="bold")
        yield table
    elif len(electorate["voters"]) > 1:
        weighted = ", by accuracy" if block["weights"] else ""
        yield Text(
            f"Counted otherwise (unanimous, without each voter{weighted}) no verdict changes.", style="dim"
        )


def _otherwise(
    variants: Sequence[Entry], votes: Sequence[Entry], rate: Callable[[Entry], Text]
) -> Table | None:
    """The variants that decide a comparison otherwise than its majority does; None where there are none."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(Text("vote"), overflow="fold")
    for header in ("win rate [95 %]", "verdict"):
        table.add_column(Text(header), justify="right", no_wrap=True)
    for entry in votes:
        found = outcome(entry["ci95"])
        others = [
            other
            for other in variants
            if (other["a"], other["b"]) == (entry["a"], entry["b"])
            and other["rule"] != MAJORITY
            and outcome(other["ci95"]) != found
        ]
        if others:
            table.add_row(Text(f"{entry['a']} over {entry['b']}", style="bold"), rate(entry), found)
        for other in others:
            table.add_row(Text(f"  {other['rule']}"), rate(other), outcome(other["ci95"]))
    return table if table.row_count else None
