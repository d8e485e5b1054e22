"""FiFA: Diffusion-DPO on the few pairs of large margin whose prompts are good and unlike one another.

Yang, Kim, Jung, Bae, Kim, Yun, Lee, "Automated Filtering of Human Feedback Data for Aligning Text-to-Image Diffusion
Models", arXiv 2410.10166, ICLR 2025. The authors' code (YangYongJin/FiFA-Official-Repo) could not be read.

    score = z(m) + alpha z(q) + gamma z(d)          keep the top K, K at most 0.5 % of the pairs
    m = r(c, x_w) - r(c, x_l)                       r: proxy reward; signed by the label in force
    q = rating of the prompt, 0 to 10, by an LLM    clarity, structure, harmlessness
    d = log ||z_i - z_i^(k)||                       k-th nearest neighbour among the distinct prompts

The paper's (abstract, reviews): the three terms, an importance score and its top K, K below 0.5 % of the data; the proxy
    reward is PickScore on Pick-a-Pic v2 and HPSv2 on HPDv2; unchanged Diffusion-DPO afterwards.
The released code's: nothing could be read.
Our choice (reconstruction): that the terms are z-scored over the pairs that have all three; alpha, gamma, k; the LLM's
    template and scale; the embedding; the sign of the margin, so that pairs that disagree with their label sink; ties of
    the score go to the earlier pair; the training schedule, which is Diffusion-DPO's.
"""

from types import MappingProxyType

import numpy as np

from prefbench.reference_trainers import diffusion_dpo
from prefbench.reference_trainers.method import Constant, Method
from prefbench.reference_trainers.selection.ranking import z_scores

__all__ = ["METHOD", "importance"]


def importance(
    margin: np.ndarray,
    quality: np.ndarray,
    diversity: np.ndarray,
    *,
    quality_weight: float,
    diversity_weight: float,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Importance score of N pairs, and its terms.

    Args:
        margin: proxy reward of the winner minus that of the loser, (N,).
        quality: rating of the pair's prompt, (N,), NaN where there is none.
        diversity: log distance of the pair's prompt to its k-th neighbour, (N,).
        quality_weight: alpha.
        diversity_weight: gamma.

    Returns:
        score (N,), NaN where a term is missing; each term's z-score over the pairs that have all three, 0 where a term
        is the same for all of them.
    """
    whole = np.isfinite(margin) & np.isfinite(quality) & np.isfinite(diversity)
    named = {"margin_z": margin, "text_quality_z": quality, "text_diversity_z": diversity}
    terms = {name: z_scores(np.where(whole, values, np.nan)) for name, values in named.items()}
    score = (
        terms["margin_z"]
        + quality_weight * terms["text_quality_z"]
        + diversity_weight * terms["text_diversity_z"]
    )
    return score, terms


_PAPER = "arXiv 2410.10166 [ABS]"
_OURS = "reconstruction: not in any source that could be read"
# No text_quality: which LLM the paper asked is not known, and there is no default; the user names one.
_SELECTION = {
    "select": Constant("fifa", _PAPER),
    "select_scorer": Constant(
        "pickscore", "for Pick-a-Pic v2 (HPSv2 for HPDv2): secondary sources on arXiv 2410.10166"
    ),
    "keep": Constant("0.5%", f"less than 0.5 % of the data: {_PAPER}; K itself is not known"),
    "keep_of": Constant("pairs", _OURS),
    "quality_weight": Constant(0.5, _OURS),
    "diversity_weight": Constant(0.5, _OURS),
    "neighbour": Constant(3, _OURS),
    "text_embedding": Constant("sentence-transformers/all-MiniLM-L6-v2", _OURS),
}
_MINIATURE = {
    "select_scorer": Constant("mini:pickscore", "ours: the miniature world's scorer of that architecture"),
    "keep": Constant("10%", "ours: 0.5 % of the miniature's 3,000 pairs would be 15"),
    "text_quality": Constant("grammar", "ours: a rule of the miniature world in place of an LLM"),
    "text_embedding": Constant("clip:miniature", "ours: needs nothing that is not in the package"),
}
_KAPPA = {name: {"kappa": constant} for name, constant in diffusion_dpo.KAPPA.items()}

METHOD = Method(
    name="fifa",
    Config=diffusion_dpo.Config,
    loss=diffusion_dpo.dpo_loss,
    step=diffusion_dpo.step,
    paper=(
        "Yang et al., Automated Filtering of Human Feedback Data for Aligning Text-to-Image Diffusion Models, "
        "arXiv 2410.10166, ICLR 2025"
    ),
    code="none read: YangYongJin/FiFA-Official-Repo was not available",
    needs_reference=True,
    presets=MappingProxyType(
        {
            "launcher": {**_KAPPA["launcher"], **_SELECTION},
            "paper": {**diffusion_dpo.METHOD.presets["paper"], **_SELECTION},
            "miniature": {**_KAPPA["miniature"], **_SELECTION, **_MINIATURE},
            "miniature-lora": _KAPPA["miniature-lora"],
        }
    ),
)
