"""What labels and selection did, in numbers for the card and in lines for a person."""

from typing import Any

import numpy as np

from prefbench.bench.wording import count
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.selection.composing import Composed
from prefbench.reference_trainers.selection.composition import Composition
from prefbench.reference_trainers.selection.text_ratings import UNSAFE_BELOW, TextRatings, reasons_counted

__all__ = ["composition_card", "summary_lines"]

Before = dict[str, float | int | None]


def _share(values: Any) -> float | None:
    return float(values.mean()) if values.size else None


def _labels(composed: Composed, cfg: Composition) -> dict[str, Any]:
    card: dict[str, Any] = {
        "labels": cfg.labels,
        "pairs": len(composed.opened),
        "flipped": int(composed.labelled.flipped.sum()),
    }
    outcome = composed.outcome
    if outcome is None:
        return card
    human, kept = composed.opened.winner_side, outcome.kept
    agrees = outcome.winner_side == human
    voters = np.array([np.sign(composed.scores[n].oriented @ [1, -1]) for n in cfg.label_scorers])
    towards_human = voters * np.where(human == 0, 1, -1) if len(voters) else voters
    return card | {
        "electorate": list(cfg.label_scorers),
        "tie_rule": cfg.tie_rule if cfg.labels == "majority" else None,
        "tied": int(outcome.tied.sum()),
        "dropped": int((~kept).sum()),
        "labelled": int(kept.sum()),
        "relabelled": int((kept & ~agrees).sum()),
        "agreement_with_human": _share(agrees[kept]),
        "unanimous_with_human": _share((towards_human > 0).all(axis=0)) if len(voters) else None,
    }


def _before_after(values: np.ndarray, kept: np.ndarray, known: np.ndarray | None = None) -> dict[str, Before]:
    """How many of N, and of those kept, are so; shares are of those that are `known`."""
    known = np.ones(len(values), dtype=bool) if known is None else known
    return {
        side: {"count": int(values[part].sum()), "share": _share(values[part])}
        for side, part in (("before", known), ("after", known & kept))
    }


def _human_sides(composed: Composed) -> np.ndarray:
    """Human labels of the pairs that the selection saw."""
    opened = composed.opened.winner_side
    return opened if composed.outcome is None else opened[composed.outcome.kept]


def _distinct(pairs: LabelledPairs) -> int:
    return len(set(pairs.prompts))


def _selection(composed: Composed, cfg: Composition) -> dict[str, Any] | None:
    selection, labelled = composed.selection, composed.labelled
    if selection is None:
        return None
    kept = selection.kept
    card: dict[str, Any] = {
        "select": cfg.select,
        "control": cfg.control,
        "scorer": cfg.select_scorer if cfg.selection_scorers else None,
        "kept": int(kept.sum()),
        "of": len(labelled),
        "without_score": int((selection.rank == 0).sum()),
        "prompts": {"before": _distinct(labelled), "after": _distinct(composed.pairs)},
        "label_agrees_with_human": _before_after(labelled.winner_side == _human_sides(composed), kept),
        "flipped": _before_after(labelled.flipped, kept),
    }
    for name in cfg.selection_scorers:
        seen = slice(None) if composed.outcome is None else composed.outcome.kept
        first_higher = composed.scores[name].oriented[seen] @ [1, -1]
        winner_higher = first_higher * np.where(labelled.winner_side == 0, 1, -1) > 0
        card["scorer_agrees_with_label"] = _before_after(winner_higher, kept)
    if composed.ratings is not None:
        card["ratings"] = _ratings(*composed.ratings, kept)
    return card


def _ratings(ratings: TextRatings, place: np.ndarray, kept: np.ndarray) -> dict[str, Any]:
    """Prompts and pairs of a low or harmful rating, before and after; shares are of those that are rated."""
    prompt_kept = np.zeros(len(ratings.rating), dtype=bool)
    prompt_kept[place[kept]] = True
    card: dict[str, Any] = {
        "source": ratings.source,
        "prompts_without_rating": reasons_counted(ratings),
    }
    for name, values in (("low_rated", ratings.rating), ("harmful", ratings.harmlessness)):
        below, known = values < UNSAFE_BELOW, np.isfinite(values)
        if known.any():
            card[f"{name}_prompts"] = _before_after(below, prompt_kept, known)
            card[f"{name}_pairs"] = _before_after(below[place], kept, known[place])
    return card


def composition_card(composed: Composed, cfg: Composition) -> dict[str, Any]:
    """Counts and fingerprints as JSON values."""
    return {
        "labels": _labels(composed, cfg),
        "selection": _selection(composed, cfg),
        "scorers": {name: scores.fingerprint for name, scores in composed.scores.items()},
        "pairs_sha256": composed.pairs.sha256,
    }


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def _line(what: str, numbers: dict[str, Before]) -> str:
    parts = [f"{side} {n['count']} ({_percent(n['share'])})" for side, n in numbers.items()]
    return f"  {what}: {', '.join(parts)}"


def summary_lines(card: dict[str, Any]) -> list[str]:
    """The card in sentences, none wider than 80 columns where names are not long."""
    labels, selection = card["labels"], card["selection"]
    lines = []
    if "labelled" in labels:
        lines += [
            f"Labels by {labels['labels']}: {labels['labelled']} of {labels['pairs']} pairs have one",
            f"  relabelled {labels['relabelled']}, dropped {labels['dropped']}, tied votes {labels['tied']}",
            f"  agreement with the human label: {_percent(labels['agreement_with_human'])}",
        ]
        if labels["unanimous_with_human"] is not None:
            lines.append(
                f"  all scorers and the human agree: {_percent(labels['unanimous_with_human'])} of the pairs"
            )
    if selection is None:
        if labels["flipped"]:
            lines.append(f"  labels turned round afterwards (flip): {labels['flipped']}")
        return lines
    control = "" if selection["control"] == "none" else f", control {selection['control']}"
    by = f" by {selection['scorer']}" if selection["scorer"] else ""
    share = _percent(selection["kept"] / selection["of"])
    lines += [
        f"Selection {selection['select']}{control}{by}: {selection['kept']} of {selection['of']} pairs ({share})",
        f"  distinct prompts: before {selection['prompts']['before']}, after {selection['prompts']['after']}",
    ]
    if "scorer_agrees_with_label" in selection:
        lines.append(_line("scorer prefers the labelled winner", selection["scorer_agrees_with_label"]))
    lines.append(_line("label agrees with the human", selection["label_agrees_with_human"]))
    if selection["flipped"]["before"]["count"]:
        lines.append(_line("flipped labels", selection["flipped"]))
    if ratings := selection.get("ratings"):
        lines.append(f"  prompts rated by {ratings['source']}")
        for name, words in (("low_rated", "low-rated prompts"), ("harmful", "harmful prompts")):
            if f"{name}_prompts" in ratings:
                lines.append(_line(f"{words} (below {UNSAFE_BELOW:g})", ratings[f"{name}_prompts"]))
                lines.append(_line(f"pairs of {words}", ratings[f"{name}_pairs"]))
        for reason, number in ratings["prompts_without_rating"].items():
            lines.append(f"  {count(number, 'prompt')} without a rating, left out: {reason}")
    if selection["without_score"]:
        lines.append(f"  {count(selection['without_score'], 'pair')} without a score, left out")
    return lines
