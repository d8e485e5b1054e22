"""`prefbench gate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prefbench.bench.baselines import DEFAULT_FOLDER
from prefbench.bench.commands.options import OutFolder

__all__ = ["gate_command"]


def gate_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|SCORES|SUITE",
            help="Folder of `bench` or `compare`, or a scores table (CSV, Parquet); with --sequential and --checkpoint a "
            "suite.",
            show_default=False,
        ),
    ],
    candidate: Annotated[
        str, typer.Option("--candidate", help="Checkpoint that is to be released.", show_default=False)
    ],
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline",
            help="Checkpoint of RUN that it is held against; or name or path of a stored baseline.",
            show_default=False,
        ),
    ],
    out: OutFolder,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            help="Without rules: how far below 0.5 the true win rate may lie. 0.03 if not given.",
            show_default=False,
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules", help="TOML file; else the gate of the run's suite; else --margin.", show_default=False
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="KIND",
            help="Accept that a stored baseline differs in prompts, seeds, sampling or scorers; or identical: that both are "
            "one checkpoint; repeatable.",
        ),
    ] = None,
    baselines: Annotated[
        Path, typer.Option("--baselines", help="Folder of stored baselines.")
    ] = DEFAULT_FOLDER,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="Look after every block of prompts and stop as soon as it is decided. Of a suite: draw only so many.",
        ),
    ] = False,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint",
            metavar="NAME=SPEC",
            help="With --sequential and a suite: candidate and baseline, as of `bench`; once for each.",
        ),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(
            "--block",
            help="With --sequential: prompts between two looks; 64 if not given.",
            show_default=False,
        ),
    ] = None,
    order_seed: Annotated[
        int | None,
        typer.Option(
            "--order-seed",
            help="With --sequential: of the prompts' random order; 0 if not given.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Of a suite: at most so many prompts of each set.", show_default=False),
    ] = None,
    prompts_dir: Annotated[
        Path | None,
        typer.Option("--prompts-dir", help="Of a suite: folder with prompt files.", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="Of a suite: auto, cpu, cuda or cuda:N; auto if not given", show_default=False
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", help="Of a suite: images drawn at once; 8 if not given.", show_default=False
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights", metavar="SCORER=PATH", help="Of a suite: weights for a scorer; repeatable."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Of a suite: say what at most is drawn, make nothing.")
    ] = False,
) -> None:
    """Hold a release: pass (exit code 0), fail (1) or inconclusive (3).

    Nothing is drawn or scored, but by --sequential with a suite: then OUT is the
    run folder. It gets gate.json, junit.xml and gate.md, and thumbnails where the
    run has pictures. Bad input is exit code 2, and writes nothing.

    Examples:
        prefbench gate run --candidate mine --baseline base --out gate

        prefbench gate scores.csv --candidate v2 --baseline v1 --margin 0.05 --out gate

        prefbench gate run --candidate v2 --baseline v1 --rules gate.toml --out gate

        prefbench gate run --candidate v3 --baseline sd15-2026-11 --out gate

        prefbench gate miniature --sequential --checkpoint base=miniature
        --checkpoint mine=out --candidate mine --baseline base --out gate
    """
    drawing = {
        "limit": limit,
        "prompts_dir": prompts_dir,
        "device": device,
        "batch_size": batch_size,
        "weights": weights,
        "dry_run": dry_run,
    }
    looks = {"block": block, "order_seed": order_seed}
    if checkpoint:
        from prefbench.bench.commands.gate_by_blocks import draw_and_gate

        raise typer.Exit(
            draw_and_gate(
                str(source),
                checkpoint,
                candidate,
                baseline,
                out,
                sequential=sequential,
                allow=allow or (),
                looks=looks,
                drawing=drawing,
                options={"margin": margin, "rules": rules},
            )
        )
    _check_options(source, sequential, looks, drawing)
    from prefbench.bench.exceptions import StoppedError

    try:
        from rich.console import Console

        from prefbench.bench.gate.gating import gate_release
        from prefbench.bench.gate.printing import conclude

        if sequential:
            from prefbench.bench.gate.sequential_gating import replay_gate as gate_release

        report = gate_release(
            source,
            candidate,
            baseline,
            out,
            margin=margin,
            rules=rules,
            allow=allow or (),
            folder=baselines,
            **{name: value for name, value in looks.items() if value is not None},
        )
    except KeyboardInterrupt as error:
        raise StoppedError(
            f"Interrupted, and nothing was decided: {out} is as it was before. The same command begins anew."
        ) from error
    raise typer.Exit(conclude(Console(), report, out))


def _check_options(source: Path, sequential: bool, looks: dict[str, Any], drawing: dict[str, Any]) -> None:
    """Refuse options that would be without effect: those of drawing, and those of looks without --sequential."""
    from prefbench.bench.exceptions import UsageError
    from prefbench.bench.suite import SUITES

    for name, value in drawing.items():
        if value:
            raise UsageError(
                f"--{name.replace('_', '-')} is for a gate that draws: a suite, --sequential, and --checkpoint for candidate "
                "and baseline. Leave it out, or add them."
            )
    for name, value in looks.items():
        if value is not None and not sequential:
            raise UsageError(f"--{name.replace('_', '-')} goes with --sequential. Add it, or leave this out.")
    if sequential and str(source) in SUITES and not source.exists():
        raise UsageError(
            f"{source} is a suite: give --checkpoint NAME=SPEC for the candidate and for the baseline. Without them a gate is "
            "over a finished run or a scores table."
        )
