"""Score a list of finished images: a manifest in, a scores table and the scorers' identities out.

A manifest is a CSV (UTF-8) with the columns `image, prompt` and optional `checkpoint, prompt_id, seed,
category, challenge`. Paths are relative to the manifest. Where a column is absent, `checkpoint` is "images",
a prompt's id is its place among the distinct prompts, and `seed` counts the images of a prompt; these are
names and change no score.
"""

import csv
import difflib
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.progress import Stages, silent
from prefbench.bench.registry import unknown_name
from prefbench.bench.score_folder import check_score_folder, write_score_folder
from prefbench.bench.scores_table import check_scores

if TYPE_CHECKING:
    from prefbench.scorers.protocol import Scorer

__all__ = ["Manifest", "ScoredManifest", "read_manifest", "score_manifest"]

REQUIRED = ("image", "prompt")
OPTIONAL = ("checkpoint", "prompt_id", "seed", "category", "challenge")
SCORED = ("checkpoint", "prompt_id", "prompt", "seed", "category", "challenge")
SHOWN = 5
"""Offenders listed in an error before "and N more"."""
QUICK_S = 2.0
"""A chunk that took less is followed by one twice as long: the bar moves, and light scorers get full
batches."""


@dataclass(frozen=True)
class Manifest:
    """Checked rows of a manifest, in its order."""

    path: Path
    images: list[Path]
    frame: pd.DataFrame
    """Columns checkpoint, prompt_id, prompt, seed and, where given, category and challenge."""


@dataclass(frozen=True)
class ScoredManifest:
    """What was written."""

    scores: pd.DataFrame
    """The scores table."""
    scorers: dict[str, dict[str, Any]]
    """Scorer -> its description, with identity, fingerprint and number of truncated prompts (None:
    prompt-blind)."""


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and check every row, image headers included.

    Raises:
        DataError: missing file, wrong encoding, unknown or missing column, a row of another length, an empty
            prompt or image, an image that does not exist or is none, an entry given twice. Rows count from 1
            after the header.
    """
    header, rows = _read_rows(path)
    _check_header(header, path)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    for name in REQUIRED:
        _refuse(
            path,
            [i for i, value in enumerate(columns[name]) if not value.strip()],
            f'column "{name}" is empty',
        )
    images = [path.parent / value for value in columns["image"]]
    _refuse(
        path, [i for i, image in enumerate(images) if not image.is_file()], "there is no such image", images
    )
    _refuse(
        path, [i for i, image in enumerate(images) if not _has_image_header(image)], "not an image", images
    )
    prompts = columns["prompt"]
    checkpoints = columns.get("checkpoint", ["images"] * len(rows))
    ids = columns.get("prompt_id") or _prompt_ids(prompts)
    frame = pd.DataFrame({"checkpoint": checkpoints, "prompt_id": ids, "prompt": prompts})
    frame["seed"] = (
        columns["seed"] if "seed" in columns else frame.groupby(["checkpoint", "prompt_id"]).cumcount()
    )
    for name in ("category", "challenge"):
        if name in columns:
            frame[name] = columns[name]
    # The table's own rules (duplicates, types, one text an id), before anything is scored.
    checked = check_scores(frame.assign(scorer="unscored", score=0.0), source=str(path))
    return Manifest(path, images, checked[[name for name in SCORED if name in checked.columns]])


def score_manifest(
    manifest: Manifest,
    scorers: Sequence[str],
    out: Path,
    *,
    weights: Mapping[str, str] | None = None,
    architectures: Mapping[str, str] | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    stages: Stages = silent,
) -> ScoredManifest:
    """Score every row with every scorer and write `scores.csv`, `scores.parquet` and `scorers.json` to `out`.

    Args:
        manifest: from `read_manifest`.
        scorers: names; one scorer is in memory at a time.
        out: folder, new, empty or of an earlier call, whose three files are replaced. Nothing is written before every
            score is there.
        weights: scorer -> path.
        architectures: scorer -> JSON file of sizes.
        batch_size: images at once, None for each scorer's own.
        device: torch device.
        stages: shows progress.

    Raises:
        UsageError: an unknown scorer, one given twice, weights for a scorer that is not asked for, or a folder that
            cannot be written or holds something else.
        MissingWeightsError: from the scorers, before anything is scored.
        DataError: a prompt that a scorer cannot score (before anything is scored), an image that cannot be decoded, or
            a score that is not finite.
    """
    weights, architectures = weights or {}, architectures or {}
    _check_request(scorers, out, {"--weights": weights, "--architecture": architectures})
    prompts = manifest.frame["prompt"].tolist()

    def load(name: str) -> "Scorer":
        from prefbench.scorers.registry import load_scorer

        scorer = load_scorer(
            name, weights=weights.get(name), architecture=architectures.get(name), device=device
        )
        scorer.batch_size = batch_size or scorer.batch_size
        _check_prompts(scorer, name, manifest)
        return scorer

    # With several scorers each is loaded twice: missing weights of the last one must not show after hours.
    for name in scorers if len(scorers) > 1 else ():
        load(name)
        gc.collect()
    tables, descriptions = [], {}
    for name in scorers:
        scorer = load(name)
        with stages(name, len(prompts), "images") as advance:
            scores = _score_in_chunks(scorer, manifest.images, prompts, advance)
        cut = None if scorer.info.prompt_blind else int(scorer.truncated(list(dict.fromkeys(prompts))).sum())
        descriptions[name] = {**scorer.info.as_dict(), "truncated_prompts": cut}
        tables.append(manifest.frame.assign(scorer=name, score=scores))
        del scorer
        gc.collect()
    scored = ScoredManifest(pd.concat(tables, ignore_index=True), descriptions)
    write_score_folder(scored.scores, scored.scorers, out)
    return scored


def _check_prompts(scorer: "Scorer", name: str, manifest: Manifest) -> None:
    from prefbench.scorers.protocol import ChecksPrompts

    if not isinstance(scorer, ChecksPrompts):
        return
    for row, prompt in enumerate(manifest.frame["prompt"], start=1):
        try:
            scorer.check_prompts([prompt])
        except DataError as error:
            raise DataError(
                f"{manifest.path} row {row}: {error} Leave out --scorer {name}, or such rows; nothing was scored."
            ) from error


def _score_in_chunks(
    scorer: "Scorer", images: Sequence[Path], prompts: Sequence[str], advance: Callable[[int], None]
) -> np.ndarray:
    parts = []
    start, size = 0, scorer.batch_size
    while start < len(images):
        began = time.monotonic()
        chunk = slice(start, start + size)
        try:
            part = scorer.score(images[chunk], prompts[chunk])
        except DataError as error:
            raise _with_row(error, images, start) from error
        parts.append(part)
        advance(len(part))
        start += size
        if time.monotonic() - began < QUICK_S:
            size *= 2
    return np.concatenate(parts)


def _with_row(error: DataError, images: Sequence[Path], start: int) -> DataError:
    """The error with the manifest's row of the image it names: headers were checked, contents show here."""
    row = next((i + 1 for i, image in enumerate(images[start:], start) if str(image) in str(error)), None)
    return error if row is None else DataError(f"Row {row} of the manifest: {error} Nothing was written.")


