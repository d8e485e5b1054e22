"""ImagenHub's human ratings (Ku et al., arXiv 2310.01596) as judgements of pairs.

One file a rater, tab-separated: `uid` and a column a model; a cell is [semantic consistency, perceptual quality], each 0, 0.5
or 1. As TIGER-AI-Lab/ImagenHub@439f72c eval/human_ratings/Text-To-Image has them. The overall score of a rater's cell is the
geometric mean of the two [CODE: AnalyzeHumanEval.ipynb there, get_HumanEval_score_from_cell]; here their product, which
orders images alike and needs no root. The files do not have the texts of the prompts.
"""

import csv
import re
from pathlib import Path

from prefbench.bench.exceptions import DataError
from prefbench.bench.judges.checks import refuse
from prefbench.bench.people.ratings import Rating, judgements_of
from prefbench.bench.people.votes_table import Judgements

__all__ = ["overall", "read_judgements"]

FILE_NAME = re.compile(r"(?P<task>.*?)_?(?P<rater>rater[^_]+)\.tsv")
CELL = re.compile(r"\[\s*(0|0\.5|1)\s*,\s*(0|0\.5|1)\s*\]")


def read_judgements(folder: Path) -> Judgements:
    """Read every file TASK_raterN.tsv of a folder, or one such file.

    Raises:
        DataError: no such file, files of several tasks, or one that is not as above; the row and column are named.
    """
    paths = sorted(folder.glob("*.tsv")) if folder.is_dir() else [folder]
    files = [(path, FILE_NAME.fullmatch(path.name)) for path in paths if path.is_file()]
    found = [(path, name["task"], name["rater"]) for path, name in files if name]
    if not found:
        raise DataError(
            f"{folder} has no file named like Text-To-Image_rater1.tsv. Give the folder with ImagenHub's ratings of one task."
        )
    tasks = sorted({task for _, task, _ in found})
    if len(tasks) > 1:
        raise DataError(
            f"{folder} has ratings of several tasks ({', '.join(tasks)}), whose prompts have the same names. Give a folder with "
            "those of one task."
        )
    ratings = [rating for path, _, rater in found for rating in _read_file(path, rater)]
    return judgements_of(str(folder), "ImagenHub's ratings", ratings)


def overall(cell: str) -> float | None:
    """Semantic consistency times perceptual quality; None for what is no cell.

    >>> overall("[0.5, 1]"), overall("[0.5,0.5]"), overall("[2, 1]")
    (0.5, 0.25, None)
    """
    found = CELL.fullmatch(cell.strip())
    return float(found[1]) * float(found[2]) if found else None


def _read_file(path: Path, rater: str) -> list[Rating]:
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}). Fetch it again.") from None
    header = rows[0] if rows else []
    if len(header) < 3 or header[0] != "uid" or len(set(header)) < len(header):
        raise DataError(
            f"{path} begins with the columns {', '.join(header) or 'none'}, not with uid and a different name for each of two "
            "models or more. Fetch it again."
        )
    problems, ratings = [], []
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(header) or not row[0].strip():
            problems.append(f"row {number} has {len(row)} fields and not {len(header)}, or no uid")
            continue
        for model, cell in zip(header[1:], row[1:], strict=True):
            value = overall(cell)
            if value is None:
                problems.append(f"row {number}: {model} is {cell!r}, not two of 0, 0.5 and 1 like [0.5, 1]")
                continue
            ratings.append(
                Rating(rater, row[0].strip(), "", model, value, f"{path.name} row {number}, {model}")
            )
    refuse(path, problems, len(rows) - 1)
    return ratings
