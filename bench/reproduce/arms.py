"""Which checkpoints the reproduction trains: every method in its miniature recipe, and what it is held against.

An objective is held against SFT at matched steps, a variant of Diffusion-DPO against Diffusion-DPO, a selection against
as many pairs at random and of the largest margin, a moving reference against the frozen one, a method about noise
against Diffusion-DPO on the same wrong labels. A control gets the same sweep and the same seeds as the method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefbench.bench.registry import unknown_name

__all__ = ["ARMS", "Arm", "choose_arms"]

FLIP = 0.3
"""Share of wrong labels in the arms about noise: a share at which Diffusion-DPO loses most of its gain in this world."""
LISTS = "miniature:500x4"
"""Four images of each of 500 prompts, which make as many pairs as the other arms have."""


@dataclass(frozen=True)
class Arm:
    """A method, the settings in which it differs from its miniature recipe, and what it is held against."""

    name: str
    method: str
    controls: tuple[str, ...]
    """Names of other arms."""
    why: str
    """What the comparison with the controls shows."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = "miniature"
    """What is trained on."""
    traced: bool = False
    """Whether the reward over the last steps of the reported trainings is followed."""
    only_control: bool = False
    """Trained where another arm needs it, and not asked about itself."""


_OBJECTIVE = "an objective of its own, at the steps and pairs of plain SFT"
_VARIANT = "a variant of Diffusion-DPO: the same pairs, steps and kappa"

