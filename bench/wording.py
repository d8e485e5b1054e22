"""Numbers with their nouns, in every sentence the same way."""

__all__ = ["count"]


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun and thousands separated.

    Args:
        number: of things.
        one: a single one of them.
        many: several; `one` with an s where left out.

    >>> count(1, "prompt"), count(1632, "prompt"), count(2, "entry", "entries")
    ('1 prompt', '1,632 prompts', '2 entries')
    """
    return f"{number:,} {one if number == 1 else (many or one + 's')}"
