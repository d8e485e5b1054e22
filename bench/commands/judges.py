"""`prefbench judges`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.bench.commands.options import (
    Architectures,
    Device,
    OptionalScorers,
    OutFolder,
    Resamples,
    ResamplingSeed,
    ScorerWeights,
)

if TYPE_CHECKING:
    from rich.console import Console

    from prefbench.bench.judges.session import Request

__all__ = ["judges_command"]


def judges_command(
    data: Annotated[str, typer.Argument(help="Human choices, as above.", show_default=False)],
    out: OutFolder,
    scorer: OptionalScorers = None,
    score_column: Annotated[
        list[str] | None,
        typer.Option(
            "--score-column",
            help="Recorded score of the data; NAME:lower where lower is better. Repeatable.",
            show_default=False,
        ),
    ] = None,
    weights: ScorerWeights = None,
    architecture: Architectures = None,
    image_folder: Annotated[
        Path | None,
        typer.Option("--image-folder", help="What image paths are relative to; else the data's own folder."),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation", help="Other data to choose tie thresholds by, as PickScore's paper does."
        ),
    ] = None,
    resamples: Resamples = 10_000,
    seed: ResamplingSeed = 0,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be judged, score nothing.")
    ] = False,
) -> None:
    """Judge the judges: which scorer agrees with people, and how far people agree.

    DATA is Pick-a-Pic Parquet (a file or a folder of shards), ImageReward's or
    HPD v2's test.json, TIFA's human_annotations_with_scores.json, a table of
    pairs, rankings or ratings (docs/judges.md), a folder with rankings.csv, or
    'miniature' (simulated people). Scores that the data carries are judged by
    --score-column, without any image. OUT gets results.json and judges.md.
    Computed scores are kept: a killed command goes on where it was.

    Examples:
        prefbench judges test.json --scorer pickscore --out judged

        prefbench judges ratings.csv --score-column clip --out judged

        prefbench judges miniature:300 --scorer mini:clip --out judged
    """
    from rich.console import Console

    from prefbench.bench.device import resolve_device
    from prefbench.bench.judges.printing import print_judgement
    from prefbench.bench.judges.session import PAGE, Request, check_request, judge_data
    from prefbench.bench.named_values import named_values
    from prefbench.bench.progress import shown_on
    from prefbench.bench.resamples import check_resamples

    console = Console()
    request = Request(
        data,
        scorer or [],
        score_column or [],
        weights=named_values("--weights", "SCORER=PATH", weights or []),
        architectures=named_values("--architecture", "SCORER=FILE", architecture or []),
        image_folder=image_folder,
        validation=validation,
    )
    check_request(request)
    check_resamples(resamples)
    if dry_run:
        _print_plan(console, request)
        return
    with shown_on(Console(stderr=True)) as stages:
        results = judge_data(
            request,
            out,
            resamples=resamples,
            seed=seed,
            device=resolve_device(device) if request.scorers else "cpu",  # recorded scores need no torch
            stages=stages,
        )
    print_judgement(console, results)
    console.print(f"\nPage: {out / PAGE}", markup=False, highlight=False, soft_wrap=True)


def _print_plan(console: "Console", request: "Request") -> None:
    from prefbench.bench.judges.judging import described
    from prefbench.bench.judges.session import open_data, open_validation
    from prefbench.bench.judges.sheets import headline
    from prefbench.bench.wording import count

    choices = open_data(request, request.data)
    others = open_validation(request, choices)
    for opened in (choices, others):
        if opened is None:
            continue
        about = described(opened)
        lines = headline({"data": about})
        if request.scorers:
            lines.append(
                f"{count(about['images'], 'image')} to score by each of {', '.join(request.scorers)}, "
                "less those that are kept on disk."
            )
        if request.recorded:
            lines.append(f"Recorded scores: {', '.join(name for name, _ in request.recorded)}.")
        for line in [*lines, ""]:
            console.print(line, markup=False, highlight=False)
    console.print("Nothing was computed: leave out --dry-run to do it.")
