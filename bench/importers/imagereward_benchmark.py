"""Scores of the ImageReward benchmark script -> a scores table.

The script (zai-org/ImageReward, `benchmark/test-benchmark.py`) scores ten images for each of 100 prompts
and writes one JSON a scorer and model, `SCORER-benchmark-MODEL-result.json`: a list of {"id", "prompt",
"mean_score", "rewards": [one float an image]}.

    python -m prefbench.bench.importers.imagereward_benchmark FOLDER --out scores.csv
    prefbench compare scores.csv --a sd2-1 --b sd1-4 --out comparison

`seed` becomes the position of the image in `rewards`, 0 to 9. The models did not share their initial noise,
so images of equal position are paired by prompt only: win rates are unbiased, their intervals no narrower
for the pairing by seed.
"""

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.exceptions import DataError, PrefbenchError
from prefbench.bench.scores_table import check_complete, check_scores, write_scores

__all__ = ["main", "read_results"]

FILE_NAME = re.compile(r"(?P<scorer>.+)-benchmark-(?P<model>.+)-result\.json")
FIELDS = {"id", "prompt", "mean_score", "rewards"}


def read_results(folder: Path) -> pd.DataFrame:
    """Read every result file of a folder.

    Args:
        folder: holds files named `SCORER-benchmark-MODEL-result.json`; other files (the script's means) are
            left alone.

    Returns:
        A checked scores table: `checkpoint` the model, `prompt_id` the id, `seed` the position of the image.

    Raises:
        DataError: no such file, one that is not as the script writes it, or models with different prompts
            or images.
    """
    files = [(path, FILE_NAME.fullmatch(path.name)) for path in sorted(folder.glob("*.json"))]
    rows = [row for path, name in files if name for row in _read_file(path, name["scorer"], name["model"])]
    if not rows:
        raise DataError(
            f"{folder} has no file named SCORER-benchmark-MODEL-result.json. Give the folder that the "
            "benchmark script wrote its results to."
        )
    frame = check_scores(pd.DataFrame(rows), source=str(folder))
    check_complete(frame, source=str(folder))
    return frame


def _read_file(path: Path, scorer: str, model: str) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path} is not JSON in UTF-8: {error}. Run the benchmark script again for it."
        ) from error
    if not isinstance(entries, list):
        raise DataError(f"{path} holds no list of prompts. Run the benchmark script again for it.")
    rows = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not entry.keys() >= FIELDS or not _are_numbers(entry["rewards"]):
            raise DataError(
                f"{path} entry {number} lacks one of {', '.join(sorted(FIELDS))}, or its rewards are not a "
                "list of numbers. Run the benchmark script again for it."
            )
        mean = sum(entry["rewards"]) / len(entry["rewards"])
        # The script takes its mean in float32 on some machines: six digits, and no more, must agree.
        if not math.isclose(mean, entry["mean_score"], rel_tol=1e-5, abs_tol=1e-6):
            raise DataError(
                f"{path} entry {number} ({entry['id']}): the rewards have the mean {mean:.6g} and not the "
                f"mean_score {entry['mean_score']:.6g}. The file was changed or cut; make it again."
            )
        rows += [
            {
                "checkpoint": model,
                "prompt_id": entry["id"],
                "prompt": entry["prompt"],
                "seed": seed,
                "scorer": scorer,
                "score": reward,
            }
            for seed, reward in enumerate(entry["rewards"])
        ]
    return rows


def _are_numbers(rewards: object) -> bool:
    return isinstance(rewards, list) and bool(rewards) and all(isinstance(r, (int, float)) for r in rewards)


def main(arguments: list[str] | None = None) -> int:
    """Convert FOLDER to the table named by --out (.csv or .parquet); exit code 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m prefbench.bench.importers.imagereward_benchmark",
        description="Convert the ImageReward benchmark script's result files to a scores table.",
    )
    parser.add_argument("folder", type=Path, help="folder with SCORER-benchmark-MODEL-result.json files")
    parser.add_argument("--out", type=Path, required=True, help="scores table to write: .csv or .parquet")
    given = parser.parse_args(arguments)
    try:
        frame = read_results(given.folder)
        write_scores(frame, given.out)
    except PrefbenchError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    counts = frame[["checkpoint", "prompt_id", "seed", "scorer"]].nunique()
    print(
        f"{given.out}: {len(frame):,} scores of {counts['checkpoint']} checkpoints, {counts['prompt_id']} "
        f"prompts, {counts['seed']} images each, by {counts['scorer']} scorers "
        f"({', '.join(sorted(frame['scorer'].unique()))})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
