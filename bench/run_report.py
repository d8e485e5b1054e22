"""What a report needs beside the scores: the entries of the checkpoints, the pictures; and the report written again."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.bench.checkpoints.checkpoint import Checkpoint
from prefbench.bench.exceptions import DataError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.results_file import read_results
from prefbench.bench.run_folder import IMAGES, REPORT, RESULTS, SCORES, check_is_no_folder
from prefbench.bench.scores_table import read_scores
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.keys import canonical_sha256
from prefbench.bench.store.ledger import FILE_NAME, ImageRow, Ledger
from prefbench.reports.html import write_report

__all__ = ["describe_checkpoints", "rewrite_report", "sample_paths"]

ImageKey = tuple[str, str, int]

BLOCKS = {
    **dict.fromkeys(("suite", "checkpoints", "scorers", "means", "agreement", "intervals"), dict),
    **dict.fromkeys(("comparisons", "warnings", "verdicts"), list),
}
"""Blocks of results.json that the report shows."""


def rewrite_report(run: Path) -> Path:
    """Write `report.html` of a finished run folder, with pictures where it has a ledger; returns its path.

    Raises:
        DataError: the run is not finished, or a file is damaged.
        LedgerError: the ledger is damaged or newer, or a picture is gone or changed.
    """
    check_is_no_folder(run / REPORT)
    if not (run / RESULTS).is_file():
        unfinished = (run / FILE_NAME).is_file()
        raise DataError(
            f"{run} has no {RESULTS}: "
            + (
                "the run is not finished. Run the same `prefbench bench` again."
                if unfinished
                else "it is no run folder. Give the --out of a `prefbench bench` or `prefbench compare`."
            )
        )
    results = read_results(run / RESULTS)
    for block, kind in BLOCKS.items():
        if not isinstance(results.get(block), kind):
            raise DataError(f"{run / RESULTS}: {block!r} is no {kind.__name__}. Make the results again.")
    scores = read_scores(run / SCORES)
    images = None
    if (run / FILE_NAME).is_file():
        with Ledger(run, read_only=True) as ledger:
            images = sample_paths(ledger, ImageStore(run / IMAGES))
    return write_report(results, scores, run / REPORT, images=images)


def sample_paths(ledger: Ledger, store: ImageStore) -> Mapping[ImageKey, Path]:
    """(checkpoint, prompt_id, seed) -> image file, of every sample in the ledger.

    A file is compared with the ledger when it is asked for: `LedgerError` if it is gone or holds other pixels.
    """
    images = ledger.images()
    samples = {(s.checkpoint, s.prompt_id, s.seed): images[s.image] for s in ledger.samples()}
    return _Pictures(samples, store)


class _Pictures(Mapping[ImageKey, Path]):
    def __init__(self, samples: dict[ImageKey, ImageRow], store: ImageStore) -> None:
        self._samples, self._store = samples, store

    def __getitem__(self, sample: ImageKey) -> Path:
        row = self._samples[sample]
        self._store.read(row.key, row.pixels)
        return self._store.path(row.key)

    def __iter__(self) -> Iterator[ImageKey]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)


def describe_checkpoints(
    checkpoints: Mapping[str, Checkpoint], prompts: Sequence[Prompt], ledger: Ledger
) -> dict[str, dict[str, Any]]:
    """Their entries in results.json; `pixels` is one hash over all pictures, by prompt id and seed."""
    images = ledger.images()
    pixels: dict[str, list[str]] = {name: [] for name in checkpoints}
    for sample in ledger.samples():
        pixels[sample.checkpoint].append(images[sample.image].pixels)
    return {
        name: {
            "spec": checkpoint.spec,
            "kind": checkpoint.kind,
            "identity": checkpoint.identity,
            "training": checkpoint.training,
            "truncated": checkpoint.truncated(prompts),
            "pixels": canonical_sha256(pixels[name]),
        }
        for name, checkpoint in checkpoints.items()
    }
