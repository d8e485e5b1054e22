"""`prefbench doctor`: what this machine has, what it can reach, and whether the ports give the originals' numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from prefbench.scorers.upstream.parity import Parity

__all__ = ["doctor_command"]

PACKAGES = (
    "prefbench", "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "open_clip_torch",
    "safetensors", "numpy", "scipy", "pandas", "pyarrow", "pillow",
)  # fmt: skip


def doctor_command(
    parity: Annotated[
        bool,
        typer.Option(
            "--parity",
            help="Run the original packages beside the ports; each gets an environment of its own (1 GB for all).",
        ),
    ] = False,
    golden: Annotated[
        bool,
        typer.Option(
            "--golden", help="Score images whose scores others have published; needs the published weights."
        ),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            help="With --golden: folder that has the images, where they cannot be fetched.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="With --golden: SCORER=PATH, weights that cannot be fetched; repeatable.", show_default=False
        ),
    ] = None,
    original: Annotated[
        list[str] | None,
        typer.Option(
            help="With --parity: only pickscore, hpsv2, image-reward or t2v-metrics; repeatable.  [default: all]"
        ),
    ] = None,
) -> None:
    """Show versions, devices, shipped weights, prompt texts and whether a model hub answers.

    Nothing is downloaded. Exit code 0 when the miniature world can run; what is
    missing is named with its remedy.

    With --parity it shows instead whether the ports of the scorers give the
    same numbers as the packages they were ported from: small random networks
    of the original's own classes, the same weights on both sides, images and
    prompts of every awkward kind. uv makes an environment for each original,
    once, from pinned versions, in the user's cache folder.

    With --golden it scores the images of ImageReward's, CLIPScore's and HPSv2's
    READMEs with the published weights and compares with what was published.

    Examples:
        prefbench doctor

        prefbench doctor --parity

        prefbench doctor --parity --original hpsv2

        prefbench doctor --golden --weights imagereward=ImageReward.pt
    """
    from rich.console import Console

    from prefbench.bench.exceptions import UsageError

    console = Console()
    if original and not parity:
        raise UsageError("--original goes with --parity: prefbench doctor --parity --original hpsv2")
    if (images or weights) and not golden:
        raise UsageError("--images and --weights go with --golden: prefbench doctor --golden --images FOLDER")
    if not (parity or golden):
        _diagnosis(console)
    if parity:
        _parity(console, original or [])
    if golden:
        _golden(console, images, weights or [])


def _diagnosis(console: "Console") -> None:
    from rich.table import Table

    from prefbench.bench.diagnosis import diagnose

    worst = 0
    for title, findings in diagnose(PACKAGES):
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False
        )
        table.add_column(no_wrap=True, min_width=18)
        table.add_column(no_wrap=True, min_width=4)
        table.add_column(overflow="fold")
        for finding in findings:
            mark = {"ok": "[green]ok[/]", "absent": "[yellow]–[/]", "broken": "[red]no[/]"}[finding.state]
            table.add_row(finding.what, mark, finding.detail)
            worst = max(worst, 1 if finding.state == "broken" else 0)
        console.print(table)
        console.print()
    if worst:
        from prefbench.bench.exceptions import PrefbenchError

        raise PrefbenchError("This installation is broken: see the lines marked `no` above.")


def _parity(console: "Console", wanted: list[str]) -> None:
    from rich.console import Console

    from prefbench.bench.exceptions import PrefbenchError
    from prefbench.bench.progress import shown_on
    from prefbench.bench.registry import unknown_name
    from prefbench.scorers.upstream.environments import build_environment, is_built
    from prefbench.scorers.upstream.parity import run_parity
    from prefbench.scorers.upstream.parity_inputs import IMAGES
    from prefbench.scorers.upstream.parity_models import SUBJECTS

    for name in wanted:
        if name not in SUBJECTS:
            raise unknown_name("original package", name, list(SUBJECTS))
    results: list[Parity] = []
    failed: dict[str, list[str]] = {}  # reason -> packages
    with shown_on(Console(stderr=True)) as stages:
        for package in wanted or SUBJECTS:
            try:
                if not is_built(package):
                    with stages(f"environment of {package}", 1, "environments") as advance:
                        build_environment(package)
                        advance(1)
                with stages(package, len(IMAGES), "images") as advance:
                    results.append(run_parity(package, advance))
            except PrefbenchError as error:
                failed.setdefault(str(error), []).append(package)
    if results:
        _print_parity(console, results)
    problems = [f"{', '.join(packages)}: {reason}" for reason, packages in failed.items()]
    problems += [
        f"{r.package}: {'; '.join(r.failures[:2]) or 'above the limit'}" for r in results if not r.holds
    ]
    if problems:
        raise PrefbenchError("Not all of the originals could be confirmed. " + " ".join(problems))


def _print_parity(console: "Console", results: "list[Parity]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("original", "port", "pairs", "largest diff.", "allowed", "spread", ""):
        side: Literal["left", "right"] = "left" if heading in ("original", "port", "") else "right"
        table.add_column(heading, justify=side, overflow="fold", no_wrap=heading != "port")
    for result in results:
        table.add_row(
            result.title.replace(", ", ",\n"),
            result.scorer,
            str(result.pairs),
            f"{result.largest:.1e}",
            f"{result.limit:.0e}",
            f"{min(result.spread):.1e}",
            "[green]same[/]" if result.holds else "[red]differs[/]",
        )
    console.print(table)
    console.print(
        "\nOn random weights, float32, CPU. Spread: standard deviation of the original's scores over images or over "
        "prompts, the smaller of the two; a difference is to be held against it."
    )
    console.print("\n[bold]Where the ports do something else on purpose[/]")
    for result in results:
        for departure in result.departures:
            theirs = departure.original
            shown = "no score" if isinstance(theirs, str) else f"{theirs:.4f}"
            console.print(
                f"  {result.package}, {departure.image}: original {shown}, port {departure.port:.4f}\n"
                f"    {departure.reason}",
                highlight=False,
            )


def _golden(console: "Console", images: Path | None, weights: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from prefbench.bench.device import resolve_device
    from prefbench.bench.exceptions import PrefbenchError, UsageError
    from prefbench.bench.named_values import named_values
    from prefbench.bench.progress import shown_on
    from prefbench.bench.registry import unknown_name
    from prefbench.scorers.golden import GOLDENS, check_golden

    given = named_values("--weights", "SCORER=PATH", weights)
    known = list(dict.fromkeys(golden.scorer for golden in GOLDENS))
    for name in given:
        if name not in known:
            raise unknown_name("scorer with published scores", name, known)
        if not Path(given[name]).exists():
            raise UsageError(f"--weights {name}={given[name]}: there is no such file or folder.")
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images}: there is no such folder.")
    device = resolve_device("auto")
    outcomes = []
    with (
        shown_on(Console(stderr=True)) as stages,
        stages("published scores", len(GOLDENS), "results") as advance,
    ):
        for golden in GOLDENS:
            outcomes.append(check_golden(golden, given, device, images))
            advance(1)
    table = Table(box=None, pad_edge=False)
    for heading in ("scorer", "by", "published", "here", "allowed", ""):
        table.add_column(heading, overflow="fold")
    for outcome in outcomes:
        golden = outcome.golden
        mark = (
            "[green]same[/]" if outcome.holds else "[red]differs[/]" if outcome.got else "[yellow]not run[/]"
        )
        published, here = (
            " ".join(f"{value:.4f}" for value in values) for values in (golden.expected, outcome.got)
        )
        table.add_row(golden.scorer, golden.by, published, here or "–", f"{golden.tolerance:.0e}", mark)
    console.print(table)
    for reason in dict.fromkeys(outcome.reason for outcome in outcomes if outcome.reason):
        console.print(f"\nNot run: {reason}", markup=False, highlight=False)
    differing = [outcome.golden.scorer for outcome in outcomes if outcome.got and not outcome.holds]
    if differing:
        raise PrefbenchError(f"Other scores than published: {', '.join(differing)}.")
    if not any(outcome.got for outcome in outcomes):
        raise PrefbenchError("None of the published scores could be computed: see the reasons above.")
