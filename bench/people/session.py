"""What `prefbench import-votes` does: read, match, weigh the annotators, hold scorers against people, write.

people.json: {"schema": 1, "prefbench", "created",
 "votes": {"source", "form", "judgements", "annotators", "prompts", "pairs", "judgements_a_pair": [fewest, most], "ties": of the
           judgements, "order_known": whether checkpoint_a was shown first, "unread": columns, "left_out": {what: judgements}},
 "annotators": [as `Annotator`, plus "flagged", "dropped"], "tests": text, "dropped": [names],
 "krippendorff_alpha": of the annotators that count, null where no pair has two judgements,
 "people": as in `prefbench judges` (`judging.py`), of people alone,
 "people_before": the same with the dropped annotators, null where nobody is dropped,
 "comparisons": [{"a", "b", "prompts", "pairs", "judgements", "wins", "ties", "losses": of the majority, "win_rate", "ci95",
                  "ci_method", "p_value"}],
 "scorers": what `prefbench judges` writes of the scorers on these pairs, null without --scores,
 "table": {"a", "b", "scorer": name of the people, "samples", "not_judged"} | null, "no_table": why, or null,
 "intervals": {"method", "resamples", "seed"}, "warnings": [text]}
"""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench.bench import atomic
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.judges.judging import judge, people_block
from prefbench.bench.judges.scoring import without_gaps
from prefbench.bench.judges.wording import without_negative_zeros
from prefbench.bench.out_folder import check_only_own
from prefbench.bench.people.as_scorer import judged_scorers, people_table
from prefbench.bench.people.columns import COLUMNS
from prefbench.bench.people.matching import complete, match_scores
from prefbench.bench.people.reliability import TESTS, Annotator, weigh_annotators
from prefbench.bench.people.shown_pairs import ShownPairs, arrange_votes
from prefbench.bench.people.votes_table import Judgements, read_votes
from prefbench.bench.people.warn import warnings_of
from prefbench.bench.registry import unknown_name
from prefbench.bench.resamples import check_resamples
from prefbench.bench.scores_table import read_scores, write_scores
from prefbench.bench.tally.agreement import krippendorff_alpha
from prefbench.bench.tally.win_rate import tally

__all__ = ["FORMATS", "WRITTEN", "Request", "import_votes"]

FORMATS = ("votes", "imagenhub", "tifa")
"""How the judgements are written down: a table of votes, ImagenHub's files, TIFA's file."""

WRITTEN = ("annotators.csv", "people.json", "scores.parquet", "votes.parquet")
INTERVALS = "95 % percentile bootstrap over prompts; an exact bound where nearly all prompts agree"


@dataclass(frozen=True)
class Request:
    """What is read and how.

    Attributes:
        votes: the data.
        form: one of `FORMATS`.
        scores: a scores table, None for none.
        a: with `b` the two checkpoints to look at, "" for all.
        b: likewise.
        name: of the people among the scorers.
        drop_flagged: whether flagged annotators' judgements are left out.
    """

    votes: Path
    form: str = "votes"
    scores: Path | None = None
    a: str = ""
    b: str = ""
    name: str = "people"
    drop_flagged: bool = False


