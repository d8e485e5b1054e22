"""From `NAME=SPEC` to a checkpoint.

    miniature            the base of the miniature world, from this package
    FOLDER               a diffusers pipeline, or what `prefbench train` wrote (full or LoRA)
    OWNER/NAME[@REV]     a diffusers pipeline on the hub
    lora:PATH@BASE       LoRA weights (file, folder or hub id) over a base
    unet:PATH@BASE       a UNet (folder, folder with unet/, or hub id) in a base
    npo:PATH@BASE        BASE (any of the above) guided by a negative network, see `negative_branch`
    images:DIR           finished images, see `prefbench.bench.checkpoints.image_folder`

BASE is any of the first three that is a whole pipeline. Other packages add kinds of their own, KIND:REST, by the
entry-point group `prefbench.checkpoints`: each names a function (name, spec, rest) -> Checkpoint.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from prefbench.bench.checkpoints.checkpoint import Checkpoint
from prefbench.bench.checkpoints.image_folder import ImageFolderCheckpoint
from prefbench.bench.checkpoints.negative_branch import NegativeBranchCheckpoint
from prefbench.bench.checkpoints.pipeline import PipelineCheckpoint
from prefbench.bench.checkpoints.pipeline_folder import read_json
from prefbench.bench.checkpoints.sources import LocalSource, Source, find_source
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.registry import Registry

__all__ = ["CARD_NAME", "KINDS", "open_checkpoint"]

_HERE = "prefbench.bench.checkpoints.opening"
KINDS: Registry[Callable[[str, str, str], Checkpoint]] = Registry(
    "kind of checkpoint",
    {
        "images": f"{_HERE}:open_images",
        "lora": f"{_HERE}:open_part",
        "unet": f"{_HERE}:open_part",
        "npo": f"{_HERE}:open_negative_branch",
    },
    group="prefbench.checkpoints",
)
"""What stands before the colon of a SPEC -> (name, spec, what stands after it) -> Checkpoint."""

CARD_NAME = "prefbench.json"
"""Card of a trained checkpoint: at least `kind` ("pipeline", "lora" or "negative"), `base` (a SPEC) for the last two, and
`form` ("pipeline" or "lora") for a negative network."""


def open_checkpoint(name: str, spec: str) -> Checkpoint:
    """Find and identify a checkpoint; nothing is loaded, and of a hub id only the commit is asked for.

    Raises:
        UsageError: a SPEC that does not parse.
        DataError, MissingWeightsError: it parses, and what it names is not there or is not what it should be.
    """
    kind, colon, rest = spec.partition(":")
    if colon and kind in KINDS:
        return KINDS.get(kind)(name, spec, rest)
    source = _find(spec, spec)
    card = _card(str(source.path)) if isinstance(source, LocalSource) else None
    if card and card.get("kind") == "lora":
        return PipelineCheckpoint(name, spec, "lora", _base_of_card(card, source, spec), source, card)
    if card and card.get("kind") == "negative":
        assert isinstance(source, LocalSource)
        base = _card_base(card, source)
        with _told_with_card(base, source):
            return _negative_branch(name, spec, str(source.path), base)
    return PipelineCheckpoint(name, spec, "pipeline", source, None, card)


def open_images(name: str, spec: str, rest: str) -> Checkpoint:
    """`images:DIR`."""
    if not rest:
        raise UsageError(f"Checkpoint {spec!r} names no folder. Write images:DIR.")
    return ImageFolderCheckpoint(name, spec, Path(rest).expanduser())


def open_part(name: str, spec: str, rest: str) -> Checkpoint:
    """`lora:PATH@BASE` and `unet:PATH@BASE`."""
    path, base = _split(spec, rest)
    kind = spec.partition(":")[0]
    return PipelineCheckpoint(name, spec, kind, _base(base, spec), find_source(path, spec=spec), _card(path))


def open_negative_branch(name: str, spec: str, rest: str) -> Checkpoint:
    """`npo:PATH@BASE`: PATH is what `prefbench train diffusion_npo` wrote, a pipeline, or LoRA weights over BASE."""
    return _negative_branch(name, spec, *_split(spec, rest))


def _negative_branch(name: str, spec: str, path: str, base: str) -> Checkpoint:
    positive = open_checkpoint(name, base)
    if not isinstance(positive, PipelineCheckpoint):
        raise UsageError(
            f"Checkpoint {spec!r}: the base {base} is no single network that draws. Give a pipeline, or lora:PATH@BASE."
        )
    source, card = find_source(path, spec=spec), _card(path)
    if card is not None and card.get("form", card["kind"]) == "lora":
        negative = PipelineCheckpoint(name, spec, "lora", _base_of_card(card, source, spec), source, card)
    elif card is not None or (Path(path).expanduser() / "model_index.json").is_file():
        negative = PipelineCheckpoint(name, spec, "pipeline", source, None, card)
    else:
        negative = PipelineCheckpoint(name, spec, "lora", positive.base, source, None)
    return NegativeBranchCheckpoint(name, spec, positive, negative)


def _split(spec: str, rest: str) -> tuple[str, str]:
    """PATH and BASE; a path may hold an "@": the first split whose left side exists, else the first."""
    cuts = [index for index, character in enumerate(rest) if character == "@"]
    splits = [(rest[:cut], rest[cut + 1 :]) for cut in cuts if rest[:cut] and rest[cut + 1 :]]
    if not splits:
        kind = spec.partition(":")[0]
        raise UsageError(
            f"Checkpoint {spec!r} names no base. Write {kind}:PATH@BASE, for example {kind}:out@miniature."
        )
    return next((split for split in splits if Path(split[0]).expanduser().exists()), splits[0])


def _find(text: str, spec: str) -> Source:
    if text == "miniature":
        folder = Path(str(files("prefbench.bench.miniature") / "weights" / "base"))
        if not folder.is_dir():
            raise DataError(
                f"The weights of the miniature world are not in this installation ({folder}). Install the "
                "package again."
            )
        return LocalSource(folder)
    return find_source(text, spec=spec)


def _base(text: str, spec: str) -> Source:
    source = _find(text, spec)
    if isinstance(source, LocalSource) and (_card(str(source.path)) or {}).get("kind") in (
        "lora",
        "negative",
    ):
        raise UsageError(
            f"Checkpoint {spec!r}: the base {text} is itself a LoRA or a negative network. A base is a whole pipeline; "
            "merge a LoRA first."
        )
    return source


def _card(path: str) -> dict[str, Any] | None:
    folder = Path(path).expanduser()
    file = (folder if folder.is_dir() else folder.parent) / CARD_NAME
    if not file.is_file():
        return None
    card = read_json(file)
    if not isinstance(card, dict) or card.get("kind") not in ("pipeline", "lora", "negative"):
        kind = card.get("kind") if isinstance(card, dict) else None
        raise DataError(
            f'{file}: "kind" is {kind!r}; it must be "pipeline", "lora" or "negative". Train again, or mend the file.'
        )
    return card


def _base_of_card(card: dict[str, Any], source: Source, spec: str) -> Source:
    """The base that a card names."""
    base = _card_base(card, source)
    with _told_with_card(base, source):
        return _base(base, spec)


@contextmanager
def _told_with_card(base: str, source: Source) -> Iterator[None]:
    """The user never wrote this path: an error says where it stands."""
    assert isinstance(source, LocalSource)
    try:
        yield
    except DataError as error:
        if base not in str(error):
            raise
        raise DataError(f'{error} This path is "base" in {source.path / CARD_NAME}.') from error


def _card_base(card: dict[str, Any], source: Source) -> str:
    assert isinstance(source, LocalSource)
    base = card.get("base")
    if not isinstance(base, str) or not base:
        raise DataError(f'{source.path / CARD_NAME}: "base" is missing: a LoRA needs the SPEC of its base.')
    beside = source.path / base
    return str(beside) if not Path(base).exists() and beside.exists() else base
