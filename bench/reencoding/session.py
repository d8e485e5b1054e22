"""What `prefbench noise` does: copy, score, measure, write.

noise.json holds
{"schema", "prefbench", "created", "manifest", "images" (different ones), "repeated" (rows left out), "prompts", "method",
 "pillow", "libjpeg", "libwebp",
 "encodings": {name: {"lossless", "options", "psnr_db": {"lowest", "median"} (null: equal pixels)}},
 "scorers": {name: {"fingerprint", "images", "left_out", "lossless_largest", "shifts": {encoding: mean change}, "score_sd",
     "difference_sd", "tolerance", "tolerance_ci95" (null with one prompt), "deviation_of_scores",
     "votes": {"pairs", "tied", "turned", "turned_beyond"} (null where no prompt has two images)}}}.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import features

from prefbench.bench.atomic import write_json, write_text
from prefbench.bench.exceptions import DataError
from prefbench.bench.image_manifest import Manifest
from prefbench.bench.out_folder import check_own_folder
from prefbench.bench.progress import Stages, silent
from prefbench.bench.reencoding.copies import (
    ENCODINGS,
    GIVEN,
    LOSSLESS,
    LOSSY,
    Copies,
    count_different,
    write_copies,
)
from prefbench.bench.score_folder import check_score_folder
from prefbench.bench.score_manifest import ScoredManifest, check_scorers, score_manifest
from prefbench.bench.tally.reencoding_noise import NEIGHBOURS, reencoding_noise, turned_votes
from prefbench.bench.toml_text import toml_text

__all__ = ["FEWEST", "NOISE", "SCORES", "TOLERANCES", "measure_noise"]

NOISE, TOLERANCES, SCORES = "noise.json", "tolerances.toml", "scores"
SCHEMA = 1
FEWEST = 20
"""Images below which one in twenty is not even one."""

METHOD = (
    "Each image is decoded, written again as PNG (lossless: a check), as JPEG of quality 95 (4:4:4) and as WebP of quality 95, "
    "and scored. A picture counts once, however often the manifest has it. score_sd: standard deviation of the change of a "
    "score by the two lossy encodings, about the mean change of each. tolerance: 95 % quantile of the change of a paired "
    f"difference, both images encoded alike, over each image with the {NEIGHBOURS} that follow it; its interval by bootstrap "
    "over prompts."
)
HEADER = """\
# Differences of scores up to which two images tie, measured by `prefbench noise`; see noise.json beside this file.
# For the scorers of these fingerprints, on pictures like those that were measured.
"""


def measure_noise(
    manifest: Manifest,
    scorers: Sequence[str],
    out: Path,
    *,
    weights: Mapping[str, str] | None = None,
    architectures: Mapping[str, str] | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    stages: Stages = silent,
) -> dict[str, Any]:
    """Score every image as it is and after re-encodings that nobody sees, and write what it makes of the scores.

    A row whose pixels an earlier row has is left out and counted: the same change twice is no more evidence.

    `out` gets tolerances.toml (scorer = tolerance), noise.json and, in the folder scores, what `prefbench score` writes, with
    the encoding as checkpoint and the manifest's row as prompt_id. Scores are kept in the user's cache as they come.

    Args:
        manifest: from `read_manifest`, of 20 different images or more.
        scorers: names.
        out: folder, new, empty or of an earlier call.
        weights: as of `score_manifest`, as are all that follow.
        architectures: scorer -> JSON file of sizes.
        batch_size: images at once.
        device: torch device.
        dtype: of the networks.
        stages: shows progress.

    Returns:
        What noise.json holds.

    Raises:
        DataError: too few images, one that cannot be decoded or is too large for a format; or as `score_manifest`.
        UsageError: a folder that holds something else; or as `score_manifest`.
        MissingDependencyError: a Pillow that cannot write one of the formats.
    """
    check_own_folder(out, "noise", NOISE, ("schema", "prefbench", "encodings", "scorers"), besides=[SCORES])
    check_score_folder(out / SCORES)
    _check_number(manifest, len(manifest.images))
    check_scorers(scorers)
    _check_number(manifest, count_different(manifest, FEWEST))
    with tempfile.TemporaryDirectory(prefix="prefbench-noise-") as folder:
        copies = write_copies(manifest, Path(folder), stages)
        kept = np.sort(np.unique(copies.pixels, return_index=True)[1]).tolist()
        scored = score_manifest(
            _expanded(manifest, copies, kept),
            scorers,
            out / SCORES,
            weights=weights,
            architectures=architectures,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            stages=stages,
        )
    found = _described(manifest, scored, copies, kept)
    write_json(out / NOISE, found)
    tables = {
        title: {name: row[key] for name, row in found["scorers"].items()}
        for title, key in (("tie_tolerance", "tolerance"), ("fingerprint", "fingerprint"))
    }
    write_text(out / TOLERANCES, HEADER + "\n" + toml_text(tables))
    return found


def _check_number(manifest: Manifest, images: int) -> None:
    if images < FEWEST:
        raise DataError(
            f"{manifest.path} has {images} different images. A tolerance is the change that one pair in twenty exceeds: give "
            f"{FEWEST} or more; a few hundred make it steady."
        )


def _described(
    manifest: Manifest, scored: ScoredManifest, copies: Copies, kept: Sequence[int]
) -> dict[str, Any]:
    prompts = manifest.frame["prompt"].iloc[kept]
    return {
        "schema": SCHEMA,
        "prefbench": version("prefbench"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "manifest": str(manifest.path),
        "images": len(prompts),
        "repeated": len(manifest.images) - len(kept),
        "prompts": len(set(prompts)),
        "method": METHOD,
        "pillow": version("pillow"),
        "libjpeg": features.version("libjpeg_turbo") or features.version("jpg"),
        "libwebp": features.version("webp"),
        "encodings": {
            e.name: {
                "lossless": e.lossless,
                "options": e.options,
                "psnr_db": _summary(copies.psnr[e.name][kept]),
            }
            for e in ENCODINGS
        },
        "scorers": {
            name: {"fingerprint": info["fingerprint"], **_of_scorer(name, scored.scores, prompts)}
            for name, info in scored.scorers.items()
        },
    }


def _expanded(manifest: Manifest, copies: Copies, kept: Sequence[int]) -> Manifest:
    """The rows that are kept, as they are and then once for every encoding, under their numbers in the manifest."""
    lists = {GIVEN: manifest.images, **copies.paths}
    rows = [f"row-{row + 1:06d}" for row in kept]
    prompts = manifest.frame["prompt"].iloc[kept]
    frames = [
        pd.DataFrame({"checkpoint": name, "prompt_id": rows, "prompt": prompts, "seed": 0}) for name in lists
    ]
    images = [paths[row] for paths in lists.values() for row in kept]
    return Manifest(manifest.path, images, pd.concat(frames, ignore_index=True))


def _of_scorer(name: str, scores: pd.DataFrame, prompts: pd.Series) -> dict[str, Any]:
    """What re-encoding does to one scorer. Images that lack a score, of whatever copy, are left out."""
    table = scores[scores["scorer"] == name].pivot(index="prompt_id", columns="checkpoint", values="score")
    table = table.reindex(columns=[GIVEN, *(e.name for e in ENCODINGS)]).dropna()
    if len(table) < FEWEST:
        raise DataError(
            f"Scorer {name} has scores of all copies for {len(table)} of {len(prompts)} images; a tolerance needs {FEWEST}. The "
            "same command asks for the missing ones again."
        )
    kept = prompts[[int(row.removeprefix("row-")) - 1 for row in table.index]].to_numpy(dtype=object)
    given = table[GIVEN].to_numpy()
    changes = np.stack([table[e.name].to_numpy() - given for e in LOSSY])
    lossless = np.stack([table[e.name].to_numpy() - given for e in LOSSLESS])
    noise = reencoding_noise(changes, kept, rng=np.random.default_rng(0))
    turned = turned_votes(given, changes, kept, noise.tolerance)
    return {
        "images": len(table),
        "left_out": len(prompts) - len(table),
        "lossless_largest": float(np.abs(lossless).max()),
        "shifts": dict(zip((e.name for e in LOSSY), noise.shifts, strict=True)),
        "score_sd": noise.score_sd,
        "difference_sd": noise.difference_sd,
        "tolerance": noise.tolerance,
        "tolerance_ci95": None if noise.tolerance_ci95 is None else list(noise.tolerance_ci95),
        "deviation_of_scores": float(given.std(ddof=1)),
        "votes": None if turned is None else asdict(turned),
    }


def _summary(psnr: np.ndarray) -> dict[str, float] | None:
    """Of the copies that differ from their picture; None where none does."""
    finite = psnr[np.isfinite(psnr)]
    return {"lowest": float(finite.min()), "median": float(np.median(finite))} if len(finite) else None
