"""Numbers in words: the right plural, and no negative zero."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefbench.bench.judges.people import PERSON
from prefbench.bench.wording import count

__all__ = [
    "count",
    "count_of",
    "fixed",
    "listed",
    "people_statements",
    "percent",
    "without_negative_zeros",
]


def count_of(number: int, what: str) -> str:
    """As `count`, of a phrase that begins with "pairs".

    >>> count_of(1, "pairs of identical images"), count_of(2, "pairs of identical images")
    ('1 pair of identical images', '2 pairs of identical images')
    """
    return count(number, "pair") + what.removeprefix("pairs")


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def fixed(value: float, digits: int) -> str:
    """A number with so many digits after the point, a zero without a sign.

    >>> fixed(-0.04, 1), fixed(-0.06, 1)
    ('0.0', '-0.1')
    """
    return f"{round(value, digits) + 0.0:.{digits}f}"


def percent(value: float, ci95: Sequence[float] | None) -> str:
    """A share and its interval, in percent.

    >>> percent(0.5, [0.25, 0.75]), percent(-0.0, None)
    ('50.0 [25.0, 75.0]', '0.0 [n/a]')
    """
    limits = "n/a" if ci95 is None else f"{fixed(100 * ci95[0], 1)}, {fixed(100 * ci95[1], 1)}"
    return f"{fixed(100 * value, 1)} [{limits}]"


def people_statements(people: Mapping[str, Any] | None) -> list[str]:
    """How far people agree, in sentences; `people` as in results.json."""
    met = {against: found["who"][PERSON] for against, found in (people or {}).items()}
    lines = []
    if people and "one" in people:
        lines.append(
            f"Two annotators of a pair give the same answer in {percent(met['one']['agreement'], met['one']['ci95'])} % of "
            f"{count(people['one']['decisions'] // 2, 'comparison')}."
        )
    if people and "rest" in people:
        lines.append(
            f"One annotator and the choice of the others agree in {percent(met['rest']['agreement'], met['rest']['ci95'])} % of "
            f"{people['rest']['decisions']:,}."
        )
    return lines


def without_negative_zeros(found: Any) -> Any:
    """The same dicts, lists and numbers, with 0.0 for -0.0."""
    if isinstance(found, dict):
        return {key: without_negative_zeros(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [without_negative_zeros(value) for value in found]
    return found + 0.0 if isinstance(found, float) else found
