"""The numbers of results.json as sheets of text and plain sentences; the terminal and Markdown print the same ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.bench.judges.people import PERSON

__all__ = ["RULES", "Sheet", "headline", "sheets", "statements"]

Results = Mapping[str, Any]

RULES = {"left_out": "ties left out", "half": "ties half", "pickscore": "ties as PickScore"}
"""Tie rule -> its name in a heading."""
MATRIX_COLUMNS = 10
"""Scorers side by side in one sheet of agreements."""


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        title: what the numbers are, in a line or two.
        header: a name a column; the first is on the left, the others are numbers.
        rows: texts, one a column.
        notes: what must be known to read it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def headline(results: Results) -> list[str]:
    """What was judged, on two or three lines."""
    data = results["data"]
    few, many = data["annotators"]
    people = f"{few}-{many} annotators a pair" if few != many else _count(many, "annotator")
    ties = (
        f"{data['ties']:,} of {data['pairs']:,} pairs ({100 * data['ties'] / data['pairs']:.1f} %) are ties"
    )
    lines = [
        f"{data['form']}: {_count(data['prompts'], 'prompt')}, {_count(data['images'], 'image')}, "
        f"{_count(data['pairs'], 'pair')}, {people}.",
        f"People's choice: {data['label']}. {ties if data['ties'] else 'No pair is a tie'}.",
    ]
    left_out = ", ".join(f"{count:,} {what}" for what, count in data["left_out"].items())
    return [*lines, f"Left out: {left_out}."] if left_out else lines


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def statements(results: Results) -> list[str]:
    """What can be said, in sentences."""
    lines = [*_most_accurate(results)]
    people = results["people"] or {}
    if "one" in people:
        lines.append(
            f"Two annotators of a pair give the same answer in {_share(people['one']['who'][PERSON])} % of "
            f"{people['one']['decisions'] // 2:,} comparisons."
        )
    if "rest" in people:
        lines.append(
            f"One annotator and the choice of the others agree in {_share(people['rest']['who'][PERSON])} % of "
            f"{people['rest']['decisions']:,}."
        )
    return lines


def _most_accurate(results: Results) -> Iterator[str]:
    by_rule = {rule: [entry for entry in results["accuracy"] if entry["ties"] == rule] for rule in RULES}
    if not by_rule["left_out"]:
        return
    best = {rule: max(found, key=lambda e: e["accuracy"]) for rule, found in by_rule.items() if found}
    first = best["left_out"]
    how = "agrees with people most" if len(results["scorers"]) > 1 else "agrees with people"
    yield (
        f"{first['scorer']} {how}: on {_rate(first)} % of {_count(first['pairs'], 'pair')} that people decided, over "
        f"{_count(first['prompts'], 'prompt')}."
    )
    if _mark(first) != "+":
        yield "That is worse than a coin." if _mark(first) == "-" else "That is not told apart from a coin."
    ahead = [lead["b"] for lead in results["leads"] if lead["ci95"] and lead["ci95"][0] > 0]
    level = [lead["b"] for lead in results["leads"] if lead["b"] not in ahead]
    if ahead:
        yield f"It is ahead of {', '.join(ahead)} (the interval of the difference leaves out 0)."
    if level:
        yield f"It is not told apart from {', '.join(level)}."
    other = best.get("pickscore", first)
    if other["scorer"] != first["scorer"]:
        yield f"With ties as PickScore counts them, {other['scorer']} is first: {_rate(other)} %."


def sheets(results: Results) -> Iterator[Sheet]:
    """Accuracy, people, order of images, ratings over all, agreement of scorers: those for which the data has numbers."""
    order = _order(results)
    if results["accuracy"]:
        yield _accuracy_sheet(results, order)
    if results["leads"]:
        yield _leads_sheet(results, order)
    if results["people"] or results["kendall"]:
        yield _people_sheet(results, order)
    if results["over_all"]:
        yield _over_all_sheet(results, order)
    if len(order) > 1:
        yield from _agreement_sheets(results, order)
    if any(results["agreement"]["ties"]) or (results["tie_thresholds"] or {}).get("scorers"):
        yield _ties_sheet(results, order)


def _order(results: Results) -> list[str]:
    """Scorers, most accurate first."""
    plain = {e["scorer"]: e["accuracy"] for e in results["accuracy"] if e["ties"] == "left_out"}
    return sorted(results["scorers"], key=lambda name: -plain.get(name, 0))


def _accuracy_sheet(results: Results, order: Sequence[str]) -> Sheet:
    entries = {(entry["scorer"], entry["ties"]): entry for entry in results["accuracy"]}
    rules = [rule for rule in RULES if (order[0], rule) in entries]
    tied = results["data"]["ties"] > 0
    header = ["scorer", *(RULES[rule] if tied else "accuracy" for rule in rules)]
    rows = [
        [name, *(f"{_mark(entries[name, rule])} {_rate(entries[name, rule])}" for rule in rules)]
        for name in order
    ]
    silent = "50 %"
    if "pickscore" in rules:
        silent += f" (as PickScore: {100 * entries[order[0], 'pickscore']['no_opinion']:.1f} %)"
    notes = [f"+ / -: the interval lies above or below what always saying tie gets, {silent}."]
    if reason := (results["tie_thresholds"] or {}).get("reason"):
        notes.append(f"Ties as PickScore: n/a ({reason}).")
    return Sheet(
        "Accuracy: the scorer prefers what people prefer, in % [95 % over prompts]", header, rows, notes
    )


def _leads_sheet(results: Results, order: Sequence[str]) -> Sheet:
    behind = {lead["b"]: lead for lead in results["leads"]}
    title = f"Behind {results['leads'][0]['a']} in points, ties left out [95 % over prompts]"
    rows = []
    for name in order:
        if name in behind:
            low_high = behind[name]["ci95"]
            limits = "[n/a]" if low_high is None else f"[{-100 * low_high[1]:.1f}, {-100 * low_high[0]:.1f}]"
            rows.append([name, f"{-100 * behind[name]['difference']:.1f} {limits}"])
    return Sheet(title, ["scorer", "difference"], rows)


def _ties_sheet(results: Results, order: Sequence[str]) -> Sheet:
    agreement, stated = results["agreement"], results["tie_thresholds"] or {}
    equal = dict(zip(agreement["scorers"], agreement["ties"], strict=True))
    chosen = stated.get("scorers", {})
    logits = any(found["probabilities"] for found in chosen.values())
    header = [
        "scorer",
        "equal scores",
        *(["tie up to"] if chosen else []),
        *(["in probability"] if logits else []),
    ]
    rows = []
    for name in order:
        row = [name, f"{100 * equal[name]:.1f}"]
        if chosen:
            row.append(_span(chosen[name]["differences"]))
        if logits:
            row.append(_span(chosen[name]["probabilities"] or []))
        rows.append(row)
    notes = [
        "equal scores: both images have the same score, in % of the pairs; half a point where people decided."
    ]
    if chosen:
        notes.append(
            f"tie up to: the difference of scores that is a tie by PickScore's rule; {stated['how']}."
        )
    return Sheet("When a scorer ties", header, rows, notes)


def _span(found: Sequence[float | None]) -> str:
    """One number, or the least and the largest; None is a difference of any size."""
    numbers = sorted({float("inf") if t is None else t for t in found})
    texts = [
        "any" if t == float("inf") else f"{t:.3g}" for t in (numbers[:1] + numbers[-1:] if numbers else [])
    ]
    return " to ".join(dict.fromkeys(texts))


def _people_sheet(results: Results, order: Sequence[str]) -> Sheet:
    people, kendall = results["people"] or {}, results["kendall"] or {}
    names = [*([PERSON] if people or PERSON in kendall else []), *order]
    columns = {}
    for key, heading in (("one", "one annotator"), ("rest", "the others")):
        if key not in people:
            continue
        who = people[key]["who"]
        columns[heading] = [_share(who[name]) for name in names]
        if key == "one" and any(who[name]["decided"] != who[name]["agreement"] for name in names):
            shares = [who[name]["decided"] for name in names]
            columns["decided"] = ["n/a" if share is None else f"{100 * share:.1f}" for share in shares]
    notes = []
    if people:
        notes.append("one annotator: same answer in %; a tie and a choice agree by half, two ties wholly.")
    if "decided" in columns:
        notes.append("decided: only where neither of the two says tie.")
    if "rest" in people:
        notes.append(
            "the others: the choice of all annotators but one, each left out in turn, so that a person and a scorer meet the "
            "same opponents."
        )
    if kendall:
        columns["Kendall's tau"] = [_tau(kendall.get(name)) for name in names]
        notes.append(
            "Kendall's tau-b with the annotators' mean, of a person with another one; mean over prompts."
        )
        undefined = [kendall[name]["undefined"] for name in order]
        if max(undefined):
            spread = " to ".join(dict.fromkeys(f"{n:,}" for n in (min(undefined), max(undefined))))
            notes[-1] += f" It is not defined where all are equal: {spread} groups, left out."
    rows = [[name, *(cells[i] for cells in columns.values())] for i, name in enumerate(names)]
    title = "How far people agree with one another, and scorers with them [95 % over prompts]"
    return Sheet(title, ["who", *columns], rows, notes)


def _over_all_sheet(results: Results, order: Sequence[str]) -> Sheet:
    measures = {"kendall": "Kendall's tau-b", "spearman": "Spearman's rho", "pearson": "Pearson's r"}
    rows = []
    for name in order:
        found = results["over_all"][name]
        rows.append([name, *("n/a" if found[key] is None else f"{found[key]:.3f}" for key in measures)])
    title = "Correlation with the mean rating, images of all prompts together"
    return Sheet(title, ["scorer", *measures.values()], rows)


def _agreement_sheets(results: Results, order: Sequence[str]) -> Iterator[Sheet]:
    agreement = results["agreement"]
    at = {name: place for place, name in enumerate(agreement["scorers"])}
    number = {name: str(place) for place, name in enumerate(order, start=1)}
    for start in range(0, len(order), MATRIX_COLUMNS):
        part = order[start : start + MATRIX_COLUMNS]
        rows = []
        for name in order:
            shares = [agreement["same_winner"][at[name]][at[other]] for other in part]
            cells = ["" if other == name else f"{100 * s:.1f}" for other, s in zip(part, shares, strict=True)]
            rows.append([f"{number[name]} {name}", *cells])
        yield Sheet(
            "Pairs on which two scorers give the same answer, in %",
            ["scorer", *(number[name] for name in part)],
            rows,
            ["A tie of one of them counts half, of both 1."],
        )


def _mark(entry: Mapping[str, Any]) -> str:
    if entry["ci95"] is None:
        return " "
    low, high = entry["ci95"]
    return "+" if low > entry["no_opinion"] else "-" if high < entry["no_opinion"] else " "


def _rate(entry: Mapping[str, Any]) -> str:
    return _percent(entry["accuracy"], entry["ci95"])


def _share(entry: Mapping[str, Any]) -> str:
    return _percent(entry["agreement"], entry["ci95"])


def _percent(value: float, ci95: Sequence[float] | None) -> str:
    return f"{100 * value:.1f} " + (
        "[n/a]" if ci95 is None else f"[{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]"
    )


def _tau(found: Mapping[str, Any] | None) -> str:
    if found is None or found["tau"] is None:
        return "n/a"
    limits = found["ci95"]
    return f"{found['tau']:.2f} " + ("[n/a]" if limits is None else f"[{limits[0]:.2f}, {limits[1]:.2f}]")
