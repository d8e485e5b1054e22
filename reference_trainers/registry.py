"""The methods by name."""

from prefbench.bench.registry import Registry
from prefbench.reference_trainers.method import Method

__all__ = ["METHODS", "load_method"]

METHODS: Registry[Method] = Registry(
    "method",
    {
        "sft": "prefbench.reference_trainers.sft:METHOD",
        "diffusion_dpo": "prefbench.reference_trainers.diffusion_dpo:METHOD",
        "adaptive_dpo": "prefbench.reference_trainers.adaptive_dpo:METHOD",
        "rethinking_dpo": "prefbench.reference_trainers.rethinking_dpo:METHOD",
        "robust_dpo": "prefbench.reference_trainers.robust_dpo:METHOD",
        "poly_dpo": "prefbench.reference_trainers.poly_dpo:METHOD",
        "dmpo": "prefbench.reference_trainers.dmpo:METHOD",
        "dspo": "prefbench.reference_trainers.dspo:METHOD",
        "diffusion_sdpo": "prefbench.reference_trainers.diffusion_sdpo:METHOD",
        "mapo": "prefbench.reference_trainers.mapo:METHOD",
        "diffusion_kto": "prefbench.reference_trainers.diffusion_kto:METHOD",
        "inpo": "prefbench.reference_trainers.inpo:METHOD",
        "smpo": "prefbench.reference_trainers.smpo:METHOD",
        "curriculum_dpo": "prefbench.reference_trainers.curriculum_dpo:METHOD",
        "diffusion_npo": "prefbench.reference_trainers.diffusion_npo:METHOD",
        "dpo_qsd": "prefbench.reference_trainers.dpo_qsd:METHOD",
        "fifa": "prefbench.reference_trainers.fifa:METHOD",
        "balanced_dpo": "prefbench.reference_trainers.balanced_dpo:METHOD",
        "semi_dpo": "prefbench.reference_trainers.semi_dpo:METHOD",
        "rank_dpo": "prefbench.reference_trainers.rank_dpo:METHOD",
    },
    group="prefbench.methods",
)
"""name -> "module:attribute", resolved at first use; other packages add theirs by entry point."""


def load_method(name: str) -> Method:
    """The method of that name; its loss is `.loss`.

    Raises:
        UsageError: unknown name, with the nearest known one.
    """
    return METHODS.get(name)
