"""The numbers of results.json as sheets of text and plain sentences; the terminal and Markdown print the same ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.bench.judges.people import PERSON
from prefbench.bench.judges.wording import listed, people_statements, percent
from prefbench.bench.wording import count, fixed

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
    people = f"{few}-{many} annotators a pair" if few != many else count(many, "annotator")
    share = f"{data['ties']:,} of {count(data['pairs'], 'pair')} ({100 * data['ties'] / data['pairs']:.1f} %)"
    ties = f"{share} {'is a tie' if data['ties'] == 1 else 'are ties'}"
    images = [] if data["images"] is None else [count(data["images"], "image")]
    counts = [count(data["prompts"], "prompt"), *images, count(data["pairs"], "pair"), people]
    lines = [
        f"{data['form']}: {', '.join(counts)}.",
        f"People's choice: {data['label']}. {ties if data['ties'] else 'No pair is a tie'}.",
    ]
    left_out = ", ".join(
        count(number, what.replace("pairs", "pair", 1), what) for what, number in data["left_out"].items()
    )
    return [*lines, f"Left out: {left_out}."] if left_out else lines


def statements(results: Results) -> list[str]:
    """What can be said, in sentences."""
    return [*_most_accurate(results), *people_statements(results["people"])]


def _most_accurate(results: Results) -> Iterator[str]:
    by_rule = {rule: [entry for entry in results["accuracy"] if entry["ties"] == rule] for rule in RULES}
    if not by_rule["left_out"]:
        yield "People tied every pair, so there is no choice of theirs to agree with."
        return
    best = {rule: _best(found) for rule, found in by_rule.items() if found}
    first, *level_with = best["left_out"]
    told = f"{count(first['pairs'], 'pair')} that people decided, over {count(first['prompts'], 'prompt')}."
    if level_with:
        names = listed([entry["scorer"] for entry in best["left_out"]])
        yield f"{names} agree with people equally often: on {fixed(100 * first['accuracy'], 1)} % of {told}"
    else:
        how = "agrees with people most" if len(results["scorers"]) > 1 else "agrees with people"
        yield f"{first['scorer']} {how}: on {_rate(first)} % of {told}"
    yield from _against_a_coin(best["left_out"])
    subject = first["scorer"] if level_with else "It"
    equal = [entry["scorer"] for entry in level_with]
    ahead = [lead["b"] for lead in results["leads"] if lead["ci95"] and lead["ci95"][0] > 0]
    level = [lead["b"] for lead in results["leads"] if lead["b"] not in (*ahead, *equal)]
    if ahead:
        yield f"{subject} is ahead of {', '.join(ahead)} (the interval of the difference leaves out 0)."
    if level:
        yield f"{subject} is not told apart from {', '.join(level)}."
    others = best.get("pickscore", [first])
    if first["scorer"] not in [entry["scorer"] for entry in others]:
        verb = "is" if len(others) == 1 else "are"
        names = listed([entry["scorer"] for entry in others])
        yield f"With ties as PickScore counts them, {names} {verb} first: {_rate(others[0])} %."


def _best(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those with the highest accuracy, in order."""
    top = max(entry["accuracy"] for entry in entries)
    return [entry for entry in entries if entry["accuracy"] == top]


def _against_a_coin(first: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    marks = {entry["scorer"]: _mark(entry) for entry in first}
    worse = [name for name, mark in marks.items() if mark == "-"]
    unclear = [name for name, mark in marks.items() if mark == " "]
    if len(first) == 1 or len(worse) == len(first) or len(unclear) == len(first):
        if worse:
            yield "That is worse than a coin."
        if unclear:
            yield "That is not told apart from a coin."
    elif unclear:
        yield f"{listed(unclear)} cannot be told apart from a coin."


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
            ci95 = behind[name]["ci95"]
            turned = None if ci95 is None else [-ci95[1], -ci95[0]]
            rows.append([name, percent(-behind[name]["difference"], turned)])
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
            least = "" if min(undefined) == max(undefined) else f"{min(undefined):,} to "
            notes[-1] += (
                f" It is not defined where all are equal: {least}{count(max(undefined), 'group')}, left out."
            )
    rows = [[name, *(cells[i] for cells in columns.values())] for i, name in enumerate(names)]
    title = "How far people agree with one another, and scorers with them [95 % over prompts]"
    return Sheet(title, ["who", *columns], rows, notes)


def _over_all_sheet(results: Results, order: Sequence[str]) -> Sheet:
    measures = {"kendall": "Kendall's tau-b", "spearman": "Spearman's rho", "pearson": "Pearson's r"}
    rows = []
    for name in order:
        found = results["over_all"][name]
        rows.append([name, *("n/a" if found[key] is None else fixed(found[key], 3) for key in measures)])
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
    return percent(entry["accuracy"], entry["ci95"])


def _share(entry: Mapping[str, Any]) -> str:
    return percent(entry["agreement"], entry["ci95"])


def _tau(found: Mapping[str, Any] | None) -> str:
    if found is None or found["tau"] is None:
        return "n/a"
    limits = found["ci95"]
    text = "n/a" if limits is None else f"{fixed(limits[0], 2)}, {fixed(limits[1], 2)}"
    return f"{fixed(found['tau'], 2)} [{text}]"
