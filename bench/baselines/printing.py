"""Baselines as text for a terminal of 80 columns or more."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.baselines.source import SCORES
from prefbench.bench.baselines.stored import RECORD, StoredBaseline
from prefbench.bench.wording import count

__all__ = ["not_known", "print_baseline", "print_list", "print_saved"]

Record = Mapping[str, Any]

UNKNOWN = "not known"


def not_known(record: Record) -> list[str]:
    """What nobody said about a baseline, in words: these fields are null."""
    suite = record["suite"] or {}
    about = record["checkpoint"] or {}
    nameless = [name for name, info in record["scorers"].items() if not info.get("fingerprint")]
    missing = {
        "who votes": not suite.get("electorate"),
        "the prompt sets": not suite.get("prompt_sets"),
        "how the images were drawn": not suite.get("sampling"),
        "the checkpoint's identity": not about.get("identity"),
        "its training": not about.get("training"),
        f"the fingerprint of {', '.join(nameless)}": bool(nameless),
    }
    return [what for what, gone in missing.items() if gone]


def print_saved(console: Console, stored: StoredBaseline) -> None:
    """What was stored, how large it is, and what nobody knows of it."""
    size = sum((stored.path / file).stat().st_size for file in (SCORES, RECORD))
    facts = stored.record["scores"]
    console.print(
        Text(
            f"Saved {stored.record['source']['checkpoint']} as {stored.name}: {facts['rows']:,} scores of "
            f"{_prompts(stored.record)} by {count(len(stored.record['scorers']), 'scorer')}, {size / 1024:.0f} KB."
        )
    )
    console.print(f"Folder: {stored.path}", markup=False, highlight=False, soft_wrap=True)
    if gone := not_known(stored.record):
        console.print(Text(f"Not known, because nobody said: {'; '.join(gone)}.", style="dim"))


def print_list(console: Console, records: Sequence[Record], folder: Path) -> None:
    """A line a baseline."""
    if not records:
        console.print(Text(f"No baselines in {folder}."))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in ("baseline", "saved", "suite", "prompts x seeds", "scorers"):
        table.add_column(
            header, overflow="fold", justify="right" if header in ("prompts x seeds", "scorers") else "left"
        )
    for record in records:
        facts = record["scores"]
        table.add_row(
            Text(record["name"]),
            record["saved"][:10],
            Text(str((record["suite"] or {}).get("name") or UNKNOWN)),
            f"{facts['prompts']:,} x {len(facts['seeds'])}",
            str(len(record["scorers"])),
        )
    console.print(table)


def print_baseline(console: Console, stored: StoredBaseline) -> None:
    """Everything that decides what may be compared with it, then the means."""
    record = stored.record
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for term, value in _facts(stored):
        table.add_row(term, Text(value))
    console.print(Text(stored.name, style="bold"))
    console.print(table)
    console.print()
    means = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in ("scorer", "mean", "role", "fingerprint"):
        means.add_column(header, justify="right" if header == "mean" else "left", overflow="fold")
    for scorer, mean in record["means"].items():
        info = record["scorers"][scorer]
        printed = str(info.get("fingerprint") or UNKNOWN)
        means.add_row(
            Text(scorer),
            f"{mean:.6g}",
            str(info.get("role") or UNKNOWN),
            printed if len(printed) < 16 else f"{printed[:16]}…",
        )
    console.print(means)


def _facts(stored: StoredBaseline) -> Iterator[tuple[str, str]]:
    record = stored.record
    suite, about, source = record["suite"] or {}, record["checkpoint"] or {}, record["source"]
    yield "saved", f"{record['saved']} by prefbench {record['prefbench']}, unchanged since"
    made = f", made {source['created']} by prefbench {source['prefbench']}" if source["created"] else ""
    yield "from", f"checkpoint {source['checkpoint']} of a {source['kind']}{made}"
    yield "suite", str(suite.get("name") or UNKNOWN)
    for each in suite.get("prompt_sets") or ():
        yield (
            "prompt set",
            f"{each['name']} version {each['version']}, {count(each['prompts'], 'prompt')}, sha256 {each['sha256'][:16]}…",
        )
    yield "prompts", _prompts(record)
    sampling = suite.get("sampling")
    drawn = about.get("kind") != "images"
    said = ", ".join(f"{key} {value!r}" for key, value in sampling.items()) if sampling and drawn else UNKNOWN
    yield "sampling", said if drawn or not sampling else "finished images: not known"
    electorate = suite.get("electorate") or {}
    yield "voters", ", ".join(electorate.get("voters") or ()) or UNKNOWN
    yield "held out", ", ".join(electorate.get("held_out") or ()) or ("none" if electorate else UNKNOWN)
    for term in ("spec", "kind"):
        yield term, str(about.get(term) or UNKNOWN)
    identity = about.get("identity")
    pieces = identity.items() if isinstance(identity, Mapping) else [("", identity or UNKNOWN)]
    yield "identity", ", ".join(f"{key} {value}".strip() for key, value in pieces if key != "kind")
    training = about.get("training") or {}
    said = ", ".join(
        f"{key} {training[key]}"
        for key in ("method", "recipe", "steps", "seed")
        if training.get(key) is not None
    )
    yield "training", said or UNKNOWN
    yield "sha256", str(record["sha256"])
    yield "size", f"{sum((stored.path / file).stat().st_size for file in (SCORES, RECORD)):,} bytes"


def _prompts(record: Record) -> str:
    facts = record["scores"]
    distinct = facts["distinct_prompts"]
    doubled = f" ({distinct:,} distinct)" if distinct < facts["prompts"] else ""
    seeds = facts["seeds"]
    shown = ", ".join(map(str, seeds[:6])) + (f", ... {seeds[-1]}" if len(seeds) > 6 else "")
    return (
        f"{count(facts['prompts'], 'prompt')}{doubled} with {'seed' if len(seeds) == 1 else 'seeds'} {shown}"
    )
