"""`prefbench select METHOD`: rank preference pairs, keep the best, write the reasons."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["select_command"]

_RULE, _DATA, _MORE = "The rule", "Data", "More"


def select_command(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help="qsd (dpo_qsd), fifa, margin or random.", show_default=False)],
    data: Annotated[
        str,
        typer.Option(
            help="'miniature', a manifest or Pick-a-Pic Parquet, as for train.", rich_help_panel=_DATA
        ),
    ],
    out: Annotated[Path, typer.Option(help="Parquet file to write: a row a pair.", rich_help_panel=_DATA)],
    scorer: Annotated[
        str | None,
        typer.Option(help="Scorer behind psi, proxy reward or margin.", rich_help_panel=_RULE),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="How many pairs: 5.33% or 4000.", rich_help_panel=_RULE)
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(help="random or margin: as many pairs by this rule instead.", rich_help_panel=_RULE),
    ] = None,
    text_quality: Annotated[
        str | None,
        typer.Option(help="llm:MODEL (with --llm-url), file:PATH, or grammar.", rich_help_panel=_RULE),
    ] = None,
    text_embedding: Annotated[
        str | None,
        typer.Option(help="clip:NAME, or a sentence-transformers folder or hub id.", rich_help_panel=_RULE),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels to select by, as for train.", rich_help_panel=_RULE)
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Constants: miniature, launcher or paper.", rich_help_panel=_MORE),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.", rich_help_panel=_MORE)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=_MORE)] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print settings and work, do nothing.", rich_help_panel=_MORE)
    ] = False,
) -> None:
    """Select preference pairs and write why: every term raw and normalised, rank, kept or not.

    qsd: Q = psi_w (1 - psi_l). fifa: margin, text quality and text diversity.
    margin: by one scorer. random: the control of all others. The file is read by
    `prefbench train --select file:FILE` and, for its scores, by --scores FILE.
    Every other setting is an option too: --keep-of rows, --neighbour 5,
    --quality-weight 1, --scores table.parquet, --llm-url http://127.0.0.1:8000/v1.

    Examples:
        prefbench select qsd --data miniature --out qsd.parquet

        prefbench select qsd --data pairs.csv --scorer pickscore --keep 5.33% --out qsd.parquet

        prefbench select fifa --data pickapic/ --text-quality llm:Qwen2.5-7B-Instruct
        --llm-url http://127.0.0.1:8000/v1 --out fifa.parquet

        prefbench select fifa --data miniature --control random --out random.parquet
    """
    from prefbench.bench.commands.composition import compose_and_write
    from prefbench.bench.commands.settings import positional_and_settings
    from prefbench.bench.registry import unknown_name
    from prefbench.reference_trainers.selection.composition import SELECTIONS

    method, others = positional_and_settings(method, context.args, "METHOD")
    select = "qsd" if method == "dpo_qsd" else method
    if select not in SELECTIONS:
        raise unknown_name("selection", method, [*SELECTIONS, "dpo_qsd"])
    options = {
        "select": select,
        "select_scorer": scorer,
        "keep": keep,
        "control": control,
        "text_quality": text_quality,
        "text_embedding": text_embedding,
        "labels": labels,
    }
    compose_and_write(
        data, out, recipe=recipe, config=config, options={**options, **others}, device=device, dry_run=dry_run
    )
