"""In which order a sequential gate draws prompts: at random, and fixed before the first image.

Limits that may be looked at after every prompt need prompts in an order that nobody chose with an eye on the outcomes.
Files are sorted by category, so their own order will not do. The key of a prompt is sha256 of the seed and its text:
anybody can recompute the order, a run that was killed finds it again, and it is the same in every file that holds the
same texts. A text that stands in the set more than once is one unit: its rows are drawn together and make one outcome.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["in_blocks", "keyed_order"]


def keyed_order(texts: Iterable[str], seed: int) -> list[str]:
    """Distinct texts in the random order that `seed` stands for.

    Args:
        texts: of the prompts, in any order and with repetitions.
        seed: chosen before anything is looked at.

    >>> keyed_order(["a cat", "a dog", "a sun", "a dog"], seed=0)
    ['a cat', 'a dog', 'a sun']
    >>> keyed_order(["a sun", "a cat", "a dog"], seed=1)
    ['a sun', 'a dog', 'a cat']
    """
    return sorted(set(texts), key=lambda text: hashlib.sha256(f"{seed}\n{text}".encode()).digest())


def in_blocks(order: Sequence[str], size: int) -> Iterator[list[str]]:
    """The order cut into blocks of `size` texts; the last may be shorter.

    >>> list(in_blocks(["a", "b", "c"], 2))
    [['a', 'b'], ['c']]
    """
    for start in range(0, len(order), size):
        yield list(order[start : start + size])
