"""Square tables: every checkpoint against every other, every scorer against every other; and mean scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.bench.wording import nothing_but_zeros
from prefbench.reports.palette import tint_class
from prefbench.reports.view_facts import Facts
from prefbench.reports.view_means import mean_parts
from prefbench.reports.view_numbers import (
    Name,
    decimals_for,
    interval_cell,
    join_words,
    percent,
    plain,
    scientific,
    split_name,
    with_interval,
)

__all__ = ["Cell", "Judges", "Matrix", "MeanRow", "judges_view", "mean_rows", "win_matrix"]


@dataclass(frozen=True)
class Cell:
    """A cell: its tint, number, interval and whether the interval excludes one half."""

    tint: str
    number: str
    interval: str
    decided: bool
    label: str
    kin: str = ""
    """What the two have in common: "family A"."""


@dataclass(frozen=True)
class Matrix:
    """A square table; None on the diagonal."""

    names: tuple[Name, ...]
    tags: tuple[str, ...]
    rows: tuple[tuple[Cell | None, ...], ...]


def win_matrix(facts: Facts) -> Matrix:
    """Win rate of the row over the column by the majority vote."""
    rows = []
    for a in facts.checkpoints:
        cells: list[Cell | None] = []
        for b in facts.checkpoints:
            if a == b:
                cells.append(None)
                continue
            row = facts.find(a, b)
            if row is None:
                cells.append(Cell("tint-none", "n/a", "not compared", False, f"{a} over {b}"))
                continue
            interval = interval_cell(row.ci95, row.prompts, row.ci_method)
            cells.append(
                Cell(
                    tint=tint_class(row.win_rate),
                    number=percent(row.win_rate),
                    interval=interval,
                    decided=row.state != "open",
                    label=f"{a} over {b}",
                )
            )
        rows.append(tuple(cells))
    return Matrix(
        names=tuple(split_name(name) for name in facts.checkpoints),
        tags=("baseline", *("" for _ in facts.checkpoints[1:])),
        rows=tuple(rows),
    )


@dataclass(frozen=True)
class Judges:
    """Do the scorers agree, and how many independent ones are they worth?"""

    sentence: str
    matrix: Matrix
    kin: tuple[str, ...]
    """Who was made from one network."""
    tau: Matrix | None
    tau_pairs: int | None
    """Pairs of samples of a comparison that it was computed from."""


def _worth(agreement: Mapping[str, Any], facts: Facts) -> str:
    voters = len(facts.voters)
    if voters < 2:
        return "One scorer votes: there is no second opinion inside the electorate."
    correlation, effective = agreement["mean_vote_correlation"], agreement["effective_voters"]
    if correlation is None or effective is None:
        return (
            f"{voters} votes; their correlation is not defined here: one of them always votes the same way."
        )
    text = (
        f"{voters} votes, worth {effective:.1f} independent ones: the votes of two scorers correlate by "
        f"{plain(correlation, 2)} on average."
    )
    if any(judge.name in against for judge in facts.voters for against in facts.trained_against.values()):
        text += " Where one has no vote, the warnings say what those that are left are worth."
    alpha = agreement.get("krippendorff_alpha")
    if alpha is not None:
        told = with_interval(alpha, agreement.get("krippendorff_ci95"), 2)
        text += (
            f" Krippendorff's alpha of the voters is {told}; 1 would be agreement on every pair, 0 is chance."
        )
    return text


def _families(agreement: Mapping[str, Any]) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Scorer -> ("family A", network, members), of those that share a network with another."""
    families = agreement.get("families") or {}
    return {
        name: (f"family {chr(ord('A') + i)}", network, tuple(kin))
        for i, (network, kin) in enumerate(families.items())
        for name in kin
    }


def _kin_notes(agreement: Mapping[str, Any]) -> tuple[str, ...]:
    found = dict.fromkeys(_families(agreement).values())
    return tuple(
        f"{letter[0].upper()}{letter[1:]}, outlined: {join_words(kin)} were made from one network, {network}; they may err "
        "together."
        for letter, network, kin in found
    )


def _tau(names: Sequence[str], tags: tuple[str, ...], agreement: Mapping[str, Any]) -> Matrix | None:
    """Kendall's tau of every two scorers; 0 has no tint, as one half has none elsewhere."""
    values = agreement.get("kendall_tau")
    if not values:
        return None
    rows = tuple(
        tuple(
            None
            if i == j
            else Cell("tint-none", "n/a", "", False, f"{one} and {other}")
            if values[i][j] is None
            else Cell(
                tint_class((1 + values[i][j]) / 2), plain(values[i][j], 2), "", True, f"{one} and {other}"
            )
            for j, other in enumerate(names)
        )
        for i, one in enumerate(names)
    )
    return Matrix(tuple(split_name(name) for name in names), tags, rows)


def judges_view(facts: Facts, agreement: Mapping[str, Any]) -> Judges:
    """How often two scorers name the same winner, how alike their differences are, and who are kin."""
    names = [str(name) for name in agreement["scorers"]]
    families = _families(agreement)
    held = {judge.name for judge in facts.held_out}
    blind = {judge.name for judge in facts.judges if judge.prompt_blind}
    rows = []
    for i, one in enumerate(names):
        cells: list[Cell | None] = []
        for j, other in enumerate(names):
            share = agreement["same_winner"][i][j]
            if i == j:
                cells.append(None)
            else:
                mine, theirs = families.get(one), families.get(other)
                kin = mine[0] if mine is not None and mine == theirs else ""
                cells.append(Cell(tint_class(share), percent(share, 0), "", True, f"{one} and {other}", kin))
        rows.append(tuple(cells))
    roles = tuple(
        ", ".join(word for word, on in (("held out", name in held), ("prompt-blind", name in blind)) if on)
        for name in names
    )
    tags = tuple(
        ", ".join(word for word in (role, families[name][0] if name in families else "") if word)
        for name, role in zip(names, roles, strict=True)
    )
    return Judges(
        sentence=_worth(agreement, facts),
        matrix=Matrix(tuple(split_name(name) for name in names), tags, tuple(rows)),
        kin=_kin_notes(agreement),
        tau=_tau(names, roles, agreement),
        tau_pairs=agreement.get("kendall_pairs"),
    )


@dataclass(frozen=True)
class MeanRow:
    """Mean scores of one checkpoint, and the difference to the baseline with its interval."""

    name: Name
    cells: tuple[tuple[str, str, str], ...]


def mean_rows(facts: Facts, means: Mapping[str, Mapping[str, float]]) -> tuple[MeanRow, ...]:
    """One row for each checkpoint, one cell for each scorer: (mean, change from the baseline, interval)."""
    rows = []
    digits, tiny = {}, set()
    for judge in facts.judges:
        values = [means[name][judge.name] for name in facts.checkpoints]
        digits[judge.name] = decimals_for((max(values) - min(values)) or abs(values[0]))
        if nothing_but_zeros(values, digits[judge.name]):
            tiny.add(judge.name)
    for name in facts.checkpoints:
        cells = []
        for judge in facts.judges:
            value = means[name][judge.name]
            text = scientific(value) if judge.name in tiny else plain(value, digits[judge.name])
            row = facts.find(name, facts.baseline, judge.name)
            cells.append((text, *(mean_parts(row) if row else ("", ""))))
        rows.append(MeanRow(split_name(name), tuple(cells)))
    return tuple(rows)
