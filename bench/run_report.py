"""The report of a run folder from its files alone."""

from pathlib import Path

from prefbench.bench.exceptions import DataError
from prefbench.bench.results import read_results
from prefbench.bench.run_folder import IMAGES, REPORT, RESULTS, SCORES
from prefbench.bench.scores_table import read_scores
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.ledger import FILE_NAME, Ledger
from prefbench.reports.html import write_report

__all__ = ["rewrite_report", "sample_paths"]


def rewrite_report(run: Path) -> Path:
    """Write `report.html` of a finished run folder, with pictures where it has a ledger; returns its path.

    Raises:
        DataError: the run is not finished, or a file is damaged.
        LedgerError: the ledger is damaged or newer.
    """
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
    scores = read_scores(run / SCORES)
    images = None
    if (run / FILE_NAME).is_file():
        with Ledger(run, read_only=True) as ledger:
            images = sample_paths(ledger, ImageStore(run / IMAGES))
    return write_report(results, scores, run / REPORT, images=images)


def sample_paths(ledger: Ledger, store: ImageStore) -> dict[tuple[str, str, int], Path]:
    """(checkpoint, prompt_id, seed) -> image file, of every sample in the ledger."""
    return {(s.checkpoint, s.prompt_id, s.seed): store.path(s.image) for s in ledger.samples()}
