"""The pairs that stay, as a composition asks for them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.bench.exceptions import DataError
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.selection.composition import Composition, parse_keep
from prefbench.reference_trainers.selection.image_scores import ImageScores
from prefbench.reference_trainers.selection.pair_subset import refuse_ties
from prefbench.reference_trainers.selection.ranking import Selection, keep_best, keep_random
from prefbench.reference_trainers.selection.scores_table import read_pair_table
from prefbench.reference_trainers.selection.stages import Stages, silent
from prefbench.reference_trainers.selection.text_diversity import distinct, text_diversity
from prefbench.reference_trainers.selection.text_embedding import embed_texts, open_text_embedding
from prefbench.reference_trainers.selection.text_ratings import TextRatings, rate_texts

__all__ = ["pairs_to_keep", "select_pairs"]

Rated = tuple[TextRatings, np.ndarray] | None


def _sides(pairs: LabelledPairs, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of (image 0, image 1), (N, 2), as values of winners and losers."""
    order = np.stack([pairs.winner_side, 1 - pairs.winner_side], axis=1)
    winner, loser = np.take_along_axis(values, order, axis=1).T
    return winner, loser


def _qsd(pairs: LabelledPairs, cfg: Composition, scores: ImageScores, count: int) -> Selection:
    from prefbench.reference_trainers.dpo_qsd import pair_quality, psi

    psi_w, psi_l = _sides(pairs, psi(scores, cfg.psi_scale or ""))
    score_w, score_l = _sides(pairs, scores.values)
    quality = pair_quality(psi_w, psi_l)
    terms = {"score_winner": score_w, "score_loser": score_l, "psi_winner": psi_w, "psi_loser": psi_l}
    return keep_best(quality, count, what="select = qsd", terms=terms)


def _margin(pairs: LabelledPairs, scores: ImageScores, count: int, what: str) -> Selection:
    winner, loser = _sides(pairs, scores.oriented)
    terms = {"score_winner": winner, "score_loser": loser}
    return keep_best(winner - loser, count, what=what, terms=terms)


def _fifa(
    pairs: LabelledPairs,
    cfg: Composition,
    scores: ImageScores,
    count: int,
    rated: tuple[TextRatings, np.ndarray],
    prompts: list[str],
    cache: MeasureCache,
    stages: Stages,
    device: str,
) -> Selection:
    from prefbench.reference_trainers.fifa import importance

    ratings, place = rated
    embeddings = embed_texts(prompts, open_text_embedding(cfg.text_embedding or "", device), cache, stages)
    diversity = text_diversity(embeddings, cfg.neighbour or 0)[place]
    winner, loser = _sides(pairs, scores.oriented)
    score, terms = importance(
        winner - loser,
        ratings.rating[place],
        diversity,
        quality_weight=cfg.quality_weight or 0.0,
        diversity_weight=cfg.diversity_weight or 0.0,
    )
    raw = {"margin": winner - loser, "text_quality": ratings.rating[place], "text_diversity": diversity}
    reason = np.array(ratings.reason, dtype=object)[place]
    return keep_best(score, count, what="select = fifa", reason=reason, terms=raw | terms)


def _from_file(path: Path, pairs: LabelledPairs, data_sha256: str) -> Selection:
    table = read_pair_table(
        path, pairs, ["kept"], data_sha256=data_sha256, what="select", complete=False, optional=["winner"]
    )
    words = {
        "true": True,
        "false": False,
        "1": True,
        "0": False,
        "1.0": True,
        "0.0": False,
        "nan": False,
        "": False,
    }
    texts = table["kept"].fillna(False).astype(str).str.strip().str.lower()
    bad = ~texts.isin(words)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"select {path}, row {int(pairs.rows[at]) + 1}: kept is {table['kept'].iloc[at]}, not true or false."
        )
    kept = texts.map(words).to_numpy(dtype=bool)
    if not kept.any():
        raise DataError(
            f"select {path} keeps none of {len(pairs)} pairs of {pairs.source}. Make the table again."
        )
    if "winner" in table:
        _refuse_other_labels(path, pairs, pd.to_numeric(table["winner"], errors="coerce"))
    score = kept.astype(np.float64)
    return replace(keep_best(score, int(kept.sum()), what=f"select = file:{path}"), kept=kept)


