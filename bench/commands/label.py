"""`prefbench label RULE`: labels of preference pairs by scorers instead of people, with the votes."""

from pathlib import Path
from typing import Annotated

import typer

from prefbench.bench.commands.options import Device

__all__ = ["label_command"]


def label_command(
    context: typer.Context,
    rule: Annotated[
        str,
        typer.Argument(
            help="scorer:NAME (higher score wins), majority, random, vanilla or normalised.",
            show_default=False,
        ),
    ],
    data: Annotated[str, typer.Option(help="'miniature', a manifest or Pick-a-Pic Parquet, as for train.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write: a row a pair.")],
    scorer: Annotated[
        list[str] | None, typer.Option(help="A voter of the electorate; repeat for several.")
    ] = None,
    tie_rule: Annotated[
        str | None, typer.Option(help="Where a majority ties: drop, human or human_votes.")
    ] = None,
    scores: Annotated[
        str | None, typer.Option(help="Table of finished scores instead of scoring images.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Constants: miniature, launcher or paper.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print settings and work, do nothing.")] = False,
) -> None:
    """Label preference pairs by scorers and write every score, vote and label.

    Ties of the data are left out first. scorer:NAME is Diffusion-DPO's
    --choice_model; majority is BalancedDPO's vote; random, vanilla (sum of raw
    scores) and normalised (sum of z-scores) are its baselines as their names
    read. The file is read by `prefbench train --labels file:FILE`.

    Examples:
        prefbench label majority --data miniature --out votes.parquet

        prefbench label majority --data pairs.csv --scorer pickscore --scorer hpsv2.1
        --tie-rule human --out votes.parquet

        prefbench label scorer:pickscore --data pairs.csv --out pickscore.parquet
    """
    from prefbench.bench.commands.composition import compose_and_write
    from prefbench.bench.commands.settings import positional_and_settings
    from prefbench.bench.registry import unknown_name
    from prefbench.reference_trainers.selection.composition import AGGREGATIONS

    rule, others = positional_and_settings(rule, context.args, "RULE")
    if rule not in AGGREGATIONS and not rule.startswith("scorer:"):
        raise unknown_name("rule for labels", rule, ["scorer:NAME", *AGGREGATIONS])
    options = {
        "labels": rule,
        "electorate": ",".join(scorer) if scorer else None,
        "tie_rule": tie_rule,
        "scores": scores,
    }
    compose_and_write(
        data, out, recipe=recipe, config=config, options={**options, **others}, device=device, dry_run=dry_run
    )
