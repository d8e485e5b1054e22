"""BalancedDPO: Diffusion-DPO on labels by majority vote of several scorers, with a reference that moves.

Tamboli, Chakraborty, Malusare, Banerjee, Bedi, Aggarwal, "BalancedDPO: Adaptive Multi-Metric Alignment", arXiv
2503.12575. The authors' code (Dipeshtamboli/BalancedDPO) could not be read.

    s_k = sign(score_k(c, x_0) - score_k(c, x_1)),   v = sum_k s_k,   label = sign(v)
    loss = -log sigmoid(kappa * l) as in diffusion_dpo;   reference <- policy every tau optimizer steps

The paper's (abstract): the majority of several preference scorers in place of the single label (human preference score,
    CLIP, PickScore, Aesthetic); "dynamic reference model updates" in the DPO loop; both ablated; the baselines Random
    Score, Vanilla Aggregation and Normalized Aggregation.
The released code's: nothing could be read.
Our choice (reconstruction): the rule for ties, which four scorers make likely (drop the pair; take the human label; or
    count the human as a fifth voter, so that nothing ties); a pair whose votes tie is dropped by default; tau = 64 (inf
    switches the updates off), or an EMA (reference = ema:DECAY); kappa and the schedule are Diffusion-DPO's; the three
    baselines as read from their names (labels = random, vanilla, normalised).

The vote is part of the loop in the paper. Scores do not change while a model trains, so a vote taken once, before the
first step, gives the same labels as one taken at every step; scores are kept on disk.

Counter-evidence: with Diffusion-DPO a naive refresh every 16, 32 or 64 steps diverges unless policy and reference are
kept close (arXiv 2505.18736); reference_cap bounds that here and is off by default.
"""

from types import MappingProxyType

from prefbench.reference_trainers import diffusion_dpo
from prefbench.reference_trainers.method import Constant, Method

__all__ = ["METHOD"]

_PAPER = "arXiv 2503.12575 [ABS]"
_OURS = "reconstruction: not in any source that could be read"
_BALANCED = {
    "labels": Constant("majority", _PAPER),
    "electorate": Constant(
        "hpsv2.1,clip:openai-vit-l-14:cos,pickscore,aesthetic.v2",
        f"HPS, CLIP, PickScore, Aesthetic: {_PAPER}; versions ours",
    ),
    "tie_rule": Constant("drop", _OURS),
    "reference": Constant("refresh:64", f"that the reference is updated: {_PAPER}; tau is a {_OURS}"),
}
_MINIATURE = {
    "electorate": Constant(
        "mini:hpsv2,mini:clip,mini:pickscore,mini:aesthetic", "ours: the same four in miniature"
    ),
}
_KAPPA = {name: {"kappa": constant} for name, constant in diffusion_dpo.KAPPA.items()}

METHOD = Method(
    name="balanced_dpo",
    Config=diffusion_dpo.Config,
    loss=diffusion_dpo.dpo_loss,
    step=diffusion_dpo.step,
    paper="Tamboli et al., BalancedDPO: Adaptive Multi-Metric Alignment, arXiv 2503.12575",
    code="none read: Dipeshtamboli/BalancedDPO was not available",
    needs_reference=True,
    presets=MappingProxyType(
        {
            "launcher": {**_KAPPA["launcher"], **_BALANCED},
            "paper": {**diffusion_dpo.METHOD.presets["paper"], **_BALANCED},
            "miniature": {**_KAPPA["miniature"], **_BALANCED, **_MINIATURE},
            "miniature-lora": _KAPPA["miniature-lora"],
        }
    ),
)
