"""From pairs as they were opened to the pairs that a method trains on: scores -> labels -> flips -> selection.

Every stage reads what the one before it left, so a selection orders winner and loser by the labels in force, flips
included, as it would on really noisy data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs, flip_labels
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.selection.composition import SELECTIONS, Composition
from prefbench.reference_trainers.selection.image_scores import ImageScores, Loader, score_pairs
from prefbench.reference_trainers.selection.labelling import label_pairs
from prefbench.reference_trainers.selection.labels import LabelOutcome
from prefbench.reference_trainers.selection.pair_subset import refuse_ties, subset
from prefbench.reference_trainers.selection.ranking import Selection
from prefbench.reference_trainers.selection.scores_table import read_scores
from prefbench.reference_trainers.selection.selecting import pairs_to_keep, select_pairs
from prefbench.reference_trainers.selection.stages import Stages, silent
from prefbench.reference_trainers.selection.text_ratings import TextRatings
from prefbench.scorers.registry import load_scorer

__all__ = ["Composed", "compose", "open_composed", "scorers_needed"]


@dataclass(frozen=True)
class Composed:
    """Pairs after labels, flips and selection, and how they came about.

    Attributes:
        pairs: what the method trains on.
        opened: N pairs with the human labels, before anything.
        scores: scorer -> scores of the N opened pairs.
        outcome: of the vote over the N opened pairs; None where the human labels stand.
        labelled: the pairs that have a label, flips included; what the selection saw.
        selection: over the pairs of `labelled`; None where all stay.
        ratings: of the distinct prompts of `labelled`, and the place of every pair's prompt among them; None without.
        data_sha256: of `opened`.
    """

    pairs: LabelledPairs
    opened: LabelledPairs
    scores: dict[str, ImageScores]
    outcome: LabelOutcome | None
    labelled: LabelledPairs
    selection: Selection | None
    ratings: tuple[TextRatings, np.ndarray] | None
    data_sha256: str


def scorers_needed(cfg: Composition, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Scorers of labels, selection and method, each once."""
    return tuple(dict.fromkeys((*cfg.label_scorers, *cfg.selection_scorers, *wanted)))


def _check_before_scoring(pairs: LabelledPairs, cfg: Composition, needed: Sequence[str]) -> None:
    """What can be known before hours of scoring."""
    named = {"labels": cfg.labels, "select": cfg.select, "text_quality": cfg.text_quality or ""}
    paths = {what: spec.removeprefix("file:") for what, spec in named.items() if spec.startswith("file:")}
    if cfg.scores is not None:
        paths["scores"] = cfg.scores
        if not needed:
            raise UsageError(
                f"scores = {cfg.scores} has no effect: neither labels = {cfg.labels} nor select = {cfg.select} (control = "
                f"{cfg.control}) reads scores. Leave it out."
            )
    for name in cfg.local_weights:
        if name not in needed or cfg.scores is not None:
            raise UsageError(
                f"weights = {cfg.weights}: nothing here scores with {name}"
                + (f", because scores = {cfg.scores}" if cfg.scores is not None else "")
                + f". Scorers in use: {', '.join(needed) or 'none'}. Leave it out."
            )
    for what, path in paths.items():
        if not Path(path).expanduser().is_file():
            raise DataError(f"{what}: there is no file {path}. Check the path.")
    if cfg.labels != "human":
        refuse_ties(pairs, f"labels = {cfg.labels}")
    if cfg.select in SELECTIONS:
        count = pairs_to_keep(pairs, cfg)
        if not 1 <= count <= len(pairs):
            raise DataError(
                f"select = {cfg.select} is to keep {count} pairs (keep = {cfg.keep}), and {pairs.source} has {len(pairs)}. "
                "Give another keep."
            )


def _refuse_lower_is_better(scores: Mapping[str, ImageScores], wanted: Sequence[str]) -> None:
    """A method reads raw scores from its batches and takes the higher one for the better."""
    for name in wanted:
        if not scores[name].higher_is_better:
            raise UsageError(
                f"Of the scorer {name!r} a lower score is better, and the method takes a higher one for better. Name another "
                "scorer, or label by it (labels = scorer:NAME), which heeds its direction."
            )


def compose(
    pairs: LabelledPairs,
    cfg: Composition,
    *,
    flip: float = 0.0,
    flip_seed: int = 0,
    wanted: Sequence[str] = (),
    cache_dir: Path,
    stages: Stages = silent,
    device: str = "cpu",
    load: Loader = load_scorer,
) -> Composed:
    """Apply labels, flips and selection.

    Args:
        pairs: as opened, human labels in force and none flipped.
        cfg: what to apply.
        flip: share of the labels to turn round after labelling.
        flip_seed: which ones.
        wanted: scorers that the method itself reads from its batches.
        cache_dir: folder of what is kept on disk.
        stages: told how far it is.
        device: for scorers and embeddings.
        load: name -> scorer.

    Raises:
        UsageError: settings that do not fit the data or one another.
        DataError: data that cannot be scored, labelled or selected from.
    """
    data_sha256 = pairs.sha256
    needed = scorers_needed(cfg, wanted)
    _check_before_scoring(pairs, cfg, needed)
    scores: dict[str, ImageScores] = {}
    with MeasureCache(cache_dir) as cache:
        if needed and cfg.scores:
            scores = read_scores(Path(cfg.scores).expanduser(), pairs, needed, data_sha256=data_sha256)
        elif needed:
            scores = score_pairs(
                pairs, needed, cache, load=load, stages=stages, device=device, weights=cfg.local_weights
            )
        _refuse_lower_is_better(scores, wanted)
        attached = replace(
            pairs, side_scores={**pairs.side_scores, **{n: s.values for n, s in scores.items()}}
        )
        outcome = label_pairs(attached, cfg, scores, data_sha256=data_sha256)
        labelled = attached
        if outcome is not None:
            if not outcome.kept.any():
                raise DataError(
                    f"labels = {cfg.labels}: none of {len(pairs)} pairs of {pairs.source} got a label."
                )
            labelled = subset(attached, outcome.kept, winner_side=outcome.winner_side)
        if flip:
            labelled = flip_labels(labelled, flip, flip_seed)
        kept_scores = _of(scores, outcome)
        selection, ratings = select_pairs(
            labelled, cfg, kept_scores, cache, data_sha256=data_sha256, stages=stages, device=device
        )
    chosen = labelled if selection is None else subset(labelled, selection.kept)
    return Composed(chosen, pairs, scores, outcome, labelled, selection, ratings, data_sha256)


def _of(scores: dict[str, ImageScores], outcome: LabelOutcome | None) -> dict[str, ImageScores]:
    """The scores of the pairs that have a label."""
    if outcome is None:
        return scores
    return {name: replace(found, values=found.values[outcome.kept]) for name, found in scores.items()}


def open_composed(
    data: str,
    config: DataConfig,
    cfg: Composition,
    *,
    wanted: Sequence[str] = (),
    cache_dir: Path,
    stages: Stages = silent,
    device: str = "cpu",
) -> Composed:
    """Open preference data (see `open_preferences`) and apply `cfg`."""
    opened = open_preferences(data, replace(config, flip=0.0))
    return compose(
        opened,
        cfg,
        flip=config.flip,
        flip_seed=config.flip_seed,
        wanted=wanted,
        cache_dir=cache_dir,
        stages=stages,
        device=device,
    )
