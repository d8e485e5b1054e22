"""Score a list of finished images: a manifest in, a scores table and the scorers' identities out."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.image_manifest import Manifest
from prefbench.bench.progress import Stages, silent
from prefbench.bench.registry import unknown_name
from prefbench.bench.score_folder import check_score_folder, write_score_folder
from prefbench.bench.store.keys import canonical_sha256
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.bench.user_cache import cache_folder
from prefbench.scorers.fingerprint import sha256_of_file

if TYPE_CHECKING:
    from prefbench.scorers.protocol import Scorer

__all__ = ["ScoredManifest", "score_manifest"]

Memory = Literal["low", "high"]

CHECKED_ROWS = 16
"""Rows that are scored in float32 as well where half precision is asked for."""
QUICK_S = 2.0
"""A chunk that took less is followed by one twice as long: the bar moves, and light scorers get full
batches."""


@dataclass(frozen=True)
class ScoredManifest:
    """What was written."""

    scores: pd.DataFrame
    """The scores table."""
    scorers: dict[str, dict[str, Any]]
    """Scorer -> its description, with identity, fingerprint and number of truncated prompts (None:
    prompt-blind)."""
    kept: dict[str, int]
    """Scorer -> how many of its scores were known from an earlier, perhaps interrupted, call."""


def score_manifest(
    manifest: Manifest,
    scorers: Sequence[str],
    out: Path,
    *,
    weights: Mapping[str, str] | None = None,
    architectures: Mapping[str, str] | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    memory: Memory = "low",
    stages: Stages = silent,
) -> ScoredManifest:
    """Score every row with every scorer and write `scores.csv`, `scores.parquet` and `scorers.json` to `out`.

    Scores are kept in the user's cache as they come, by file content, prompt and fingerprint: after a kill the same call
    goes on where it was, and what was scored once is not scored again.

    Args:
        manifest: from `read_manifest`.
        scorers: names.
        out: folder, new, empty or of an earlier call, whose three files are replaced. Nothing is written before every
            score is there.
        weights: scorer -> path.
        architectures: scorer -> JSON file of sizes.
        batch_size: images at once, None for each scorer's own.
        device: torch device.
        dtype: of the networks. In half precision the first rows are scored in float32 too, and the difference is stated.
        memory: "low" holds one scorer at a time and loads each twice, because missing weights of the last one must not
            show after hours; "high" holds them all and loads each once.
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

    def load(name: str, dtype: str = dtype) -> "Scorer":
        from prefbench.scorers.registry import load_scorer

        scorer = load_scorer(
            name,
            weights=weights.get(name),
            architecture=architectures.get(name),
            device=device,
            dtype=dtype,
        )
        scorer.batch_size = batch_size or scorer.batch_size
        _check_prompts(scorer, name, manifest)
        return scorer

    from prefbench.scorers.dual_encoder import EmbeddingStore, SharesEmbeddings, tower_of

    held: dict[str, Scorer] = {}
    towers = []
    for name in scorers if len(scorers) > 1 else ():
        scorer = load(name)
        towers.append(tower_of(scorer))
        if memory == "high":
            held[name] = scorer
        del scorer
        gc.collect()
    embeddings = EmbeddingStore(towers)
    tables, descriptions, kept = [], {}, {}
    contents = [""] * len(prompts)
    with MeasureCache(cache_folder()) as cache:
        for name in scorers:
            few = slice(0, CHECKED_ROWS)
            exact = (
                None
                if dtype == "float32"
                else load(name, "float32").score(manifest.images[few], prompts[few])
            )
            gc.collect()
            scorer = held.pop(name) if name in held else load(name)
            if isinstance(scorer, SharesEmbeddings):
                scorer.embeddings = embeddings
            with stages(name, len(prompts), "images") as advance:
                scores, kept[name] = _score_in_chunks(scorer, manifest, contents, cache, advance)
            cut = None if scorer.info.prompt_blind else int(scorer.truncated(list(set(prompts))).sum())
            descriptions[name] = {**scorer.info.as_dict(), "truncated_prompts": cut}
            if exact is not None:
                descriptions[name]["precision"] = _precision(dtype, scores[few], exact)
            tables.append(manifest.frame.assign(scorer=name, score=scores))
            del scorer
            gc.collect()
    scored = ScoredManifest(pd.concat(tables, ignore_index=True), descriptions, kept)
    write_score_folder(scored.scores, scored.scorers, out)
    return scored


def _precision(dtype: str, scores: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """How far half precision is from float32, in the scorer's own unit, on rows scored in both."""
    return {
        "dtype": dtype,
        "rows": len(exact),
        "largest_difference": float(np.max(np.abs(scores - exact))),
        "deviation_of_scores": float(np.std(exact)),
    }


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
    scorer: "Scorer",
    manifest: Manifest,
    contents: list[str],
    cache: MeasureCache,
    advance: Callable[[int], None],
) -> tuple[np.ndarray, int]:
    """Scores of all rows, and how many of them were known before; what is fresh is kept as it comes.

    `contents` holds the sha256 of each image file; empty ones are filled in.
    """
    images, prompts = manifest.images, manifest.frame["prompt"].tolist()
    parts: list[float] = []
    found = 0
    start, size = 0, scorer.batch_size
    while start < len(images):
        began = time.monotonic()
        rows = range(start, min(start + size, len(images)))
        for row in rows:
            contents[row] = contents[row] or _sha256(images[row], row)
        keys = [_key(contents[row], prompts[row], scorer.info.fingerprint) for row in rows]
        known = cache.get(keys)
        found += sum(key in known for key in keys)
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        if missing:
            try:
                fresh = scorer.score(
                    [images[row] for row in missing.values()], [prompts[row] for row in missing.values()]
                )
            except DataError as error:
                raise _with_row(error, images, start) from error
            known |= dict(zip(missing, map(float, fresh), strict=True))
            cache.put({key: known[key] for key in missing})
        parts += [known[key] for key in keys]
        advance(len(rows))
        start += size
        if time.monotonic() - began < QUICK_S:
            size *= 2
    return np.array(parts), found


def _key(content: str, prompt: str, fingerprint: str) -> str:
    """Of one score: what is in the file x prompt x the scorer's fingerprint."""
    return canonical_sha256({"file": content, "prompt": prompt, "fingerprint": fingerprint})


def _sha256(image: Path, row: int) -> str:
    try:
        return sha256_of_file(image)
    except OSError as error:
        raise DataError(
            f"Row {row + 1} of the manifest: image {image} cannot be read any more ({error.strerror}). Nothing was written."
        ) from error


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
