"""`prefbench score`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.bench.commands.options import (
    Architectures,
    Device,
    OutFolder,
    ScorerBatchSize,
    Scorers,
    ScorerWeights,
)

if TYPE_CHECKING:
    from rich.console import Console

    from prefbench.bench.score_manifest import ScoredManifest

__all__ = ["score_command"]


class Memory(StrEnum):
    """How many scorers are in memory at once."""

    low = "low"
    high = "high"


class Backend(StrEnum):
    """Whose code computes the scores."""

    port = "port"
    upstream = "upstream"


def score_command(
    manifest: Annotated[
        Path,
        typer.Argument(help="CSV with the columns image,prompt; paths relative to it.", show_default=False),
    ],
    scorer: Scorers,
    out: OutFolder,
    weights: ScorerWeights = None,
    architecture: Architectures = None,
    batch_size: ScorerBatchSize = None,
    device: Device = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            help="float32, float16 or bfloat16 networks; half precision is compared with float32 on the first rows.",
        ),
    ] = "float32",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Run the networks through torch.compile; compared with uncompiled float32 on the first rows.",
        ),
    ] = False,
    memory: Annotated[
        Memory,
        typer.Option(
            "--memory",
            help="low: one scorer at a time, each loaded twice. high: all at once, each loaded once.",
        ),
    ] = Memory.low,
    backend: Annotated[
        Backend,
        typer.Option(
            "--backend", help="port: ours. upstream: the original package, in an environment of its own."
        ),
    ] = Backend.port,
) -> None:
    """Score finished images with preference scorers.

    The manifest may also have the columns checkpoint, prompt_id, seed, category
    and challenge. Every row and the header of every image are checked before
    anything is scored. OUT gets scores.csv and scores.parquet (a scores table,
    as `prefbench compare` reads) and scorers.json (what exactly was computed:
    weights, preprocessing, fingerprint). It is a new or empty folder, or one
    of an earlier `prefbench score`, whose three files are then replaced; any
    other is refused. `prefbench list scorers` prints the names.

    Scores are kept in the user's cache folder ($PREFBENCH_CACHE) as they come:
    killed and started again the same command goes on, and an image that was
    scored before by the same scorer is not scored again.

    Examples:
        prefbench score images.csv --scorer pickscore --scorer hpsv2.1 --out scores

        prefbench score images.csv --scorer mini:clip --out scores

        prefbench score images.csv --scorer hpsv2.1@legacy-noaa \
            --weights hpsv2.1@legacy-noaa=HPS_v2.1_compressed.pt --out scores

        prefbench score images.csv --scorer hpsv2.1 --backend upstream --out original

        prefbench score images.csv --scorer judge:http://127.0.0.1:8000/v1 --out judged
    """
    from rich.console import Console

    from prefbench.bench.device import resolve_device
    from prefbench.bench.image_manifest import read_manifest
    from prefbench.bench.named_values import named_values
    from prefbench.bench.progress import shown_on
    from prefbench.bench.score_manifest import score_manifest

    console = Console()
    suffix = "" if backend is Backend.port else f"@{backend.value}"
    rows = read_manifest(manifest)
    with shown_on(Console(stderr=True)) as stages:
        scored = score_manifest(
            rows,
            [name + suffix for name in scorer],
            out,
            weights=_renamed(named_values("--weights", "SCORER=PATH", weights or []), suffix),
            architectures=_renamed(named_values("--architecture", "SCORER=FILE", architecture or []), suffix),
            batch_size=batch_size,
            device=resolve_device(device),
            dtype=dtype,
            compiled=compiled,
            memory=memory.value,
            stages=stages,
        )
    _print_summary(console, scored)
    for name, described in scored.scorers.items():
        if checked := described.get("precision"):
            console.print(
                f"{name} in {checked['dtype']}{', compiled' if checked['compiled'] else ''}: at most "
                f"{checked['largest_difference']:.1e} from {'uncompiled ' if checked['compiled'] else ''}float32 on the first "
                f"{checked['rows']} rows, whose scores have a standard deviation of {checked['deviation_of_scores']:.1e}.",
                highlight=False,
            )
    for name, described in scored.scorers.items():
        if described["failed"]:
            _print_failures(console, name, described["failed"], len(rows.images))
    if any(scored.kept.values()):
        known = ", ".join(f"{count} by {name}" for name, count in scored.kept.items() if count)
        console.print(f"\nKnown from an earlier call and not scored again: {known}.", highlight=False)
    console.print(f"\nScores: {out / 'scores.csv'}", markup=False, highlight=False, soft_wrap=True)


def _renamed(given: dict[str, str], suffix: str) -> dict[str, str]:
    return {name + suffix: value for name, value in given.items()}


def _print_failures(console: "Console", name: str, reasons: dict[str, int], images: int) -> None:
    """What has no score, and why."""
    told = "; ".join(f"{count} x {reason}" for reason, count in list(reasons.items())[:3])
    console.print(
        f"\n{name} has no score for {sum(reasons.values())} of {images} images, which are left out of its rows: {told}. The "
        "same command asks for them again.",
        markup=False,
        highlight=False,
    )


def _print_summary(console: "Console", scored: "ScoredManifest") -> None:
    """A line a scorer."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("scorer", "images", "mean", "min", "max", "cut prompts"):
        table.add_column(heading, justify="left" if heading == "scorer" else "right", overflow="fold")
    for name, rows in scored.scores.groupby("scorer", sort=False)["score"]:
        cut = scored.scorers[str(name)]["truncated_prompts"]
        numbers = [f"{value:.4f}" for value in (rows.mean(), rows.min(), rows.max())]
        table.add_row(str(name), str(len(rows)), *numbers, "prompt-blind" if cut is None else str(cut))
    console.print(table)
