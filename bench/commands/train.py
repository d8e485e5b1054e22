"""`prefbench train METHOD`: train a method, or go on with an unfinished run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prefbench.bench.commands.settings import constants_of, given_settings, positional_and_settings
from prefbench.bench.wording import count

__all__ = ["train_command"]

_COMMON, _MADE_OF, _MORE = "Often used", "Labels, selection, reference", "More"


def train_command(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help="A name of `prefbench list methods`.")],
    backbone: Annotated[
        str,
        typer.Option(help="'miniature', a diffusers pipeline folder, or a hub id.", rich_help_panel=_COMMON),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="'miniature', a CSV or Parquet manifest (columns prompt, image_0, image_1, label_0), or "
            "Pick-a-Pic Parquet.",
            rich_help_panel=_COMMON,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the run; at the end it is the checkpoint.", rich_help_panel=_COMMON),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="miniature, launcher (the released code's) or paper. Default: miniature on the miniature "
            "backbone, launcher elsewhere.",
            rich_help_panel=_COMMON,
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.", rich_help_panel=_COMMON)] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.", rich_help_panel=_COMMON)] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="human, scorer:NAME, majority (or random, vanilla, normalised) of an electorate, or file:PATH.",
            rich_help_panel=_MADE_OF,
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(help="none, qsd, fifa, margin, random, or file:PATH.", rich_help_panel=_MADE_OF),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="fixed, refresh:TAU (copy of the policy every TAU steps, or inf) or ema:DECAY.",
            rich_help_panel=_MADE_OF,
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.", rich_help_panel=_MORE)] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, key=value; --dry-run lists them.", rich_help_panel=_MORE),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print every constant with its source; open nothing.", rich_help_panel=_MORE
        ),
    ] = False,
) -> None:
    """Train a preference method; started again with the same settings, an unfinished run goes on.

    Every setting that --dry-run lists is an option too: --batch 32, --seed 1, --kappa 700, --lora-rank 8,
    --weight-decay 0.1, --keep 5%, --control random (as many pairs at random, the control of a selection),
    --flip 0.3 --flip-seed 0 (turn labels round).

    Examples:
        prefbench train diffusion_dpo --backbone miniature --data miniature --out runs/dpo

        prefbench train sft --backbone miniature --data miniature --out runs/sft --flip 0.3

        prefbench train diffusion_dpo --backbone miniature --data miniature --out runs/qsd --select qsd

        prefbench train diffusion_dpo --backbone miniature --data miniature --out runs/mix --select fifa
        --labels majority --reference refresh:64 --control random

        prefbench train diffusion_dpo --backbone stable-diffusion-v1-5/stable-diffusion-v1-5 --data pairs.csv
        --out runs/sd15 --recipe launcher --set precision=bf16 --dry-run
    """
    from rich.console import Console

    from prefbench.reference_trainers.offline import train
    from prefbench.reference_trainers.preferences.opening import is_miniature
    from prefbench.reference_trainers.processes import process_state
    from prefbench.reference_trainers.progress import ConsoleProgress
    from prefbench.reference_trainers.recipes import resolve_recipe

    method, others = positional_and_settings(method, context.args, "METHOD")
    options = {"steps": steps, "lr": lr, "labels": labels, "select": select, "reference": reference}
    values, sources = given_settings(config, settings or [], {**options, **others})
    resolved = resolve_recipe(
        method,
        recipe or ("miniature" if backbone == "miniature" else "launcher"),
        constants_of(values, sources),
        cache=is_miniature(data),
    )
    console = Console()
    if dry_run:
        _print_recipe(console, resolved)
        _print_found(console, backbone, data)
        return
    result = train(resolved, backbone=backbone, data=data, out=out, progress=ConsoleProgress(console))
    if process_state().is_main_process:
        _print_result(console, result)


def _print_recipe(console: Any, recipe: Any) -> None:
    from rich.table import Table

    table = Table(title=f"{recipe.method}, recipe {recipe.name}: every constant", title_justify="left")
    for column in ("constant", "value", "source"):
        table.add_column(column, overflow="fold")
    for name, constant in recipe.constants().items():
        table.add_row(name, str(constant["value"]), constant["source"])
    console.print(table)


def _print_found(console: Any, backbone: str, data: str) -> None:
    """What a run would refuse at once; nothing is opened."""
    from prefbench.bench.exceptions import PrefbenchError
    from prefbench.reference_trainers.backbones.opening import is_local
    from prefbench.reference_trainers.preferences.opening import existing, is_miniature

    def look_for_backbone() -> str:
        if is_local(backbone):
            return f"Backbone {backbone}: is there; its weights were not looked at."
        return f"Backbone {backbone}: taken for a hub id; the hub was not asked."

    def look_for_data() -> str:
        if not is_miniature(data):
            existing(data)
        return f"Data {data}: is there; its rows and images were not looked at."

    for look in (look_for_backbone, look_for_data):
        try:
            text = look()
        except PrefbenchError as error:
            text = f"A run would be refused: {error}"
        console.print(text, markup=False, highlight=False)


def _print_result(console: Any, result: Any) -> None:
    card = result.card
    if result.was_finished:
        console.print(
            f"{result.out} is finished: {card['method']}, {count(card['steps'], 'step')}. Nothing to do.",
            markup=False,
        )
        return
    last = card["last_step"]
    data = card["data"]
    unit = {"pair": "pair", "image": "image", "ranking": "list"}[card["unit"]]
    kappa = "" if card["kappa"] is None else f", kappa {card['kappa']:g}"
    console.print(
        f"Trained {card['method']}{kappa}: {count(card['steps'], 'step')} of {count(card['pairs_per_step'], unit)} from "
        f"{count(data['pairs'], 'pair')} ({count(data['ties_dropped'], 'tie')} dropped, "
        f"{count(data['flipped'], 'label')} flipped); "
        f"last loss {last['loss']:.4f}.",
        markup=False,
        highlight=False,
    )
    kind = "LoRA over " + card["base"] if card["form"] == "lora" else "pipeline"
    kind += ", for the negative branch of guidance" if card["kind"] == "negative" else ""
    console.print(f"Checkpoint ({kind}): {result.out}", markup=False, highlight=False)
