"""Shares, names and agreement in sentences, and no negative zero."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefbench.bench.judges.people import PERSON
from prefbench.bench.wording import count, fixed, interval_end

__all__ = [
    "listed",
    "people_statements",
    "percent",
    "without_negative_zeros",
]


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def percent(value: float, ci95: Sequence[float] | None) -> str:
    """A share and its interval, in percent.

    >>> percent(0.5, [0.25, 0.75]), percent(-0.0, None)
    ('50.0 [25.0, 75.0]', '0.0 [n/a]')
    """
    limits = "n/a" if ci95 is None else f"{interval_end(ci95[0])}, {interval_end(ci95[1])}"
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
