"""Score a list of finished images: a manifest in, a scores table and the scorers' identities out."""

import gc
import time
from collections import Counter
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
from prefbench.bench.scoring import check_distinct
from prefbench.bench.store.keys import canonical_sha256
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.bench.user_cache import cache_folder
from prefbench.scorers.fingerprint import sha256_of_file

if TYPE_CHECKING:
    from prefbench.scorers.protocol import Scorer

__all__ = ["ScoredManifest", "check_scorers", "score_manifest"]

Memory = Literal["low", "high"]

CHECKED_ROWS = 16
"""Rows that are scored in uncompiled float32 as well where half precision or a compiled network is asked for."""
QUICK_S = 2.0
"""A chunk that took less is followed by one twice as long: the bar moves, and light scorers get full
batches."""


@dataclass(frozen=True)
class ScoredManifest:
    """What was written."""

    scores: pd.DataFrame
    """The scores table."""
    scorers: dict[str, dict[str, Any]]
    """Scorer -> its description, with identity, fingerprint, number of truncated prompts (None:
    prompt-blind) and reasons for missing scores."""
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
    compiled: bool = False,
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
        compiled: run the networks through torch.compile; the difference to uncompiled float32 is stated likewise.
        memory: "low" holds one scorer at a time and loads each twice, because missing weights of the last one must not
            show after hours; "high" holds them all and loads each once.
        stages: shows progress.

    Raises:
        UsageError: an unknown scorer, one given twice, weights for a scorer that is not asked for, a folder that
            cannot be written or holds something else, or a scorer that cannot be compiled and should be.
        MissingDependencyError: torch.compile does not work here.
        MissingWeightsError: from the scorers, before anything is scored.
        DataError: a prompt that a scorer cannot score (before anything is scored), an image that cannot be decoded, a
            score that is not finite, or a scorer that may fail and did so for every image.
    """
    weights, architectures = weights or {}, architectures or {}
    _check_request(scorers, out, {"--weights": weights, "--architecture": architectures})
    from prefbench.scorers.compiled import check_compile, compiling
    from prefbench.scorers.dual_encoder import EmbeddingStore, SharesEmbeddings

    if compiled:
        check_compile(scorers, device)
    load = _Loader(manifest, weights, architectures, batch_size, device, dtype, compiled)
    towers, held = _meet(scorers if len(scorers) > 1 else (), load, hold=memory == "high")
    embeddings = EmbeddingStore(towers)
    prompts, few = manifest.frame["prompt"].tolist(), slice(0, CHECKED_ROWS)
    tables, descriptions, kept = [], {}, {}
    contents = [""] * len(prompts)
    with MeasureCache(cache_folder()) as cache:
        for name in scorers:
            exact = None
            if compiled or dtype != "float32":
                exact = load(name, exact=True).score(manifest.images[few], prompts[few])
                gc.collect()
            scorer = held.pop(name) if name in held else load(name)
            if isinstance(scorer, SharesEmbeddings):
                scorer.embeddings = embeddings
            with stages(name, len(prompts), "images") as advance, compiling(scorer):
                scores, kept[name], failed = _score_in_chunks(scorer, manifest, contents, cache, advance)
            cut = None if scorer.info.prompt_blind else int(scorer.truncated(list(set(prompts))).sum())
            descriptions[name] = {**scorer.info.as_dict(), "truncated_prompts": cut, "failed": failed}
            if exact is not None:
                descriptions[name]["precision"] = _precision(dtype, compiled, scores[few], exact)
            tables.append(manifest.frame.assign(scorer=name, score=scores).dropna(subset="score"))
            del scorer
            gc.collect()
    scored = ScoredManifest(pd.concat(tables, ignore_index=True), descriptions, kept)
    write_score_folder(scored.scores, scored.scorers, out)
    return scored


@dataclass(frozen=True)
class _Loader:
    """Name -> a scorer as the request wants it."""

    manifest: Manifest
    weights: Mapping[str, str]
    architectures: Mapping[str, str]
    batch_size: int | None
    device: str
    dtype: str
    compiled: bool

    def __call__(self, name: str, *, exact: bool = False) -> "Scorer":
        """`exact`: in float32 and not compiled, to compare with."""
        from prefbench.scorers.compiled import compile_scorer
        from prefbench.scorers.protocol import MayFail
        from prefbench.scorers.registry import load_scorer

        scorer = load_scorer(
            name,
            weights=self.weights.get(name),
            architecture=self.architectures.get(name),
            device=self.device,
            dtype="float32" if exact else self.dtype,
        )
        if isinstance(scorer, MayFail) and (self.compiled or self.dtype != "float32"):
            raise UsageError(
                f"Scorer {name} has no network here that could be compiled or of another dtype: leave out --compile and "
                "--dtype, or this scorer."
            )
        scorer.batch_size = self.batch_size or scorer.batch_size
        _check_prompts(scorer, name, self.manifest)
        if self.compiled:
            compile_scorer(scorer, check_only=exact)
        return scorer


def _meet(
    scorers: Sequence[str], load: _Loader, *, hold: bool
) -> tuple[list[str | None], dict[str, "Scorer"]]:
    """Load each once before anything is scored: their towers, and the scorers themselves if they are to stay."""
    from prefbench.scorers.dual_encoder import tower_of

    towers, held = [], {}
    known: dict[str, str] = {}
    for name in scorers:
        scorer = load(name)
        check_distinct(known, name, scorer.info.fingerprint)
        towers.append(tower_of(scorer))
        if hold:
            held[name] = scorer
        del scorer
        gc.collect()
    return towers, held


def _precision(dtype: str, compiled: bool, scores: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """How far the scores are from uncompiled float32, in the scorer's own unit, on rows scored in both."""
    return {
        "dtype": dtype,
        "compiled": compiled,
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
) -> tuple[np.ndarray, int, dict[str, int]]:
    """Scores of all rows, NaN where there is none; how many were known before; how many are missing, by reason.

    What is fresh is kept as it comes, failures are not: the next call asks again. `contents` holds the sha256 of each
    image file; empty ones are filled in.
    """
    from prefbench.scorers.protocol import MayFail

    images, prompts = manifest.images, manifest.frame["prompt"].tolist()
    parts: list[float] = []
    found = 0
    failed: Counter[str] = Counter()
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
            pairs = [images[row] for row in missing.values()], [prompts[row] for row in missing.values()]
            reasons = [""] * len(missing)
            try:
                if isinstance(scorer, MayFail):
                    fresh, reasons = scorer.score_or_reason(*pairs, keep=_keeper(list(missing), cache))
                else:
                    fresh = scorer.score(*pairs)
            except DataError as error:
                raise _with_row(error, images, start) from error
            why = dict(zip(missing, reasons, strict=True))
            known |= dict(zip(missing, map(float, fresh), strict=True))
            cache.put({key: known[key] for key in missing if not why[key]})
            failed.update(why[key] for key in keys if why.get(key))
        parts += [known[key] for key in keys]
        advance(len(rows))
        start += size
        if time.monotonic() - began < QUICK_S:
            size *= 2
    if failed.total() == len(images):
        reason, count = failed.most_common(1)[0]
        raise DataError(
            f"Scorer {scorer.info.name} has no score for any of {len(images)} images; the commonest reason ({count} times): "
            f"{reason}. Nothing was written."
        )
    return np.array(parts), found, dict(failed.most_common())


def _keeper(keys: Sequence[str], cache: MeasureCache) -> Callable[[int, float], None]:
    return lambda k, score: cache.put({keys[k]: score})


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


def check_scorers(scorers: Sequence[str]) -> None:
    """Raises UsageError for no scorer, an unknown one, or one given twice."""
    from prefbench.scorers.registry import REGISTRY

    if not scorers:
        raise UsageError("No scorer is given: name at least one with --scorer, e.g. --scorer pickscore.")
    for name in scorers:
        REGISTRY.get(name.partition("@")[0])
        if scorers.count(name) > 1:
            raise UsageError(f"Scorer {name!r} is given twice. Name each scorer once.")


def _check_request(scorers: Sequence[str], out: Path, given: Mapping[str, Mapping[str, str]]) -> None:
    check_scorers(scorers)
    for option, values in given.items():
        for name in values:
            if name not in scorers:
                raise unknown_name(f"scorer in {option}", name, list(scorers))
    check_score_folder(out)
