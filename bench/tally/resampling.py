"""Bootstrap over clusters: whole prompts are drawn, with everything that was measured on them.

Images of one prompt rise and fall together, and so do the votes of several scorers on one image. Drawing
prompts carries both dependences through by itself; drawing pairs would call S seeds S independent prompts.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["ENOUGH_PROMPTS", "cluster_sums", "resampled_means"]

ENOUGH_PROMPTS = 30
"""From so many clusters on, bootstrap limits are not too narrow to decide by. The usual rule; checked by simulation
(docs/statistics.md, docs/gate.md)."""

# Draws held at once, 2 x 8 bytes each: a block takes about 32 MB however many prompts or resamples there are.
BLOCK_DRAWS = 2_000_000

# From so many clusters on, one resample is counted at a time: its counters then fit into the processor's cache.
LARGE_RESAMPLE = 1000


def cluster_sums(
    values: npt.NDArray[np.generic], clusters: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Sum each column within each cluster.

    Args:
        values: shape (pairs, columns).
        clusters: one label a pair, shape (pairs,): the prompt. Any sortable type; labels need not be
            consecutive.

    Returns:
        Sums, shape (clusters, columns), float64, clusters in sorted order of their labels; number of pairs
        in each.

    Raises:
        ValueError: no pairs, or shapes that do not fit.
    """
    labels = np.asarray(clusters)
    if values.ndim != 2 or labels.shape != values.shape[:1] or not len(labels):
        raise ValueError(
            f"Need values (pairs, columns) and clusters (pairs,), got {values.shape}, {labels.shape}."
        )
    _, number, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(number, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.add.reduceat(values[order], starts, axis=0, dtype=np.float64), sizes.astype(np.int64)


def resampled_means(
    sums: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.int64],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Mean over pairs of every column in each bootstrap sample of clusters.

    Each resample draws as many clusters as there are, with replacement; its mean is the drawn sums over the
    drawn sizes. All columns see the same draws, so one pass serves every scorer and every comparison.

    Args:
        sums: from `cluster_sums`, shape (clusters, columns).
        sizes: from `cluster_sums`, shape (clusters,).
        resamples: number of bootstrap samples.
        rng: source of the draws.

    Returns:
        Shape (resamples, columns).
    """
    n = len(sizes)
    columns = np.column_stack([sums, sizes.astype(np.float64)])
    totals = np.empty((resamples, columns.shape[1]))
    block = max(1, BLOCK_DRAWS // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        # The stream of 32-bit draws is that of 64-bit ones (numpy 1.17 on), in half of the memory.
        draws = rng.integers(0, n, size=(rows, n), dtype=np.int32)
        totals[start : start + rows] = _times_drawn(draws) @ columns
    means: npt.NDArray[np.float64] = totals[:, :-1] / totals[:, -1:]
    return means


def _times_drawn(draws: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """How often each resample, a row, draws each of the n clusters; shape (resamples, n) as `draws`."""
    rows, n = draws.shape
    if n >= LARGE_RESAMPLE:
        counts = np.empty((rows, n))
        for drawn, count in zip(draws, counts, strict=True):
            count[:] = np.bincount(drawn, minlength=n)
        return counts
    flat = (draws + n * np.arange(rows)[:, None]).ravel()
    return np.bincount(flat, minlength=rows * n).reshape(rows, n).astype(np.float64)
