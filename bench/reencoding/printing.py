"""What noise.json holds, as text for a terminal of 80 columns or more."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.wording import count

__all__ = ["print_noise"]

VISIBLE_DB = 40.0
"""Below this median PSNR the copies may look different. A rule of thumb of image coding, and ours to use here."""

ROUNDING = 0.01
"""Share of the noise below which a lossless copy's change is no matter: float32 sums in another batch."""


def print_noise(console: Console, found: Mapping[str, Any]) -> None:
    """A line a scorer, what the re-encodings did to pixels and votes, and what is odd."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for k, header in enumerate(("scorer", "score sd", "tolerance [95 %]", "ties", "turned")):
        table.add_column(Text(header), justify="left" if k == 0 else "right", overflow="fold", no_wrap=k > 0)
    for name, row in found["scorers"].items():
        interval, votes = row["tolerance_ci95"], row["votes"]
        limits = "[n/a: 1 prompt]" if interval is None else f"[{interval[0]:.2g}, {interval[1]:.2g}]"
        table.add_row(
            Text(name),
            f"{row['score_sd']:.2g}",
            Text(f"{row['tolerance']:.2g} {limits}"),
            "n/a" if votes is None else f"{100 * votes['tied']:.1f} %",
            "n/a" if votes is None else f"{100 * votes['turned']:.1f} %",
        )
    console.print(table)
    console.print(Text(_legend(found), style="dim"))
    for text in _oddities(found):
        console.print()
        console.print(Text.assemble(("Warning: ", "bold yellow"), text))


def _legend(found: Mapping[str, Any]) -> str:
    pixels = ", ".join(
        f"{name} {_decibels(encoding['psnr_db'])}" for name, encoding in found["encodings"].items()
    )
    pairs = max((row["votes"]["pairs"] for row in found["scorers"].values() if row["votes"]), default=0)
    votes = (
        f" ties: share of {pairs:,} pairs of images of one prompt within the tolerance; turned: share whose winner re-encoding "
        "changes."
        if pairs
        else " No prompt has two images, so no votes."
    )
    return (
        f"{count(found['images'], 'image')} of {count(found['prompts'], 'prompt')}, in the scorer's own units. "
        "Copies against their pictures, "
        f"median PSNR: {pixels}; {_repeated(found)} score sd: standard deviation of the change of a score. tolerance: "
        f"re-encoding moves 95 % of paired differences by no more.{votes}"
    )


def _repeated(found: Mapping[str, Any]) -> str:
    """What lossless copies make of the scores: nothing, or the rounding of another place in another batch."""
    largest = {name: row["lossless_largest"] for name, row in found["scorers"].items()}
    worst = max(largest, key=lambda name: largest[name])
    if not largest[worst]:
        return "lossless copies have the same scores."
    return f"lossless copies have the same scores but for {largest[worst]:.1g} at most ({worst})."


def _decibels(psnr: Mapping[str, float] | None) -> str:
    return "equal pixels" if psnr is None else f"{psnr['median']:.1f} dB"


def _oddities(found: Mapping[str, Any]) -> Iterator[str]:
    if found["repeated"]:
        yield (
            f"Left out: {count(found['repeated'], 'row')} of the manifest with the pixels of an earlier row. The same change "
            "twice is no more evidence."
        )
    for name, row in found["scorers"].items():
        if row["lossless_largest"] > ROUNDING * row["score_sd"]:
            yield (
                f"{name} gives a lossless copy another score, by up to {row['lossless_largest']:.2g}: it does not repeat itself, "
                "and that is part of what is measured here."
            )
        if row["left_out"]:
            yield f"{name} has no score for some copy of {row['left_out']} of {found['images']} images: they are left out."
    for name, encoding in found["encodings"].items():
        if encoding["psnr_db"] and encoding["psnr_db"]["median"] < VISIBLE_DB:
            yield (
                f"{name} copies have a median PSNR of {_decibels(encoding['psnr_db'])}; below {VISIBLE_DB:.0f} dB the change may "
                "be seen, so a tolerance from it is too wide. Small pictures with hard edges of strong colours do that."
            )
