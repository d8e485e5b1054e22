"""How alone a prompt stands among the others: log distance to its k-th nearest neighbour.

    d_i = log max(||z_i - z_i^(k)||_2, FLOOR)         z: embeddings of the DISTINCT prompts

The leading term of the Kozachenko-Leonenko entropy estimator. That FiFA (arXiv 2410.10166) measures text diversity by
k nearest neighbours is published [ABS]; the embedding, k and the floor are ours (reconstruction).
"""

from collections.abc import Sequence

import numpy as np

from prefbench.bench.exceptions import DataError

__all__ = ["FLOOR", "distinct", "neighbour_distances", "text_diversity"]

FLOOR = 1e-4
"""Prompts whose embeddings are as close as float32 can tell count as this far apart (ours): their log would be noise."""


def distinct(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Each text once, in order of first appearance, and the place of every text among them, (N,)."""
    places: dict[str, int] = {}
    index = np.fromiter(
        (places.setdefault(text, len(places)) for text in texts), dtype=np.int64, count=len(texts)
    )
    return list(places), index


def neighbour_distances(embeddings: np.ndarray, k: int) -> np.ndarray:
    """Euclidean distance of every row to its k-th nearest OTHER row, (P,) float64.

    faiss finds the neighbours by exact search in float32; their distances are computed again in float64, because the
    float32 search takes differences of nearly equal numbers.

    Args:
        embeddings: (P, D) float32.
        k: 1 for the nearest.

    Raises:
        DataError: there are not more than k rows.
    """
    import faiss

    count = len(embeddings)
    if count <= k:
        raise DataError(
            f"The {k}-th neighbour of a prompt needs more than {k} distinct prompts, and there are {count}. Give more data "
            "or a smaller neighbour."
        )
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    # One more than k because a row finds itself, and one against a tie at the edge.
    wanted = min(k + 2, count)
    found = np.empty((count, wanted), dtype=np.int64)
    result = np.empty(count)
    for start in range(0, count, 4096):
        part = slice(start, min(start + 4096, count))
        _, found[part] = index.search(rows[part], wanted)
        others = rows[found[part]].astype(np.float64) - rows[part, None].astype(np.float64)
        distances = np.sqrt((others**2).sum(axis=-1))
        distances[found[part] == np.arange(part.start, part.stop)[:, None]] = np.inf
        result[part] = np.sort(distances, axis=1)[:, k - 1]
    return result


def text_diversity(embeddings: np.ndarray, k: int) -> np.ndarray:
    """The term d of every distinct prompt, (P,) float64; see the module's docstring."""
    return np.log(np.maximum(neighbour_distances(embeddings, k), FLOOR))