def _check_request(scorers: Sequence[str], out: Path, given: Mapping[str, Mapping[str, str]]) -> None:
    from prefbench.scorers.registry import REGISTRY

    if not scorers:
        raise UsageError("No scorer is given: name at least one with --scorer, e.g. --scorer pickscore.")
    for name in scorers:
        REGISTRY.get(name.partition("@")[0])
        if scorers.count(name) > 1:
            raise UsageError(f"Scorer {name!r} is given twice. Name each scorer once.")
    for option, values in given.items():
        for name in values:
            if name not in scorers:
                raise unknown_name(f"scorer in {option}", name, list(scorers))
    check_score_folder(out)


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    if not path.is_file():
        raise DataError(f"There is no manifest at {path}. Give a CSV file with the columns image,prompt.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        if _has_image_header(path):
            raise DataError(
                f"{path} is an image. Give the manifest: a CSV file with the columns image,prompt and a row for each "
                "image."
            ) from None
        if isinstance(error, UnicodeDecodeError):
            raise DataError(f"{path} is not UTF-8 (byte {error.start}). Save it again as UTF-8.") from error
        raise DataError(
            f"{path} is not a well-formed CSV: {error}. Put text with commas between double quotes."
        ) from error
    lines = [line for line in lines if line]
    if not lines:
        raise DataError(f"{path} is empty. A manifest begins with a header: image,prompt.")
    header, rows = lines[0], lines[1:]
    mark = next((mark for mark in ";\t|" if mark in header[0]), None)
    if mark and len(header) == 1:
        raise DataError(
            f"{path} has one column, {header[0]!r}: its values look separated by {mark!r} instead of a comma. Save it "
            "again with commas between the values."
        )
    if not rows:
        raise DataError(f"{path} has a header and no rows. A manifest needs a row for each image.")
    odd = [i for i, row in enumerate(rows) if len(row) != len(header)]
    _refuse(path, odd, f"the number of values is not {len(header)}, as in the header")
    return header, rows


def _check_header(header: list[str], path: Path) -> None:
    known = REQUIRED + OPTIONAL
    odd = [name for name in header if name not in known]
    missing = [name for name in REQUIRED if name not in header]
    if not odd and not missing and len(set(header)) == len(header):
        return
    hints = [
        f"Is {name!r} meant to be {near[0]!r}? "
        for name in odd
        if (near := difflib.get_close_matches(name.lower(), known, n=1))
    ]
    twice = sorted({name for name in header if header.count(name) > 1})
    problems = [f"lacks the column {', '.join(map(repr, missing))}"] if missing else []
    problems += [f"has columns that a manifest does not know: {', '.join(map(repr, odd))}"] if odd else []
    problems += [f"has {', '.join(map(repr, twice))} twice in its header"] if twice else []
    raise DataError(
        f"{path} {' and '.join(problems)}. {''.join(hints)}Needed: {', '.join(REQUIRED)}; optional: "
        f"{', '.join(OPTIONAL)}."
    )


def _refuse(path: Path, rows: list[int], what: str, values: Sequence[object] | None = None) -> None:
    if not rows:
        return
    listed = ", ".join(f"{i + 1}{f' ({values[i]})' if values else ''}" for i in rows[:SHOWN])
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    raise DataError(
        f"{path} row{'s' if len(rows) > 1 else ''} {listed}{more}: {what}. Mend or delete "
        f"{'these rows' if len(rows) > 1 else 'this row'}; nothing was scored."
    )


def _has_image_header(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _prompt_ids(prompts: Sequence[str]) -> list[str]:
    place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    digits = max(4, len(str(len(place))))
    return [f"prompt-{place[prompt]:0{digits}d}" for prompt in prompts]
