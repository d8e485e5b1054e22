"""Numbers with their nouns, and ends of intervals, in every sentence the same way."""

from collections.abc import Sequence

__all__ = ["complement", "count", "fixed", "interval_end", "nothing_but_zeros"]

MOST_DIGITS = 6


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


def fixed(value: float, digits: int) -> str:
    """A number with so many digits after the point, a zero without a sign.

    >>> fixed(-0.04, 1), fixed(-0.06, 1)
    ('0.0', '-0.1')
    """
    return f"{round(value, digits) + 0.0:.{digits}f}"


def complement(share: float) -> float:
    """A share seen from the other side, without the rounding of binary that 1 - share leaves.

    >>> complement(0.3925), 1 - 0.3925
    (0.6075, 0.6074999999999999)
    """
    return round(1 - share, 12)


def interval_end(share: float, digits: int = 1, edge: float = 0.5) -> str:
    """An end of an interval in per cent, with enough decimals to see on which side of `edge` it lies.

    >>> interval_end(0.421), interval_end(0.5003), interval_end(0.5), interval_end(0.46996, edge=0.47)
    ('42.1', '50.03', '50.0', '46.996')
    """
    while digits < MOST_DIGITS and share != edge and fixed(100 * share, digits) == fixed(100 * edge, digits):
        digits += 1
    return fixed(100 * share, digits)


def nothing_but_zeros(values: Sequence[float], digits: int) -> bool:
    """Whether so many decimals show zeros alone, although one of the values is none.

    >>> nothing_but_zeros([1e-9, 0.0], 8), nothing_but_zeros([1e-9, 0.1], 8), nothing_but_zeros([0.0], 8)
    (True, False, False)
    """
    return any(values) and all(float(fixed(value, digits)) == 0 for value in values)