ARMS: tuple[Arm, ...] = (
    Arm(
        "sft",
        "sft",
        ("sft_random_labels",),
        "the same steps on labels that say nothing: what training alone does",
    ),
    Arm(
        "sft_random_labels",
        "sft",
        (),
        "half of the labels turned round, so a winner is either image",
        {"flip": 0.5},
        only_control=True,
    ),
    Arm("diffusion_dpo", "diffusion_dpo", ("sft",), _OBJECTIVE),
    Arm("diffusion_kto", "diffusion_kto", ("sft",), f"{_OBJECTIVE}; single images"),
    Arm("mapo", "mapo", ("sft",), f"{_OBJECTIVE}; no reference"),
    Arm("dspo", "dspo", ("sft",), f"{_OBJECTIVE}; at its published beta nearly SFT by its formula"),
    Arm("robust_dpo", "robust_dpo", ("diffusion_dpo",), _VARIANT),
    Arm("poly_dpo", "poly_dpo", ("diffusion_dpo",), _VARIANT),
    Arm("dmpo", "dmpo", ("diffusion_dpo",), _VARIANT),
    Arm(
        "diffusion_sdpo",
        "diffusion_sdpo",
        ("diffusion_dpo",),
        f"{_VARIANT}; the safeguard is all that differs",
    ),
    Arm("inpo", "inpo", ("diffusion_dpo",), f"{_VARIANT}; noise by inversion"),
    Arm("smpo", "smpo", ("diffusion_dpo",), f"{_VARIANT}; smoothed labels and noise by inversion"),
    Arm(
        "rank_dpo",
        "rank_dpo",
        ("diffusion_dpo_lists",),
        "the same lists of four images, cut into pairs: what the lists and the votes that rank them add",
        data=LISTS,
    ),
    Arm(
        "diffusion_dpo_lists",
        "diffusion_dpo",
        (),
        "all pairs of the lists that rank_dpo reads",
        data=LISTS,
        only_control=True,
    ),
    Arm("curriculum_dpo", "curriculum_dpo", ("diffusion_dpo",), f"{_VARIANT}; easy pairs first"),
    Arm(
        "diffusion_npo",
        "diffusion_npo",
        ("diffusion_dpo",),
        "the same steps spent on the negative branch of guidance or on the policy",
    ),
    Arm(
        "rethinking_dpo",
        "rethinking_dpo",
        ("diffusion_dpo", "rethinking_dpo_frozen"),
        "a variant of Diffusion-DPO; and the same with a frozen reference",
    ),
    Arm(
        "rethinking_dpo_frozen",
        "rethinking_dpo",
        (),
        "the reference never moves",
        {"reference": "fixed", "reference_cap": None},
        only_control=True,
    ),
    Arm(
        "balanced_dpo",
        "balanced_dpo",
        ("diffusion_dpo", "balanced_dpo_frozen"),
        "the vote's labels against the human ones; and the vote's labels with a frozen reference",
    ),
    Arm(
        "balanced_dpo_frozen",
        "balanced_dpo",
        (),
        "the reference never moves",
        {"reference": "fixed"},
        only_control=True,
    ),
    Arm(
        "dpo_qsd",
        "dpo_qsd",
        ("dpo_qsd_random", "dpo_qsd_margin"),
        "as many pairs at random: would any small subset do; and those of the largest margin",
    ),
    Arm(
        "dpo_qsd_random",
        "dpo_qsd",
        (),
        "as many pairs as dpo_qsd keeps, at random",
        {"control": "random"},
        only_control=True,
    ),
    Arm(
        "dpo_qsd_margin",
        "dpo_qsd",
        (),
        "as many pairs as dpo_qsd keeps, of the largest margin",
        {"control": "margin"},
        only_control=True,
    ),
    Arm(
        "fifa",
        "fifa",
        ("fifa_random", "fifa_margin"),
        "as many pairs at random: would any small subset do; and those of the largest margin: what text adds",
        traced=True,
    ),
    Arm(
        "fifa_random",
        "fifa",
        (),
        "as many pairs as fifa keeps, at random",
        {"control": "random"},
        traced=True,
        only_control=True,
    ),
    Arm(
        "fifa_margin",
        "fifa",
        (),
        "as many pairs as fifa keeps, of the largest margin",
        {"control": "margin"},
        traced=True,
        only_control=True,
    ),
    Arm("adaptive_dpo", "adaptive_dpo", ("diffusion_dpo",), f"{_VARIANT}; on true labels"),
    Arm(
        "adaptive_dpo_flip30",
        "adaptive_dpo",
        ("diffusion_dpo_flip30",),
        "the same wrong labels: what finding them is worth",
        {"flip": FLIP},
    ),
    Arm(
        "robust_dpo_flip30",
        "robust_dpo",
        ("diffusion_dpo_flip30",),
        "the same wrong labels; rDPO is told their true share, as it is defined, the control is not",
        {"flip": FLIP, "smoothing": FLIP},
    ),
    Arm(
        "semi_dpo",
        "semi_dpo",
        ("diffusion_dpo", "semi_dpo_clean"),
        "a variant of Diffusion-DPO, on true labels; and the clean pairs alone, without pseudo-labels",
    ),
    Arm(
        "semi_dpo_clean",
        "semi_dpo",
        (),
        "all steps on the pairs that every voter labels alike",
        {"clean_steps": 120},
        only_control=True,
    ),
    Arm(
        "semi_dpo_flip30",
        "semi_dpo",
        ("diffusion_dpo_flip30",),
        "the same wrong labels: what dropping and relabelling them is worth",
        {"flip": FLIP},
    ),
    Arm(
        "diffusion_dpo_flip30",
        "diffusion_dpo",
        (),
        "30 % of the labels turned round",
        {"flip": FLIP},
        only_control=True,
    ),
)


def choose_arms(methods: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of these methods and the controls that they name, in the order of the table; all for no methods.

    Raises:
        UsageError: a method that no arm trains.
    """
    known = list(dict.fromkeys(arm.method for arm in ARMS))
    for name in methods:
        if name not in known:
            raise unknown_name("method with an arm in this reproduction", name, known)
    chosen = [arm for arm in ARMS if not arm.only_control and (not methods or arm.method in methods)]
    names = {arm.name for arm in chosen} | {control for arm in chosen for control in arm.controls}
    return tuple(arm for arm in ARMS if arm.name in names)
