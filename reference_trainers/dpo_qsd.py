"""DPO-QSD: Diffusion-DPO with LoRA on the few pairs of the highest quality.

Singh, Khanna, Moturi, "Effective Text-to-Image Alignment with Quality Aware Pair Ranking", OpenReview YeZNN6Iy6Q (ICLR
2025 submission, rejected) and t4xD6KBql7 (NeurIPS 2024 workshops). The authors' code (anonymous.4open.science/r/
DPO-QSD-28D7) could not be reached.

    Q(c, x_w, x_l) = psi(x_w | c) (1 - psi(x_l | c))        psi: score of a preference scorer
    keep the top 5.33 % of the pairs by Q; then -log sigmoid(kappa * l) as in diffusion_dpo

The paper's (by three independent readings of it and by its reviews): Q, psi = HPSv2, the share 5.33 %, unchanged
    Diffusion-DPO with LoRA afterwards; ablations with PickScore, LAION-Aesthetic and ImageReward as psi.
The released code's: nothing could be read.
Our choice (reconstruction): that the human label orders winner and loser; that the share is of pairs without ties
    (keep_of = rows for the other reading: 5.33 % of about 959k rows are 51.1k pairs, of 851,293 non-ties 45.4k); the
    rank of LoRA and the whole schedule, which is Diffusion-DPO's; among equal Q the earlier pair stays.
psi's scale: Q means something for psi in about [0, 1] only. HPSv2 and CLIP give raw cosines, taken as they are;
    PickScore is divided by its own logit scale (its logits of about 20 would make 1 - psi negative). ImageReward and
    Aesthetic are refused unless a normalisation over the data is asked for by name (psi_scale = minmax or quantile):
    how the paper handled them is unknown. With HPSv2 in about 0.20 to 0.35, d ln Q / d psi is about 3.7 for the winner
    and -1.35 for the loser: the rule is winner-weighted rather than a margin.
"""

from types import MappingProxyType

import numpy as np
from scipy.stats import rankdata

from prefbench.bench.exceptions import UsageError
from prefbench.reference_trainers import diffusion_dpo
from prefbench.reference_trainers.method import Constant, Method
from prefbench.reference_trainers.selection.image_scores import ImageScores

__all__ = ["METHOD", "pair_quality", "psi"]

NOT_COSINES = ("imagereward", "aesthetic", "truth")
"""Scorers, by a part of their name, whose numbers are no cosine even where they happen to lie in [-1, 1]."""

COSINES = {
    "cosine": ("raw cosine", "logit-scaled cosine"),
    "hundredth": ("100 x cosine", "logit-scaled cosine"),
}
"""psi_scale -> how the `scale` of a scorer that it suits begins."""


def pair_quality(psi_w: np.ndarray, psi_l: np.ndarray) -> np.ndarray:
    """Q = psi_w (1 - psi_l), (N,).

    Args:
        psi_w: quality of the preferred image for its prompt, (N,), about 0 to 1.
        psi_l: the same of the rejected image.

    Source: OpenReview YeZNN6Iy6Q, by its readers and reviewers.

    >>> pair_quality(np.array([0.3]), np.array([0.2])).round(6).tolist()
    [0.24]
    """
    return psi_w * (1 - psi_l)


def psi(scores: ImageScores, scale: str) -> np.ndarray:
    """Scores of both images, (N, 2), on the scale that Q needs.

    Args:
        scores: by one scorer.
        scale: "cosine": raw cosine, where a scorer with a logit scale is divided by it; "hundredth": score / 100, for
            tables of logits; "minmax": over all images of the data to [0, 1]; "quantile": rank among them.

    Raises:
        UsageError: the scorer's numbers are no cosine, or not in [-1, 1] on this scale; lower is better.
    """
    values = scores.values
    if not scores.higher_is_better:
        raise UsageError(f"select = qsd: of {scores.name} a lower score is better, and Q needs the opposite.")
    if scale == "minmax":
        low, high = values.min(), values.max()
        if low == high:
            raise UsageError(f"psi_scale = minmax: {scores.name} gives every image the score {low:g}.")
        return (values - low) / (high - low)
    if scale == "quantile":
        return ((rankdata(values) - 1) / max(1, values.size - 1)).reshape(values.shape)
    advice = (
        "Normalise it by name with psi_scale=minmax or quantile (ours: the paper's handling is unknown), or choose "
        "hpsv2.1 or pickscore."
    )
    stated = scores.scale  # None for a table of scores, which says only a name
    cosine = stated is None or stated.startswith(COSINES[scale])
    if not cosine or any(part in scores.name for part in NOT_COSINES):
        raise UsageError(
            f"select = qsd: {scores.name} is no cosine on psi_scale = {scale} ({stated or 'by its name'}), so Q = psi_w "
            f"(1 - psi_l) means nothing with it. {advice}"
        )
    if scale == "hundredth":
        values = values / 100
    elif scores.logit_scale is not None:
        values = values / scores.logit_scale
    if np.abs(values).max() > 1:
        worst = float(values.flat[np.abs(values).argmax()])
        raise UsageError(
            f"select = qsd: {scores.name} scores an image {worst:.4g}, outside [-1, 1], where 1 - psi changes its sign. For "
            f"a table of logits (100 x cosine) set psi_scale=hundredth. {advice}"
        )
    return values


_PAPER = "OpenReview YeZNN6Iy6Q, by its readers"
_SELECTION = {
    "select": Constant("qsd", _PAPER),
    "select_scorer": Constant("hpsv2.1", f"HPSv2: {_PAPER}; which version is unknown, 2.1 is our reading"),
    "psi_scale": Constant("cosine", "reconstruction: HPSv2 gives a raw cosine"),
    "keep": Constant("5.33%", _PAPER),
    "keep_of": Constant("pairs", "reconstruction: of non-ties; rows is the other reading"),
}
_LORA = {
    "lora_rank": Constant(8, "reconstruction: LoRA is the paper's, its rank is not known; as Adaptive-DPO")
}
_KAPPA = {name: {"kappa": constant} for name, constant in diffusion_dpo.KAPPA.items()}

METHOD = Method(
    name="dpo_qsd",
    Config=diffusion_dpo.Config,
    loss=diffusion_dpo.dpo_loss,
    step=diffusion_dpo.step,
    paper=(
        "Singh et al., Effective Text-to-Image Alignment with Quality Aware Pair Ranking, OpenReview YeZNN6Iy6Q, "
        "NeurIPS 2024 workshops"
    ),
    code="none read: anonymous.4open.science/r/DPO-QSD-28D7 could not be reached",
    needs_reference=True,
    presets=MappingProxyType(
        {
            "launcher": {**_KAPPA["launcher"], **_SELECTION, **_LORA},
            "paper": {**diffusion_dpo.METHOD.presets["paper"], **_SELECTION, **_LORA},
            "miniature": {
                **_KAPPA["miniature"],
                **_SELECTION,
                **_LORA,
                "select_scorer": Constant(
                    "mini:hpsv2", "ours: the miniature world's scorer of that architecture"
                ),
            },
            "miniature-lora": _KAPPA["miniature-lora"],
        }
    ),
)
