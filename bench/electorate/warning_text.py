"""What the warnings about results have in common: their form, and a win rate in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prefbench.bench.verdict import interval_text
from prefbench.bench.wording import complement

__all__ = ["Found", "by_pair", "pairs_text", "percent", "warning"]

Found = Iterator[dict[str, Any]]


def warning(kind: str, text: str, checkpoints: list[str]) -> dict[str, Any]:
    """One warning of results.json."""
    return {"kind": kind, "text": text, "checkpoints": checkpoints}


def by_pair(whole: Sequence[dict[str, Any]], scorer: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(a, b) -> the entry of a scorer, or of the vote."""
    return {(entry["a"], entry["b"]): entry for entry in whole if entry["scorer"] == scorer}


def pairs_text(entries: Iterable[Mapping[str, Any]]) -> str:
    """Comparisons by name: `a over b, c over d`."""
    return ", ".join(f"{entry['a']} over {entry['b']}" for entry in entries)


def percent(entry: Mapping[str, Any], turned: bool = False) -> str:
    """Win rate and interval, seen from `b` where `turned`."""
    rate, ci95 = entry["win_rate"], entry["ci95"]
    if turned:
        rate, ci95 = complement(rate), ci95 and [complement(ci95[1]), complement(ci95[0])]
    return f"{100 * rate:.1f} % {interval_text(ci95)}"
