"""The prompts that the candidate loses worst, to be looked at: in the run's pictures where there are any."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.bench.exceptions import DataError, LedgerError
from prefbench.bench.gate.material import Material

__all__ = ["MOST", "pictures_of", "worst_prompts"]

MOST = 5
"""Prompts that are shown."""

SIDES = ("candidate", "baseline")


def worst_prompts(material: Material, most: int = MOST) -> list[dict[str, Any]]:
    """Prompts that the vote gives to the baseline, the most clearly lost first.

    By the mean over its seeds of the voters' votes; among equals by the mean over the voters of the score difference in
    standard deviations of that scorer. Of a prompt with several seeds the worst is named.

    Returns:
        {"prompt_id", "prompt", "seed", "win_rate" (of the vote over its seeds), "seeds", "pictures": {}}, none that is not lost.
    """
    samples, ballots = material.samples, material.ballots
    voters = ballots.electorates[0]
    net = ballots.cast[0][voters].mean(axis=0)
    scores = samples.scores[:, :, voters]
    turned = np.array([-1.0 if samples.scorers[k] in material.lower else 1.0 for k in voters])
    gap = (
        scores[samples.checkpoints.index(material.candidate)]
        - scores[samples.checkpoints.index(material.baseline)]
    ) * turned
    spread = scores.std(axis=(0, 1))
    standard = np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0).mean(axis=1)
    about = samples.about[["prompt_id", "prompt", "seed"]].assign(
        net=net, standard=standard, outcome=(1 + ballots.vote[0].astype(float)) / 2
    )
    found = []
    for _, rows in about.groupby("prompt", sort=True):
        if rows["net"].mean() >= 0:
            continue
        worst = rows.sort_values(["net", "standard", "prompt_id", "seed"]).iloc[0]
        found.append(
            (
                float(rows["net"].mean()),
                float(rows["standard"].mean()),
                {
                    "prompt_id": str(worst["prompt_id"]),
                    "prompt": str(worst["prompt"]),
                    "seed": int(worst["seed"]),
                    "win_rate": float(rows["outcome"].mean()),
                    "seeds": len(rows),
                    "pictures": {},
                },
            )
        )
    found.sort(key=lambda each: (each[0], each[1], each[2]["prompt"]))
    return [each for _, _, each in found[:most]]


def pictures_of(
    material: Material, worst: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, bytes], str | None]:
    """Thumbnails of the worst prompts, where the run has pictures.

    Returns:
        The prompts with the paths of their thumbnails, relative to the gate's folder; the files' contents by these paths; and
        why there are none or not all, where a run should have them.
    """
    from prefbench.bench.run_folder import IMAGES
    from prefbench.bench.run_report import sample_paths
    from prefbench.bench.store.images import ImageStore
    from prefbench.bench.store.ledger import Ledger
    from prefbench.reports.thumbnails import picture_format

    if material.source.kind != "run" or not worst:
        return worst, {}, None
    folder = material.source.path
    if not (folder / IMAGES).is_dir():
        return worst, {}, f"{folder} has no folder {IMAGES}, so no pictures are shown."
    names = {"candidate": material.candidate} | ({} if material.stored else {"baseline": material.baseline})
    files: dict[str, bytes] = {}
    shown, failure, kind = [], None, picture_format()
    try:
        with Ledger(folder, read_only=True) as ledger:
            paths = sample_paths(ledger, ImageStore(folder / IMAGES))
            for number, each in enumerate(worst, start=1):
                pictures = {}
                for side, name in names.items():
                    suffix, data = _thumbnail(paths, (name, each["prompt_id"], each["seed"]), kind)
                    path = f"pictures/{number}-{side}.{suffix}"
                    files[path], pictures[side] = data, path
                shown.append(each | {"pictures": pictures})
    except (LedgerError, DataError) as error:
        failure = f"Not all pictures can be shown: {error}"
    return shown + worst[len(shown) :], files, failure


def _thumbnail(
    paths: Mapping[tuple[str, str, int], Path], sample: tuple[str, str, int], kind: str
) -> tuple[str, bytes]:
    """Ending and contents of a thumbnail's file."""
    from prefbench.reports.thumbnails import thumbnail

    head, _, data = thumbnail(paths[sample], kind).uri.partition(",")
    return head.removeprefix("data:image/").partition(";")[0], base64.b64decode(data)
