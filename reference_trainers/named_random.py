"""Generators by name, so that two uses of one seed draw nothing in common.

numpy pads seeds with zeros: `default_rng(7)`, `default_rng([7])` and `default_rng([7, 0])` are one stream. Wrong labels
drawn from the first and an order of training drawn from the last would put all wrong labels first.
"""

import hashlib

import numpy as np

__all__ = ["named_generator"]


def named_generator(name: str, *numbers: int) -> np.random.Generator:
    """A generator for one purpose.

    Args:
        name: the purpose, such as "flip".
        numbers: seed, step and the like; each list of them has a stream of its own.

    >>> named_generator("flip", 0).random() == named_generator("flip", 0, 0).random()
    False
    """
    key = ":".join([name, *map(str, numbers)])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))
