"""A gate as Markdown for a comment on a pull request: the verdict first, one table, then what is worth reading.

Names are other people's text: they stand in code spans, where no Markdown, HTML, mention or issue number is read, and pipes are
escaped in the table. GitHub takes comments of up to 65,536 characters; we count bytes, leave room, and say what was left out.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from prefbench.bench.gate.wording import (
    basis_text,
    error_rates,
    errors_text,
    p_note,
    p_text,
    shown_p,
    stop_text,
)
from prefbench.bench.wording import count

__all__ = ["LIMIT", "code", "gate_markdown"]

LIMIT = 60_000
"""Bytes. GitHub's limit is 65,536 characters, and whoever posts the comment may add some."""

TITLES = {
    "pass": "✅ Gate passed",
    "fail": "❌ Gate failed",
    "inconclusive": "⚠️ Gate inconclusive",
}
MARKS = {"pass": "✅ pass", "fail": "❌ fail", "inconclusive": "⚠️ inconclusive"}
ORDER = ("fail", "inconclusive", "pass")

LOOKS = 12
"""Last looks of a sequential gate that are shown."""

LONGEST = 160
"""Characters of a name or prompt that are shown."""

BLANKS = re.compile(r"[\s\x00-\x1f\x7f\u0085\u2028\u2029]+")


def gate_markdown(report: Mapping[str, Any]) -> str:
    """The text of gate.md.

    Args:
        report: what gate.json holds.
    """
    page = _Page(LIMIT)
    page.add([f"## {TITLES[report['outcome']]}: {_who(report)}", ""])
    page.add([_under_the_title(report), ""])
    ordered = sorted(report["rules"], key=lambda entry: ORDER.index(entry["outcome"]))
    page.add(["| | rule | estimate [interval] | asked | p | prompts |", "|---|---|---|---|---|---|"])
    page.add_each((_row(entry) for entry in ordered), "more rules are in gate.json", table=True)
    page.add([""])
    open_ones = [
        entry for entry in ordered if entry["outcome"] != "pass" and (entry["note"] or entry["needed"])
    ]
    page.add_each((f"- {_told(entry)}" for entry in open_ones), "more remarks are in gate.json")
    if report["mode"] == "sequential":
        _add_course(page, report)
    if report["worst"]:
        page.add(["", "**Lost most clearly**", ""])
        page.add_each((_worst(each) for each in report["worst"]), "more prompts are in gate.json")
    notes = [f"- {_plain(text)}" for text in report["remarks"]]
    notes += [f"- {_plain(warning['text'])}" for warning in report["warnings"]]
    if notes:
        page.add(["", "**To be read with it**", ""])
        page.add_each(notes, "more are in gate.json")
    return page.text(["", _small_print(report), ""])


def code(text: str, *, table: bool = False) -> str:
    r"""Any text as a code span on one line.

    >>> code("a|b"), code("a|b", table=True), code("x`y")
    ('`a|b`', '`a\\|b`', '``x`y``')
    """
    line = BLANKS.sub(" ", text).strip() or "\u2423"
    if len(line) > LONGEST:
        line = line[: LONGEST - 1] + "…"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    span = f"{fence}{pad}{line}{pad}{fence}"
    return span.replace("|", "\\|") if table else span


class _Page:
    """Lines as far as they fit; what does not is counted."""

    ROOM = 2_000  # for the end, and for saying what was left out

    def __init__(self, limit: int) -> None:
        self._lines: list[str] = []
        self._left = limit - self.ROOM

    def add(self, lines: Iterable[str]) -> bool:
        """Add all or none of the lines."""
        lines = list(lines)
        size = sum(len(line.encode()) + 1 for line in lines)
        if size > self._left:
            return False
        self._lines += lines
        self._left -= size
        return True

    def add_each(self, lines: Iterable[str], rest: str, *, table: bool = False) -> None:
        """Add lines while they fit, and say how many did not."""
        lines = list(lines)
        fitting = 0
        while fitting < len(lines) and self.add([lines[fitting]]):
            fitting += 1
        if fitting < len(lines):
            self._lines += ([""] if table else []) + [f"*{len(lines) - fitting} {rest}.*"]

    def text(self, end: list[str]) -> str:
        """All lines."""
        return "\n".join([*self._lines, *end])


