"""What a chat model says, where it was asked for one JSON object and may have said more."""

import json
from collections.abc import Callable
from typing import TypeVar

__all__ = ["last_value"]

T = TypeVar("T")

LONGEST_REPLY = 20_000
"""Characters at the end of a reply that are read: brackets without end take time that grows with their square."""


def last_value(text: str, read: Callable[[object], T | None]) -> T | None:
    """What `read` makes of the last JSON object in a reply that it does not answer with None; None if there is none.

    >>> last_value('<think>{"score": 2}?</think> {"score": 7}', lambda value: value.get("score"))
    7
    """
    text = text[-LONGEST_REPLY:]
    decoder, found, at = json.JSONDecoder(), None, text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):  # no JSON, or brackets without end
            end = at + 1
        else:
            fresh = read(value)
            found = found if fresh is None else fresh
        at = text.find("{", end)
    return found
