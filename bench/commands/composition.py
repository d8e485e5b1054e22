"""What `select` and `label` share: settings to a composition, the composition applied, the reasons written."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench.bench.wording import count

if TYPE_CHECKING:
    from rich.console import Console

    from prefbench.reference_trainers.recipes import Recipe

__all__ = ["compose_and_write"]

DATA_SETTINGS = ("ties", "flip", "flip_seed", "image_folder", "cache_dir")
"""Settings of the data that labels and selection depend on."""


def compose_and_write(
    data: str,
    out: Path,
    *,
    recipe: str | None,
    config: Path | None,
    options: Mapping[str, Any],
    device: str,
    dry_run: bool,
) -> None:
    """Label and select as `options` ask, write the table of reasons and print the summary; or say what would be done.

    Args:
        data: as after `prefbench train --data`.
        out: Parquet file.
        recipe: whose constants hold where the user gave none; None for miniature on the miniature data, else launcher.
        config: TOML file of settings.
        options: setting -> value, None for one that was not given.
        device: where scorers and embeddings compute.
        dry_run: only say what would be done.
    """
    from rich.console import Console

    from prefbench.bench.commands.settings import constants_of, given_settings
    from prefbench.bench.device import resolve_device
    from prefbench.bench.progress import shown_on
    from prefbench.bench.user_cache import cache_folder
    from prefbench.reference_trainers.preferences.opening import is_miniature
    from prefbench.reference_trainers.recipes import resolve_recipe
    from prefbench.reference_trainers.selection.composing import open_composed
    from prefbench.reference_trainers.selection.selection_table import check_out, write_reasons
    from prefbench.reference_trainers.selection.summary import composition_card, summary_lines

    check_out(out)
    values, sources = given_settings(config, [], options)
    name = recipe or ("miniature" if is_miniature(data) else "launcher")
    resolved = resolve_recipe("diffusion_dpo", name, constants_of(values, sources))
    _refuse_settings_of_training(options)
    _refuse_among_data(out, data)
    console = Console()
    if dry_run:
        _print_plan(console, data, resolved)
        return
    with shown_on(console) as stages:
        composed = open_composed(
            data,
            resolved.data,
            resolved.composition,
            cache_dir=cache_folder(resolved.data.cache_dir),
            stages=stages,
            device=resolve_device(device),
        )
    write_reasons(composed, out)
    for line in summary_lines(composition_card(composed, resolved.composition)):
        console.print(line, markup=False, highlight=False)
    console.print(f"\nReasons for every pair: {out}", markup=False, highlight=False, soft_wrap=True)


def _refuse_settings_of_training(options: Mapping[str, Any]) -> None:
    """Nothing is trained, so an option such as --lr would do nothing; in a file shared with train it may stand."""
    import dataclasses

    from prefbench.bench.exceptions import UsageError
    from prefbench.reference_trainers.selection.composition import Composition

    read = {field.name for field in dataclasses.fields(Composition)} | set(DATA_SETTINGS)
    for name, value in options.items():
        if value is not None and name not in read:
            raise UsageError(
                f"--{name.replace('_', '-')} is a setting of training and has no effect on labels and selection. Leave it out."
            )


def _refuse_among_data(out: Path, data: str) -> None:
    """A folder of Parquet shards would have one more."""
    from prefbench.bench.exceptions import UsageError

    if out.resolve().is_relative_to(Path(data).expanduser().resolve()):
        raise UsageError(f"--out {out} would stand among the data in {data}. Give another folder.")


def _print_plan(console: "Console", data: str, recipe: "Recipe") -> None:
    import dataclasses

    from rich.table import Table

    from prefbench.reference_trainers.preferences.opening import open_preferences
    from prefbench.reference_trainers.selection.composing import scorers_needed
    from prefbench.reference_trainers.selection.composition import Composition

    cfg, constants = recipe.composition, recipe.constants()
    table = Table(title="Settings of labels and selection", title_justify="left")
    for column in ("setting", "value", "source"):
        table.add_column(column, overflow="fold")
    for field in dataclasses.fields(Composition):
        if constants[field.name]["value"] is not None:
            table.add_row(field.name, str(constants[field.name]["value"]), constants[field.name]["source"])
    console.print(table)
    pairs = open_preferences(data, recipe.data)
    scorers = scorers_needed(cfg)
    lines = [pairs.counts.sentence(), f"{count(len(pairs), 'pair')} to label and select from."]
    if scorers and cfg.scores is None:
        lines.append(
            f"{2 * len(pairs)} image scores by each of {', '.join(scorers)}, less those that are kept on disk."
        )
    if cfg.needs_texts:
        prompts = len(set(pairs.prompts))
        lines.append(
            f"{prompts} distinct prompts to rate ({cfg.text_quality}) and embed ({cfg.text_embedding})."
        )
    for line in [*lines, "Nothing was computed: leave out --dry-run to do it."]:
        console.print(line, markup=False, highlight=False)