def _refuse_other_labels(path: Path, pairs: LabelledPairs, winner: pd.Series) -> None:
    """A selection by margins is one of these labels; turned round, its best pairs are the worst."""
    stated = winner.to_numpy(np.float64, na_value=np.nan)
    other = ~np.isnan(stated) & (stated != pairs.winner_side)
    if other.any():
        raise DataError(
            f"select {path} was made with other labels: {int(other.sum())} of its {int((~np.isnan(stated)).sum())} winners "
            f"are not those in force for {pairs.source}, row {int(pairs.rows[np.flatnonzero(other)[0]]) + 1} the first. "
            "Give the same --labels and --flip as then, make it again, or take its column winner away to select by rows "
            "alone."
        )


def pairs_to_keep(pairs: LabelledPairs, cfg: Composition) -> int:
    """How many of `pairs` a rule of SELECTIONS is to keep."""
    keep = parse_keep(cfg.keep or "")
    return keep.of(pairs.counts.rows if cfg.keep_of == "rows" else len(pairs))


def _rate(
    pairs: LabelledPairs, cfg: Composition, cache: MeasureCache, stages: Stages
) -> tuple[list[str], Rated]:
    absent = cfg.text_quality is None or cfg.select == "none"
    # For a control, ratings only serve the counts: no server, no counts.
    unreachable = (cfg.text_quality or "").startswith("llm:") and cfg.llm_url is None and not cfg.needs_texts
    if absent or unreachable:
        return [], None
    prompts, place = distinct(pairs.prompts)
    return prompts, (rate_texts(prompts, cfg, cache, stages), place)


def select_pairs(
    pairs: LabelledPairs,
    cfg: Composition,
    scores: dict[str, ImageScores],
    cache: MeasureCache,
    *,
    data_sha256: str,
    stages: Stages = silent,
    device: str = "cpu",
) -> tuple[Selection | None, Rated]:
    """What `cfg.select`, or its control, keeps of N pairs; None where all stay. Beside it the prompts' ratings, if any.

    Args:
        pairs: labels in force.
        cfg: which rule, how many.
        scores: of N pairs, by every scorer in `cfg.selection_scorers`.
        cache: for ratings and embeddings.
        data_sha256: of the pairs as they were opened, for "file:PATH".
        stages: told how far it is.
        device: for embeddings.

    Raises:
        DataError: more pairs to keep than there are; ties where winner and loser are needed; a table that does not fit.
        UsageError: a scorer whose scale does not suit the rule.
    """
    if cfg.select == "none":
        return None, None
    prompts, rated = _rate(pairs, cfg, cache, stages)
    chosen: Selection | None = None
    if cfg.select.startswith("file:"):
        chosen = _from_file(Path(cfg.select.partition(":")[2]).expanduser(), pairs, data_sha256)
    count = int(chosen.kept.sum()) if chosen is not None else pairs_to_keep(pairs, cfg)
    if cfg.control == "random" or cfg.select == "random":
        what = "select = random" if cfg.select == "random" else f"The random control of select = {cfg.select}"
        return keep_random(len(pairs), count, seed=cfg.select_seed, what=what), rated
    if chosen is not None and cfg.control == "none":
        return chosen, rated
    refuse_ties(pairs, f"select = {cfg.select}")
    by = scores[cfg.select_scorer or ""]
    if cfg.control == "margin" or cfg.select == "margin":
        return _margin(pairs, by, count, f"select = {cfg.select}, control = {cfg.control}"), rated
    if cfg.select == "qsd":
        return _qsd(pairs, cfg, by, count), rated
    assert rated is not None  # a composition of fifa has text_quality
    return _fifa(pairs, cfg, by, count, rated, prompts, cache, stages, device), rated
