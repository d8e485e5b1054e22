"""Options that several commands have in one form, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Accuracy",
    "Architectures",
    "Device",
    "IntervalName",
    "OptionalScorers",
    "OutFolder",
    "Resamples",
    "ResamplingSeed",
    "ScorerBatchSize",
    "ScorerWeights",
    "Scorers",
]

_SCORER = typer.Option("--scorer", help="Scorer by name; repeat for several.", show_default=False)

Scorers = Annotated[list[str], _SCORER]
OptionalScorers = Annotated[list[str] | None, _SCORER]

OutFolder = Annotated[Path, typer.Option("--out", help="Folder to write.", show_default=False)]

Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]

ScorerWeights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights", help="SCORER=PATH: local weights instead of the published ones.", show_default=False
    ),
]

Architectures = Annotated[
    list[str] | None,
    typer.Option(
        "--architecture", help="SCORER=FILE: JSON with other sizes of the network.", show_default=False
    ),
]

ScorerBatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Images at once; the scorer's own if not given.")
]

Resamples = Annotated[int, typer.Option("--resamples", help="Bootstrap samples of prompts.")]

ResamplingSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")]

IntervalName = Annotated[str, typer.Option("--interval", help="Bootstrap interval: percentile or bca.")]

Accuracy = Annotated[
    Path | None,
    typer.Option(
        "--accuracy",
        help="Accuracies of the voters, for a weighted vote beside: of `prefbench judges`, or TOML or JSON.",
    ),
]
