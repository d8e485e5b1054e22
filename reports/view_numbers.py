"""Numbers as a reader sees them: one place that rounds, signs and says why a number is missing.

Decimal points, U+2212 for minus, an en dash inside intervals, a narrow no-break space before the per cent
sign.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from prefbench.bench.wording import count, fixed, interval_end, nothing_but_zeros

__all__ = [
    "EXACT_MARK",
    "MINUS",
    "Name",
    "count",
    "decimals_for",
    "difference_words",
    "interval_cell",
    "interval_missing",
    "interval_words",
    "join_words",
    "number_word",
    "p_text",
    "percent",
    "percent_interval",
    "plain",
    "scientific",
    "signed",
    "signed_interval",
    "split_name",
    "with_interval",
]

MINUS = "\u2212"
MOST_DIGITS = 6
NARROW = "\u202f"
EXACT_MARK = "\u2020"  # dagger


@dataclass(frozen=True)
class Name:
    """A name and the pieces between which a line may break."""

    text: str
    parts: tuple[str, ...]


def split_name(text: str) -> Name:
    """Break opportunities after `/ _ - : .`, where a reader would wrap a long checkpoint name.

    >>> split_name("org/model_v2").parts
    ('org/', 'model_', 'v2')
    """
    return Name(text, tuple(part for part in re.split(r"(?<=[/_\-:.])", text) if part))


def plain(value: float, digits: int) -> str:
    """A number as it is, with the sign of a minus only.

    >>> plain(-0.4567, 2), plain(-0.001, 2), plain(20.0, 1)
    ('−0.46', '0.00', '20.0')
    """
    return fixed(value, digits).replace("-", MINUS)


def with_interval(value: float, ci: Sequence[float] | None, digits: int) -> str:
    """A number that is no share, and its interval where there is one.

    >>> with_interval(0.244, [0.2, 0.281], 2).replace(NARROW, " "), with_interval(-0.1, None, 2)
    ('0.24 (95 % interval 0.20 to 0.28)', '−0.10')
    """
    if ci is None:
        return plain(value, digits)
    return f"{plain(value, digits)} (95{NARROW}% interval {plain(ci[0], digits)} to {plain(ci[1], digits)})"


def percent(rate: float, digits: int = 1) -> str:
    """A share in [0, 1] as per cent without the sign.

    >>> percent(0.8725), percent(0.5, 0)
    ('87.2', '50')
    """
    return fixed(100 * rate, digits)


def percent_interval(ci: tuple[float, float] | None, digits: int = 1) -> str | None:
    """`83.5–90.8`, or None where there is no interval.

    >>> percent_interval((0.835, 0.908)), percent_interval((0.4210, 0.5003))
    ('83.5–90.8', '42.1–50.03')
    """
    return None if ci is None else f"{interval_end(ci[0], digits)}–{interval_end(ci[1], digits)}"


def interval_missing(prompts: int) -> str:
    """Why an interval is absent: it resamples prompts, and one prompt cannot be resampled.

    >>> interval_missing(1), interval_missing(7)
    ('no interval (1 prompt)', 'no interval')
    """
    return "no interval (1 prompt)" if prompts == 1 else "no interval"


def interval_cell(ci: tuple[float, float] | None, prompts: int, method: str) -> str:
    """An interval as a cell has it; `EXACT_MARK` tells the exact bound from a bootstrap.

    Args:
        ci: the interval.
        prompts: why there is none.
        method: `ci_method` of the results; empty in results of old that lack it.

    >>> interval_cell((0.419, 0.929), 14, "exact"), interval_cell((0.4, 0.6), 90, "bootstrap"), interval_cell(None, 1, "none")
    ('41.9–92.9†', '40.0–60.0', 'no interval (1 prompt)')
    """
    shown = percent_interval(ci)
    return interval_missing(prompts) if shown is None else shown + EXACT_MARK * method.startswith("exact")


def interval_words(ci: tuple[float, float] | None, prompts: int) -> str:
    """`83.5 to 90.8 %`, for running text."""
    if ci is None:
        return interval_missing(prompts)
    return f"{interval_end(ci[0])} to {interval_end(ci[1])}{NARROW}%"


def decimals_for(spread: float) -> int:
    """Decimals that show a quantity to a fiftieth of its spread, between 0 and 6; 3 where the spread is 0.

    >>> decimals_for(1.0), decimals_for(0.01), decimals_for(0.0), decimals_for(250.0)
    (2, 4, 3, 0)
    """
    if not spread > 0:
        return 3
    # 1e-9: a spread of exactly 0.5 must not gain a digit by rounding in binary.
    return min(MOST_DIGITS, max(0, math.ceil(-math.log10(spread / 50) - 1e-9)))


def signed(value: float, digits: int) -> str:
    """With its sign; zero has none.

    >>> signed(0.0741, 3), signed(-0.0134, 3), signed(-0.0001, 3)
    ('+0.074', '−0.013', '0.000')
    """
    text = fixed(value, digits)
    if float(text) == 0:
        return text
    return MINUS + text[1:] if text.startswith("-") else "+" + text


def signed_interval(ci: tuple[float, float] | None, digits: int) -> str | None:
    """`+0.061 to +0.086`, or None; a bound that is not zero does not read as zero.

    >>> signed_interval((0.004, 0.22), 2)
    '+0.004 to +0.22'
    """
    if ci is None:
        return None
    bounds = []
    for bound in ci:
        places = digits
        while places < MOST_DIGITS and bound != 0 and float(fixed(bound, places)) == 0:
            places += 1
        bounds.append(signed(bound, places))
    return " to ".join(bounds)


def scientific(value: float, sign: str = "") -> str:
    """Two figures and an exponent, for what has only zeros among its decimals.

    >>> scientific(-1.23e-9), scientific(1.23e-9, "+")
    ('−1.2e−09', '+1.2e−09')
    """
    return f"{value:{sign}.1e}".replace("-", MINUS)


def difference_words(mean: float, ci: tuple[float, float] | None, prompts: int) -> tuple[str, str]:
    """A mean difference and its interval, or why there is none, to a fifth of the interval's width: more decimals are noise.

    >>> difference_words(0.0741, (0.061, 0.086), 90), difference_words(1.2e-9, (-1e-9, 3e-9), 90)
    (('+0.074', '+0.061 to +0.086'), ('+1.2e−09', '−1.0e−09 to +3.0e−09'))
    """
    digits = decimals_for(10 * (ci[1] - ci[0]) if ci else abs(mean))
    if nothing_but_zeros([mean, *(ci or ())], digits):
        spread = " to ".join(scientific(bound, "+") for bound in ci) if ci else interval_missing(prompts)
        return scientific(mean, "+"), spread
    return signed(mean, digits), signed_interval(ci, digits) or interval_missing(prompts)


def p_text(p: float | None) -> str:
    """A p-value to three decimals, to four where three would say 0.050; empty where there is none.

    >>> p_text(0.0004), p_text(0.0123), p_text(0.0497), p_text(1.0), p_text(None)
    ('<0.001', '0.012', '0.0497', '1.000', '')
    """
    if p is None:
        return ""
    if p < 0.001:
        return "<0.001"
    text = f"{p:.3f}"
    return f"{p:.4f}" if text == "0.050" and p != 0.05 else text


def number_word(number: int) -> str:
    """Small numbers as words, for the start of a sentence.

    >>> number_word(5), number_word(40)
    ('Five', '40')
    """
    words = (
        "No",
        "One",
        "Two",
        "Three",
        "Four",
        "Five",
        "Six",
        "Seven",
        "Eight",
        "Nine",
        "Ten",
        "Eleven",
        "Twelve",
    )
    return words[number] if number < len(words) else str(number)


def join_words(words: Sequence[str], last: str = "and") -> str:
    """A list in a sentence.

    >>> join_words(["a"]), join_words(["a", "b"]), join_words(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
