"""Where scores come from: a run folder, a comparison, a folder of `prefbench score`, or a bare scores table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.bench.baselines.provenance import Provenance, provenance_of
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.registry import unknown_name
from prefbench.bench.results_file import read_results
from prefbench.bench.score_folder import SCORERS
from prefbench.bench.scores_table import read_scores
from prefbench.bench.store.ledger import FILE_NAME

__all__ = ["RESULTS", "SCORES", "ScoreSource", "read_source"]

RESULTS, SCORES = "results.json", "scores.parquet"


@dataclass(frozen=True)
class ScoreSource:
    """A scores table with what is known about it."""

    path: Path
    kind: str
    """"run", "comparison", "scored images" or "scores table"."""
    scores: pd.DataFrame
    results: Mapping[str, Any] | None
    """The dict of results.json where there is one."""
    scorers: Mapping[str, Mapping[str, Any]]
    """Scorer -> description; empty for a bare table."""

    @property
    def checkpoints(self) -> list[str]:
        """Names, in the order of the results or of the table."""
        return list(
            dict.fromkeys(self.scores["checkpoint"]) if self.results is None else self.results["checkpoints"]
        )

    def provenance(self, checkpoint: str) -> Provenance:
        """Of one checkpoint.

        Raises:
            UsageError: there is none of this name.
        """
        if checkpoint not in self.checkpoints:
            raise unknown_name(f"checkpoint of {self.path}", checkpoint, self.checkpoints)
        return provenance_of(
            self.scores,
            checkpoint,
            self.results,
            source=f"the {self.kind} {self.path}",
            origin=str(self.path.resolve()),
            scorers=self.scorers,
        )

    def only_checkpoint(self, name: str | None, option: str = "--checkpoint") -> str:
        """`name`, or the only checkpoint there is.

        Raises:
            UsageError: an unknown name, or none given of several.
        """
        if name:
            if name not in self.checkpoints:
                raise unknown_name(f"checkpoint of {self.path}", name, self.checkpoints)
            return name
        if len(self.checkpoints) > 1:
            raise UsageError(
                f"{self.path} has {len(self.checkpoints)} checkpoints ({', '.join(self.checkpoints)}). Name one with {option}."
            )
        return self.checkpoints[0]


def read_source(path: Path) -> ScoreSource:
    """Read the scores of a finished run, a comparison, `prefbench score`, or a table made elsewhere.

    Args:
        path: the folder, or its results.json or scores.parquet; or a scores table, CSV or Parquet.

    Raises:
        DataError: nothing there, an unfinished run, or a file that cannot be used.
    """
    if not path.exists():
        raise DataError(
            f"There is nothing at {path}. Give the folder of `prefbench bench`, `compare` or `score`, or a scores table (CSV "
            "or Parquet)."
        )
    folder = path if path.is_dir() else path.parent if path.name in (RESULTS, SCORES) else None
    if folder is None:
        return ScoreSource(path, "scores table", read_scores(path), None, {})
    is_run = (folder / FILE_NAME).is_file()
    if not (folder / SCORES).is_file() or (is_run and not (folder / RESULTS).is_file()):
        unfinished = (
            "the run is not finished: run the same `prefbench bench` again"
            if is_run
            else "it holds no scores"
        )
        raise DataError(
            f"{folder} lacks {RESULTS if is_run else SCORES}: {unfinished}. Give the folder of a finished `prefbench bench`, "
            "`compare` or `score`, or a scores table."
        )
    scores = read_scores(folder / SCORES)
    if (folder / RESULTS).is_file():
        results = read_results(folder / RESULTS)
        _check_blocks(results, folder / RESULTS, scores)
        return ScoreSource(folder, "run" if is_run else "comparison", scores, results, results["scorers"])
    if (folder / SCORERS).is_file():
        return ScoreSource(folder, "scored images", scores, None, _scorers(folder / SCORERS))
    if path.is_dir():
        raise DataError(
            f"{path} has {SCORES} and no {RESULTS}: who votes there, and what may be compared with it, is not known. Keep both "
            f"files, or give {folder / SCORES} as a bare table, in which every scorer votes."
        )
    return ScoreSource(path, "scores table", scores, None, {})


def _check_blocks(results: Mapping[str, Any], path: Path, scores: pd.DataFrame) -> None:
    """The blocks that are read here, and that the table beside them is theirs."""
    for block in ("suite", "checkpoints", "scorers"):
        if not isinstance(results.get(block), dict):
            raise DataError(f"{path}: {block!r} is no table of names. Make the results again.")
    for kind, block in (("checkpoint", "checkpoints"), ("scorer", "scorers")):
        there, here = set(results[block]), set(scores[kind])
        if there != here:
            odd = ", ".join(sorted(there ^ here))
            raise DataError(
                f"{path} and the {SCORES} beside it name different {block} ({odd}): they are not of one run. Make the results "
                "again into a new folder."
            )


def _scorers(path: Path) -> dict[str, dict[str, Any]]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))["scorers"]
        return {str(name): dict(info) for name, info in described.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} does not describe scorers ({error}). Run `prefbench score` again, or give the scores table alone."
        ) from error
