"""The whole report as one frozen value: all arithmetic, wording and geometry, before any HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.reports.view_definitions import Definitions, definitions_view
from prefbench.reports.view_facts import Facts, read_facts
from prefbench.reports.view_forest import Tick, axis_ticks
from prefbench.reports.view_headline import Headline, headline
from prefbench.reports.view_matrices import Judges, Matrix, MeanRow, judges_view, mean_rows, win_matrix
from prefbench.reports.view_numbers import Name, count, split_name
from prefbench.reports.view_p_values import PGroup, p_groups
from prefbench.reports.view_pictures import ImageKey, PictureSection, pictures
from prefbench.reports.view_ranking import RankSection, ranking_view
from prefbench.reports.view_raw import RawTable, raw_table
from prefbench.reports.view_record import Entry, Record, facts_line, record
from prefbench.reports.view_seeds import SeedSection, seeds_view
from prefbench.reports.view_slices import SliceCard, slice_cards, slice_note
from prefbench.reports.view_verdicts import VerdictCard, verdict_cards
from prefbench.reports.view_votes import VoteSection, votes_view

__all__ = ["ReportView", "build_view"]


@dataclass(frozen=True)
class ReportView:
    """What the templates loop over and print."""

    page_title: str
    kicker: str
    baseline: Name
    ticks: tuple[Tick, ...]
    headline: Headline
    facts: tuple[Entry, ...]
    verdicts: tuple[VerdictCard, ...]
    has_barred: bool
    has_exact: bool
    seeds: SeedSection | None
    ranking: RankSection | None
    matrix: Matrix
    means_header: tuple[Name, ...]
    means: tuple[MeanRow, ...]
    judges: Judges
    votes: VoteSection | None
    slices: tuple[SliceCard, ...]
    slice_note: str
    pictures: PictureSection
    warnings: tuple[str, ...]
    record: Record
    tests: tuple[PGroup, ...]
    definitions: Definitions | None
    raw: RawTable
    raw_title: str


def _kicker(results: Mapping[str, Any]) -> str:
    day = str(results["created"])[:10]
    return f"prefbench {results['prefbench']} · {results['suite']['name']} · {day}"


def build_view(
    results: Mapping[str, Any], scores: pd.DataFrame, images: Mapping[ImageKey, Path] | None = None
) -> ReportView:
    """The view of a results dict, its scores table and, where there are any, its pictures.

    Args:
        results: the dict of results.json, schema 1.
        scores: the scores table it was made from.
        images: (checkpoint, prompt_id, seed) -> image file, or None for a table made elsewhere.

    Raises:
        DataError: results of another schema, a hole in the scores table, a picture that cannot be read.
    """
    facts: Facts = read_facts(results)
    first = headline(facts, results["warnings"])
    cards = slice_cards(facts)
    raw = raw_table(facts)
    return ReportView(
        page_title="".join(span.text for span in first.title) + " · prefbench",
        kicker=_kicker(results),
        baseline=split_name(facts.baseline),
        ticks=axis_ticks(),
        headline=first,
        facts=facts_line(facts, results),
        verdicts=verdict_cards(facts, results["warnings"]),
        has_barred=any(facts.barred(row.a, row.b) for row in facts.comparisons),
        has_exact=any(row.ci_method.startswith("exact") for row in facts.comparisons),
        seeds=seeds_view(facts, results),
        ranking=ranking_view(results),
        matrix=win_matrix(facts),
        means_header=tuple(split_name(judge.name) for judge in facts.judges),
        means=mean_rows(facts, results["means"]),
        judges=judges_view(facts, results["agreement"]),
        votes=votes_view(facts, results),
        slices=cards,
        slice_note=slice_note(facts, cards),
        pictures=pictures(facts, scores, images),
        warnings=tuple(str(warning["text"]) for warning in results["warnings"]),
        record=record(facts, results),
        tests=p_groups(facts),
        definitions=definitions_view(results),
        raw=raw,
        raw_title=f"All {count(len(raw.rows), 'comparison')}",
    )
