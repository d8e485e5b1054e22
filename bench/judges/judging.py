"""Scorers held against people: the dict of results.json.

{"schema": 1, "prefbench", "created",
 "data": {"source", "form", "prompts", "images": null where they have no names, "pairs", "label": how one choice is made of
          several annotators, "ties", "annotators": [fewest, most] a pair, "left_out": {what: n}},
 "scorers": {name: what it says of itself, or {"name", "recorded_in", "direction"}},
 "accuracy": [{"scorer", "ties": "left_out" | "half" | "pickscore", "prompts", "pairs", "right", "half", "wrong", "accuracy",
               "ci95", "ci_method", "no_opinion": what a scorer gets that always says tie}],
 "tie_thresholds": {"how", "scorers": {name: {"tried": "probabilities" | "differences", "differences": [...], "probabilities"}}},
                   null where people never tie, "reason" in place of "scorers" where none can be chosen; no finite number: null
 "leads": [{"a", "b", "difference", "ci95"}]: accuracy, ties left out, of the most accurate scorer less that of another,
 "agreement": {"scorers": [...], "same_winner": [[...]], "ties": [share of pairs that a scorer ties]},
 "people": {"one" | "rest": {"pairs", "decisions", "who": {"a person" | scorer: {"agreement", "ci95", "ci_method", "decided"}}}},
           null where nobody can be met,
 "kendall": {"a person" | scorer: {"tau", "ci95", "groups", "undefined"}} | null, "over_all": {scorer: {...}} | null,
 "intervals": {"method", "resamples", "seed"}, "warnings": [text]}
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from prefbench.bench.judges.choices import LABELS, HumanChoices
from prefbench.bench.judges.credit import (
    FOLDS,
    LOGIT_GRID,
    TieRule,
    best_threshold,
    cross_fitted,
    points,
    probability_gap,
)
from prefbench.bench.judges.people import Decisions, against_one, against_rest, meet
from prefbench.bench.judges.rank_correlation import over_all, within_prompts
from prefbench.bench.judges.scoring import JudgedScores, shown_images
from prefbench.bench.judges.warn import warnings_of
from prefbench.bench.judges.wording import without_negative_zeros
from prefbench.bench.tally.agreement import same_winner
from prefbench.bench.tally.win_rate import WinRate, tally

__all__ = ["described", "judge", "people_block"]

Floats = npt.NDArray[np.float64]
Votes = npt.NDArray[np.int8]
Judged = tuple[HumanChoices, Sequence[JudgedScores]]

SCHEMA = 1
INTERVALS = "95 % percentile bootstrap over prompts; an exact bound where nearly all prompts agree; thresholds held fixed"


def judge(
    choices: HumanChoices,
    scorers: Sequence[JudgedScores],
    *,
    validation: Judged | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that is said of these scorers.

    Args:
        choices: what people chose.
        scorers: at least one, scored on the same images.
        validation: other choices and the same scorers on them, to choose thresholds by.
        resamples: bootstrap samples.
        seed: of the bootstrap.
    """
    people, clusters = choices.people(), choices.clusters
    gaps = {s.name: s.values[choices.pairs[:, 0]] - s.values[choices.pairs[:, 1]] for s in scorers}
    verdicts: dict[str, Votes] = {name: np.sign(gap).astype(np.int8) for name, gap in gaps.items()}
    thresholds, stated = _thresholds(choices, people, gaps, scorers, validation)
    accuracy = _accuracy(people, clusters, gaps, thresholds, resamples, seed)
    results = {
        "schema": SCHEMA,
        "prefbench": version("prefbench"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": described(choices),
        "scorers": {s.name: dict(s.info) for s in scorers},
        "accuracy": accuracy,
        "tie_thresholds": stated,
        "leads": _leads(people, clusters, verdicts, accuracy, resamples, seed),
        "agreement": {
            "scorers": list(verdicts),
            "same_winner": same_winner(np.stack(list(verdicts.values()))).tolist(),
            "ties": [float((votes == 0).mean()) for votes in verdicts.values()],
        },
        "people": people_block(choices, verdicts, clusters, resamples, seed),
        **_orders(choices, scorers, resamples, seed),
        "intervals": {"method": INTERVALS, "resamples": resamples, "seed": seed},
    }
    plain: dict[str, Any] = without_negative_zeros(results)
    return {**plain, "warnings": warnings_of(plain)}


def described(choices: HumanChoices) -> dict[str, Any]:
    """What was judged: `data` of results.json."""
    judged = (~np.isnan(choices.differences)).sum(axis=0)
    return {
        "source": choices.source,
        "form": choices.form,
        "prompts": len(set(choices.clusters.tolist())),
        "images": len(shown_images(choices)) if choices.named else None,
        "pairs": len(choices.pairs),
        "label": LABELS[choices.label] if len(choices.values) > 1 else "the one annotator's choice",
        "ties": int((choices.people() == 0).sum()),
        "annotators": [int(judged.min()), int(judged.max())],
        "left_out": {what: count for what, count in choices.left_out.items() if count},
    }


def _thresholds(
    choices: HumanChoices,
    people: Votes,
    gaps: Mapping[str, Floats],
    scorers: Sequence[JudgedScores],
    validation: Judged | None,
) -> tuple[dict[str, Floats], dict[str, Any] | None]:
    """Scorer -> a threshold for each pair, and what results.json says of them; none where people never tie."""
    if (people != 0).all():
        return {}, None
    prompts = [choices.prompts[int(place)] for place in choices.pairs[:, 0]]
    if validation is None and len(set(prompts)) < 2:
        reason = "one prompt: a threshold is chosen on other prompts, or on --validation data"
        return {}, {"how": "none", "reason": reason}
    grids = {s.name: LOGIT_GRID if s.logits else None for s in scorers}
    if validation is None:
        how = f"cross-fitted: the threshold of a prompt is the best for other prompts ({FOLDS} parts)"
        found = {name: cross_fitted(people, gap, prompts, grids[name]) for name, gap in gaps.items()}
    else:
        others, scored = validation
        how = f"chosen on {others.source}"
        labels = others.people()
        best = {
            s.name: best_threshold(
                labels, s.values[others.pairs[:, 0]] - s.values[others.pairs[:, 1]], grids[s.name]
            )
            for s in scored
        }
        found = {name: (np.full(len(people), best[name]), [best[name]]) for name in gaps}
    stated = {
        name: {
            "tried": "differences" if grids[name] is None else "probabilities",
            "differences": [float(t) if np.isfinite(t) else None for t in parts],
            "probabilities": None if grids[name] is None else [round(probability_gap(t), 6) for t in parts],
        }
        for name, (_, parts) in found.items()
    }
    return {name: each for name, (each, _) in found.items()}, {"how": how, "scorers": stated}


def _accuracy(
    people: Votes,
    clusters: npt.NDArray[np.int64],
    gaps: Mapping[str, Floats],
    thresholds: Mapping[str, Floats],
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    decided = people != 0
    plain = np.stack([points(people, gap) for gap in gaps.values()], axis=1)
    rules: dict[TieRule, tuple[Votes, npt.NDArray[np.bool_]]] = {"left_out": (plain, decided)}
    if not decided.all():
        every = np.ones_like(decided)
        rules["half"] = (plain, every)
        if thresholds:
            credit = [points(people, gap, thresholds[name]) for name, gap in gaps.items()]
            rules["pickscore"] = (np.stack(credit, axis=1), every)
    entries = []
    for rule, (ballots, counted) in rules.items():
        if not counted.any():
            continue
        rng = np.random.default_rng(seed)
        rates, _ = tally(ballots[counted], None, clusters[counted], resamples=resamples, rng=rng)
        # Who always says tie is half right, and by PickScore's rule wholly right where people tie.
        silent = 0.5 + (0.5 * float((people == 0).mean()) if rule == "pickscore" else 0.0)
        entries += [_entry(name, rule, rate, silent) for name, rate in zip(gaps, rates, strict=True)]
    return entries


def _entry(name: str, rule: TieRule, rate: WinRate, no_opinion: float) -> dict[str, Any]:
    return {
        "scorer": name,
        "ties": rule,
        "prompts": rate.prompts,
        "pairs": rate.pairs,
        "right": rate.wins,
        "half": rate.ties,
        "wrong": rate.losses,
        "accuracy": rate.win_rate,
        "ci95": _listed(rate.ci95),
        "ci_method": rate.ci_method,
        "no_opinion": no_opinion,
    }


def _leads(
    people: Votes,
    clusters: npt.NDArray[np.int64],
    verdicts: Mapping[str, Votes],
    accuracy: Sequence[Mapping[str, Any]],
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    plain = {entry["scorer"]: entry["accuracy"] for entry in accuracy if entry["ties"] == "left_out"}
    if not plain:
        return []
    first = max(plain, key=lambda name: plain[name])
    others = [name for name in verdicts if name != first]
    decided = people != 0
    ahead = {name: people * (verdicts[first] - verdicts[name]) / 2 for name in others}
    gaps = (
        np.stack([ahead[name][decided] for name in others], axis=1)
        if others
        else np.empty((decided.sum(), 0))
    )
    no_votes = np.empty((len(gaps), 0), dtype=np.int8)
    rng = np.random.default_rng(seed)
    _, means = tally(no_votes, gaps, clusters[decided], resamples=resamples, rng=rng)
    return [
        {"a": first, "b": name, "difference": found.mean, "ci95": _listed(found.ci95)}
        for name, found in zip(others, means, strict=True)
    ]


def people_block(
    choices: HumanChoices,
    verdicts: Mapping[str, Votes],
    clusters: npt.NDArray[np.int64],
    resamples: int,
    seed: int,
) -> dict[str, Any] | None:
    """The "people" of results.json, as the module's text has it; without `verdicts`, of people alone."""
    met: dict[str, Decisions | None] = {"one": against_one(choices), "rest": against_rest(choices)}
    found = {}
    for name, decisions in met.items():
        if decisions is None:
            continue
        rng = np.random.default_rng(seed)
        who = meet(decisions, verdicts, clusters, resamples=resamples, rng=rng)
        found[name] = {
            "pairs": len(np.unique(decisions.pair)),
            "decisions": len(decisions.pair),
            "who": {
                person: {
                    "agreement": alike.rate.win_rate,
                    "ci95": _listed(alike.rate.ci95),
                    "ci_method": alike.rate.ci_method,
                    "decided": alike.decided,
                }
                for person, alike in who.items()
            },
        }
    return found or None


def _orders(
    choices: HumanChoices, scorers: Sequence[JudgedScores], resamples: int, seed: int
) -> dict[str, Any]:
    values = {s.name: s.values for s in scorers}
    kendall = None
    if choices.several_images:
        rng = np.random.default_rng(seed)
        found = within_prompts(choices, values, resamples=resamples, rng=rng)
        kendall = {
            name: {
                "tau": each.tau.mean if each.tau else None,
                "ci95": _listed(each.tau.ci95) if each.tau else None,
                "groups": each.groups,
                "undefined": each.undefined,
            }
            for name, each in found.items()
        }
    return {"kendall": kendall, "over_all": over_all(choices, values) if choices.comparable else None}


def _listed(limits: tuple[float, float] | None) -> list[float] | None:
    return None if limits is None else list(limits)
