"""p-values and effect sizes against the baseline, over all prompts: what was planned, and what is left after adjusting."""

from dataclasses import dataclass

from prefbench.reports.view_facts import VOTE, Comparison, Facts
from prefbench.reports.view_numbers import Name, p_text, percent, signed, split_name
from prefbench.reports.view_verdicts import VOTE_NAME

__all__ = ["PGroup", "PRow", "p_groups"]


@dataclass(frozen=True)
class PRow:
    """One scorer, or the vote, on one comparison."""

    name: Name
    tags: tuple[str, ...]
    rate: str
    p: str
    p_adjusted: str
    permutation: str
    effect: str


@dataclass(frozen=True)
class PGroup:
    """One checkpoint against the baseline."""

    title: str
    rows: tuple[PRow, ...]


def _row(facts: Facts, row: Comparison) -> PRow:
    held = {judge.name for judge in facts.held_out}
    tags = (
        ("planned", bool(row.planned)),
        ("held out", row.scorer in held),
        ("no vote", row.scorer in facts.barred(row.a, row.b)),
    )
    return PRow(
        name=split_name(VOTE_NAME if row.scorer == VOTE else row.scorer),
        tags=tuple(tag for tag, on in tags if on),
        rate=percent(row.win_rate),
        p=p_text(row.p_value),
        p_adjusted=p_text(row.p_adjusted),
        permutation=p_text(row.permutation_p_value),
        effect="" if row.effect_size is None else signed(row.effect_size, 2),
    )


def p_groups(facts: Facts) -> tuple[PGroup, ...]:
    """The table; empty for results of old, which do not say what was planned."""
    if all(row.planned is None for row in facts.comparisons):
        return ()
    scorers = (VOTE, *(judge.name for judge in facts.judges))
    return tuple(
        PGroup(
            f"{name} over {facts.baseline}",
            tuple(_row(facts, facts.get(name, facts.baseline, scorer)) for scorer in scorers),
        )
        for name in facts.candidates
    )
