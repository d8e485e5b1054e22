"""`prefbench noise`."""

from pathlib import Path
from typing import Annotated

import typer

from prefbench.bench.commands.options import (
    Architectures,
    Device,
    OutFolder,
    ScorerBatchSize,
    Scorers,
    ScorerWeights,
)

__all__ = ["noise_command"]


def noise_command(
    manifest: Annotated[
        Path,
        typer.Argument(help="CSV with the columns image,prompt, as for score.", show_default=False),
    ],
    scorer: Scorers,
    out: OutFolder,
    weights: ScorerWeights = None,
    architecture: Architectures = None,
    batch_size: ScorerBatchSize = None,
    device: Device = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, float16 or bfloat16 networks.")] = "float32",
) -> None:
    """Measure how much scores move when files are re-encoded.

    Each image is scored as it is and after three re-encodings: PNG, which must
    change nothing; JPEG and WebP at quality 95, which nobody sees. OUT gets
    tolerances.toml, the differences of scores up to which two images should
    tie (`prefbench compare --tie-tolerance OUT/tolerances.toml`); noise.json,
    all that was measured; and scores/, the scores themselves. It takes 20
    different images or more; a few hundred of the kind that will be compared
    are enough. A picture that the manifest has twice counts once.

    The copies lie in the system's temporary folder ($TMPDIR) meanwhile, about
    twice the size of the images as PNG. Scores are kept in the user's cache:
    killed and started again the same command goes on.

    Examples:
        prefbench noise images.csv --scorer pickscore --scorer hpsv2.1 --out noise

        prefbench noise images.csv --scorer mini:clip --out noise
    """
    from rich.console import Console

    from prefbench.bench.device import resolve_device
    from prefbench.bench.image_manifest import read_manifest
    from prefbench.bench.named_values import named_values
    from prefbench.bench.progress import shown_on
    from prefbench.bench.reencoding.printing import print_noise
    from prefbench.bench.reencoding.session import TOLERANCES, measure_noise

    console = Console()
    rows = read_manifest(manifest)
    with shown_on(Console(stderr=True)) as stages:
        found = measure_noise(
            rows,
            scorer,
            out,
            weights=named_values("--weights", "SCORER=PATH", weights or []),
            architectures=named_values("--architecture", "SCORER=FILE", architecture or []),
            batch_size=batch_size,
            device=resolve_device(device),
            dtype=dtype,
            stages=stages,
        )
    print_noise(console, found)
    console.print(f"\nTolerances: {out / TOLERANCES}", markup=False, highlight=False, soft_wrap=True)
