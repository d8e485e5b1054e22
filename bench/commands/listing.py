"""`prefbench list`: every name that the other commands take."""

from collections.abc import Callable
from typing import Annotated

import typer

__all__ = ["list_command"]


def list_command(
    kind: Annotated[str, typer.Argument(help="scorers, methods, prompts, suites, checkpoints or recipes.")],
) -> None:
    """List the names of one kind of thing.

    Examples:

        prefbench list scorers

        prefbench list methods
    """
    from rich.console import Console
    from rich.table import Table

    from prefbench.bench.registry import unknown_name

    if kind not in _ROWS:
        raise unknown_name("kind of thing to list", kind, list(_ROWS))
    columns, rows = _ROWS[kind]()
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _scorers() -> Rows:
    from prefbench.scorers.registry import HAVE_ORIGINALS, REGISTRY, UPSTREAM, VARIANTS

    rows: list[tuple[str, ...]] = []
    for name in REGISTRY.names():
        variants = [*VARIANTS.get(name, ())[1:], *([UPSTREAM] if name in HAVE_ORIGINALS else [])]
        also = f" Also {', '.join(f'@{variant}' for variant in variants)}." if variants else ""
        rows.append((name, _summary(REGISTRY.listed_target(name).partition(":")[0]) + also))
    return ("scorer", "what"), rows


def _methods() -> Rows:
    from prefbench.reference_trainers.registry import METHODS, load_method

    return ("method", "paper"), [(name, load_method(name).paper) for name in METHODS.names()]


def _prompts() -> Rows:
    from prefbench.bench.prompts import PROMPT_SETS

    sets = {name: PROMPT_SETS.get(name) for name in PROMPT_SETS.names()}
    columns = ("prompt set", "version", "prompts", "licence", "source")
    return columns, [(name, s.version, str(s.size), s.licence, s.source) for name, s in sets.items()]


def _suites() -> Rows:
    from prefbench.bench.suite import SUITES, load_suite

    rows: list[tuple[str, ...]] = []
    for name in SUITES:
        suite = load_suite(name)
        limit = f", at most {suite.limit}" if suite.limit else ""
        rows.append((name, f"{', '.join(suite.prompts)}{limit}", ", ".join(suite.electorate.voters)))
    return ("suite", "prompts", "voters"), rows


def _checkpoints() -> Rows:
    return ("checkpoint SPEC", "what"), [
        ("miniature", "the miniature world's base"),
        ("PATH", "a diffusers pipeline folder, or a folder that `prefbench train` wrote"),
        ("OWNER/NAME", "a pipeline on the model hub"),
        ("lora:PATH@BASE", "LoRA weights over a base"),
        ("unet:PATH@BASE", "a UNet over a base"),
        ("images:DIR", "finished images: PROMPT_ID.png, PROMPT_ID_SEED.png or images.csv"),
    ]


def _recipes() -> Rows:
    return ("recipe to reproduce", "what"), [
        ("miniature", "every method in the miniature world, against the base and its control")
    ]


def _summary(module: str) -> str:
    """First line of a module's docstring, read without importing it: a scorer's module imports torch."""
    import ast
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return f"broken: {module} cannot be found"
    return (ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or "").partition(
        "\n"
    )[0]


_ROWS: dict[str, Callable[[], Rows]] = {
    "scorers": _scorers,
    "methods": _methods,
    "prompts": _prompts,
    "suites": _suites,
    "checkpoints": _checkpoints,
    "recipes": _recipes,
}
