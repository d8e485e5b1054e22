"""Who beats whom in a circle: A beats B, B beats C, C beats A. No ranking is true of such checkpoints."""

import numpy as np
import numpy.typing as npt

__all__ = ["shortest_cycles"]


def shortest_cycles(beats: npt.ArrayLike) -> list[list[int]]:
    """For each checkpoint that is in a circle, a shortest one through it; each circle once.

    Not all circles: of n checkpoints there can be exponentially many, and each of these holds its reader as long.

    Args:
        beats: whether the row beats the column, shape (checkpoints, checkpoints).

    Returns:
        Circles [i, j, ..., k]: i beats j, ..., k beats i. The smallest number stands first; sorted.

    Raises:
        ValueError: not square, or two checkpoints that beat each other (or one itself).

    >>> shortest_cycles([[0, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]])  # 0 > 1 > 2 > 0, and 3 loses to all
    [[0, 1, 2]]
    """
    edges = np.asarray(beats, dtype=bool)
    if edges.ndim != 2 or edges.shape[0] != edges.shape[1] or (edges & edges.T).any():
        raise ValueError("`beats` must be square, and no two checkpoints may beat each other.")
    found = set()
    for start in range(len(edges)):
        circle = _shortest_through(edges, start)
        if circle:
            turn = circle.index(min(circle))
            found.add((*circle[turn:], *circle[:turn]))
    return [list(circle) for circle in sorted(found)]


def _shortest_through(edges: npt.NDArray[np.bool_], start: int) -> list[int]:
    """Breadth first from `start` until somebody met beats it; empty if nobody does."""
    paths = {start: [start]}
    frontier = [start]
    while frontier:
        ahead = []
        for at in frontier:
            if edges[at, start]:
                return paths[at]
            for to in map(int, np.flatnonzero(edges[at])):
                if to not in paths:
                    paths[to] = [*paths[at], to]
                    ahead.append(to)
        frontier = ahead
    return []