def import_votes(request: Request, out: Path, *, resamples: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """Read judgements and write `WRITTEN` to `out`, whole or not at all; scores.parquet only for two checkpoints.

    Args:
        request: what is read.
        out: folder, new, empty or of an earlier call.
        resamples: bootstrap samples, at least 1000.
        seed: of the bootstrap.

    Returns:
        What people.json holds.

    Raises:
        UsageError: options that do not go together, an unknown checkpoint, or a folder that holds something else.
        DataError: data that cannot be used; rows are named.
    """
    check_resamples(resamples)
    _check_request(request)
    check_only_own(out, "import-votes", WRITTEN)
    scores = read_scores(request.scores) if request.scores else None
    judgements = _read(request)
    if scores is not None and request.scores:
        if request.name in set(scores["scorer"]):
            raise UsageError(
                f"{request.scores} has a scorer {request.name!r} already. Give the people another name with --name."
            )
        judgements = match_scores(judgements, scores, request.scores)
    else:
        judgements = complete(judgements)
    only = (request.a, request.b) if request.a else None
    annotators = weigh_annotators(arrange_votes(judgements, order=only or ()), resamples=resamples, seed=seed)
    dropped = [each.name for each in annotators if each.flagged] if request.drop_flagged else []
    pairs = _counted(request, judgements, only, dropped)
    results = _results(judgements, annotators, dropped, pairs, resamples, seed)
    if dropped:
        everybody = _counted(request, judgements, only, ())
        results["people_before"] = people_block(everybody.choices, {}, everybody.clusters, resamples, seed)
    table = None
    if scores is not None and request.scores:
        scorers = judged_scorers(pairs, scores, request.scores)
        choices = without_gaps(pairs.choices, scorers)
        results["scorers"] = judge(choices, scorers, resamples=resamples, seed=seed)
        if len(pairs.comparisons) == 1:
            table, results["table"] = people_table(pairs, scores, request.name)
        else:
            results["no_table"] = (
                f"{len(pairs.comparisons)} comparisons; --a and --b name the two checkpoints of one"
            )
    plain: dict[str, Any] = without_negative_zeros(results)
    plain["warnings"] = warnings_of(plain)
    _write(out, judgements, annotators, dropped, table, plain)
    return plain


def _read(request: Request) -> Judgements:
    if request.form == "imagenhub":
        from prefbench.bench.importers import imagenhub

        return imagenhub.read_judgements(request.votes)
    if request.form == "tifa":
        from prefbench.bench.importers import tifa

        return tifa.read_judgements(request.votes)
    return read_votes(request.votes)


def _check_request(request: Request) -> None:
    if request.form not in FORMATS:
        raise unknown_name("format of votes", request.form, list(FORMATS))
    if bool(request.a) != bool(request.b):
        raise UsageError("--a and --b go together: give both checkpoints of a comparison, or neither.")
    if request.a and request.a == request.b:
        raise UsageError(f"--a and --b both name {request.a!r}. Give two different checkpoints.")
    if not request.name.strip():
        raise UsageError("--name is empty. Give the people a name among the scorers, such as people.")


def _counted(
    request: Request, judgements: Judgements, only: tuple[str, str] | None, dropped: Sequence[str]
) -> ShownPairs:
    """The judgements that count: of the two checkpoints that are asked for, and without the dropped annotators."""
    table = judgements.table
    known = sorted({*table["checkpoint_a"], *table["checkpoint_b"]})
    for name in only or ():
        if name not in known:
            raise unknown_name("checkpoint of the votes", name, known)
    pairs = arrange_votes(judgements, order=only or (), only=only, without=dropped)
    if not len(pairs.about):
        what = f"no judgement of {only[0]} against {only[1]}" if only else "no judgement"
        after = f" that is not by a flagged annotator ({', '.join(dropped)})" if dropped else ""
        raise DataError(f"{judgements.source} has {what}{after}. Nothing is left to count.")
    return pairs


def _results(
    judgements: Judgements,
    annotators: Sequence[Annotator],
    dropped: list[str],
    pairs: ShownPairs,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    a_pair = (~np.isnan(pairs.answers)).sum(axis=0)
    table = judgements.table
    without = int(table["annotator"].isin(dropped).sum())
    elsewhere = len(table) - without - int(a_pair.sum())
    left_out = {"of flagged annotators": without, "of other comparisons": elsewhere}
    alpha = krippendorff_alpha(pairs.answers, pairs.comparison)
    return {
        "schema": 1,
        "prefbench": version("prefbench"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "votes": {
            "source": judgements.source,
            "form": judgements.form,
            "judgements": int(a_pair.sum()),
            "annotators": len(pairs.annotators),
            "prompts": len(set(pairs.clusters.tolist())),
            "pairs": len(pairs.about),
            "judgements_a_pair": [int(a_pair.min()), int(a_pair.max())],
            "ties": int((pairs.answers == 0).sum()),
            "order_known": judgements.ordered,
            "unread": judgements.unread,
            "left_out": {what: number for what, number in left_out.items() if number},
        },
        "annotators": [_listed(each, dropped) for each in annotators],
        "tests": TESTS,
        "dropped": dropped,
        "krippendorff_alpha": alpha,
        "people": people_block(pairs.choices, {}, pairs.clusters, resamples, seed),
        "people_before": None,
        "comparisons": _comparisons(pairs, resamples, seed),
        "scorers": None,
        "table": None,
        "no_table": None,
        "intervals": {"method": INTERVALS, "resamples": resamples, "seed": seed},
    }


def _listed(each: Annotator, dropped: Sequence[str]) -> dict[str, Any]:
    found = asdict(each)
    rate = each.agreement
    found["agreement"] = rate and rate.win_rate
    found["agreement_ci95"] = list(rate.ci95) if rate and rate.ci95 else None
    found["agreement_ci_method"] = rate and rate.ci_method
    return found | {"flagged": each.flagged, "dropped": each.name in dropped}


def _comparisons(pairs: ShownPairs, resamples: int, seed: int) -> list[dict[str, Any]]:
    """What the majority of people says of every two checkpoints."""
    people, clusters = pairs.choices.people(), pairs.clusters
    judged = (~np.isnan(pairs.answers)).sum(axis=0)
    found = []
    for number, (a, b) in enumerate(pairs.comparisons):
        rows = pairs.comparison == number
        rng = np.random.default_rng(seed)
        rate = tally(people[rows][:, None], None, clusters[rows], resamples=resamples, rng=rng)[0][0]
        found.append(
            {
                "a": a,
                "b": b,
                "prompts": rate.prompts,
                "pairs": rate.pairs,
                "judgements": int(judged[rows].sum()),
                "wins": rate.wins,
                "ties": rate.ties,
                "losses": rate.losses,
                "win_rate": rate.win_rate,
                "ci95": None if rate.ci95 is None else list(rate.ci95),
                "ci_method": rate.ci_method,
                "p_value": rate.p_value,
            }
        )
    return found


def _write(
    out: Path,
    judgements: Judgements,
    annotators: Sequence[Annotator],
    dropped: Sequence[str],
    table: pd.DataFrame | None,
    results: dict[str, Any],
) -> None:
    lines = [_listed(each, dropped) for each in annotators]
    for line in lines:
        line["agreement_low"], line["agreement_high"] = line.pop("agreement_ci95") or (None, None)
    buffer = io.BytesIO()
    judgements.table[list(COLUMNS)].to_parquet(buffer, index=False, compression="zstd")
    with atomic.new_folder(out) as folder:
        atomic.write_bytes(folder / "votes.parquet", buffer.getvalue())
        atomic.write_text(
            folder / "annotators.csv", pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")
        )
        atomic.write_json(folder / "people.json", results)
        if table is not None:
            write_scores(table, folder / "scores.parquet")