def _add_course(page: _Page, report: Mapping[str, Any]) -> None:
    """Where a sequential gate stopped, and how it came there: the last looks."""
    told = report["sequential"]
    last = told["course"][-LOOKS:]
    page.add(["", stop_text(report), "", "| look | prompts | estimate [limits] by rule |", "|---|---|---|"])
    for number, look in enumerate(last, start=len(told["course"]) - len(last) + 1):
        rules = "; ".join(_standing(rule) for rule in look["rules"].values())
        page.add([f"| {number} | {look['prompts']:,} | {rules} |"])


def _standing(rule: Mapping[str, Any]) -> str:
    estimate = "n/a" if rule["estimate"] is None else f"{100 * rule['estimate']:.1f} %"
    low, high = (f"{100 * end:.1f}" for end in rule["limits"])
    return f"{estimate} [{low}, {high}] {rule['outcome']}"


def _who(report: Mapping[str, Any]) -> str:
    return f"{code(report['candidate'])} against {code(report['baseline'])}"


def _under_the_title(report: Mapping[str, Any]) -> str:
    counts = {outcome: sum(entry["outcome"] == outcome for entry in report["rules"]) for outcome in ORDER}
    words = {"fail": "broken", "inconclusive": "open", "pass": "kept"}
    told = ", ".join(f"{counts[outcome]} {words[outcome]}" for outcome in ORDER if counts[outcome])
    voters = report["electorate"]["voters"]
    who = f"{count(len(voters), 'scorer')} vote{'s' if len(voters) == 1 else ''}"
    return f"Of {count(len(report['rules']), 'rule')}: {told}. {basis_text(report)}; {who}."


def _row(entry: Mapping[str, Any]) -> str:
    p = shown_p(entry)
    cells = [
        MARKS[entry["outcome"]],
        code(entry["name"], table=True),
        entry["shown"]["estimate"],
        entry["shown"]["threshold"].replace(">", "&gt;"),
        p_text(p).replace("<", "&lt;"),
        f"{entry['prompts']:,}",
    ]
    return f"| {' | '.join(cells)} |"


def _told(entry: Mapping[str, Any]) -> str:
    parts = [entry["note"] or "", (entry["needed"] or {}).get("text", "")]
    return f"{code(entry['name'])}: {' '.join(_plain(part) for part in parts if part)}"


def _worst(each: Mapping[str, Any]) -> str:
    links = ", ".join(f"[{side}]({quote(path)})" for side, path in each["pictures"].items())
    seeds = f", worst of {each['seeds']} seeds" if each["seeds"] > 1 else ""
    return f"- {code(each['prompt'])} (seed {each['seed']}{seeds}){f': {links}' if links else ''}"


def _plain(text: str) -> str:
    """Our own sentence with others' names in it, as text: nothing in it is read as Markdown, HTML or a mention."""
    line = BLANKS.sub(" ", text).strip()
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~$^-])", r"\\\1", line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u200b")


def _small_print(report: Mapping[str, Any]) -> str:
    errors = report["errors"]
    slices = (
        f" Failing of the {errors['planned_slices']} planned slices is corrected (Holm)."
        if errors["planned_slices"]
        else ""
    )
    if report["mode"] == "sequential":
        return f"<sub>{_plain(errors_text(report))} prefbench {report['prefbench']}.</sub>"
    if not errors_text(report):
        return f"<sub>prefbench {report['prefbench']}.</sub>"
    return (
        f"<sub>Intervals at {100 * (1 - report['alpha']):g} % over prompts. {p_note(report)} "
        f"{_plain(error_rates(report))}{slices} prefbench {report['prefbench']}.</sub>"
    )
